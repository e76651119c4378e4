"""
The DuckDB schema of spans and log records, and of the resources and scopes that both refer to.

One wide row each: rows arrive roughly by time, so DuckDB's own min-max of each row group prunes by `received_ms` and
`start_unix_nano`. An index of DuckDB's would have to fit in memory; instead `recent_extents` says, for each commit and
each trace in it, between which starts the trace's spans are, and `trace_extents` says it in long runs that are sorted
by id (extents.py). To find a trace one reads a small part of those, and then only the row groups of the trace's time.
Which attributes are where is in attribute_index.py.
"""

from __future__ import annotations

VERSION = 3  # of the whole file; another version is refused, not guessed at

ATTRIBUTES = "STRUCT(k VARCHAR, t UTINYINT, v VARCHAR)[]"  # model/attributes.py

SPAN_COLUMNS = {
    "trace_hi": "UBIGINT",
    "trace_lo": "UBIGINT",
    "span_id": "UBIGINT",
    "parent_span_id": "UBIGINT",  # 0: a root
    "service": "VARCHAR",
    "name": "VARCHAR",
    "kind": "INTEGER",
    "start_unix_nano": "UBIGINT",
    "duration_nano": "BIGINT",
    "status_code": "INTEGER",
    "status_message": "VARCHAR",
    "trace_state": "VARCHAR",
    "flags": "UINTEGER",
    "attributes": ATTRIBUTES,
    "events": f"STRUCT(time_unix_nano UBIGINT, name VARCHAR, attributes {ATTRIBUTES}, dropped_attributes UINTEGER)[]",
    "links": (
        f"STRUCT(trace_id BLOB, span_id BLOB, trace_state VARCHAR, attributes {ATTRIBUTES},"
        " dropped_attributes UINTEGER, flags UINTEGER)[]"
    ),
    "dropped_attributes": "UINTEGER",
    "dropped_events": "UINTEGER",
    "dropped_links": "UINTEGER",
    "resource_id": "UBIGINT",
    "scope_id": "UBIGINT",
    "received_ms": "BIGINT",
}

LOG_COLUMNS = {
    "time_unix_nano": "UBIGINT",  # 0: unknown
    "observed_unix_nano": "UBIGINT",
    "service": "VARCHAR",
    "severity_number": "INTEGER",
    "severity_text": "VARCHAR",
    "body_type": "UTINYINT",
    "body": "VARCHAR",
    "attributes": ATTRIBUTES,
    "dropped_attributes": "UINTEGER",
    "flags": "UINTEGER",
    "trace_hi": "UBIGINT",  # both halves 0: no trace
    "trace_lo": "UBIGINT",
    "span_id": "UBIGINT",
    "event_name": "VARCHAR",
    "resource_id": "UBIGINT",
    "scope_id": "UBIGINT",
    "received_ms": "BIGINT",
}

# The message is what was sent; the attributes, in the form of the spans' own, are what a search looks into.
RESOURCE_COLUMNS = {
    "id": "UBIGINT",
    "service": "VARCHAR",
    "message": "BLOB",
    "schema_url": "VARCHAR",
    "attributes": ATTRIBUTES,
}
SCOPE_COLUMNS = {"id": "UBIGINT", "name": "VARCHAR", "version": "VARCHAR", "message": "BLOB", "schema_url": "VARCHAR"}

# Which requests are stored already: a sender that did not get its answer sends the same bytes again.
REQUEST_COLUMNS = {"digest": "BLOB", "received_ms": "BIGINT"}

TRACE_EXTENT_COLUMNS = {
    "trace_lo": "UBIGINT",
    "first_unix_nano": "UBIGINT",  # of its spans' starts; both inclusive
    "last_unix_nano": "UBIGINT",
    "received_ms": "BIGINT",
}
TRACE_EXTENTS = """
    INSERT INTO recent_extents SELECT trace_lo, min(start_unix_nano), max(start_unix_nano), max(received_ms)
    FROM {source} GROUP BY trace_lo
"""


def create_table(name: str, columns: dict[str, str]) -> str:
    described = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    return f"CREATE TABLE IF NOT EXISTS {name} ({described})"
