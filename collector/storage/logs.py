"""Reading log records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.model.attributes import Attribute, ValueType
from collector.model.ids import SpanId, TraceId, trace_id_halves, trace_id_of
from collector.model.telemetry import LogRecord
from collector.storage.traces.conditions import Parameters, has, on_resource
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.rows import attributes_of_row, read_resources, read_scopes

_MOMENT = "CASE time_unix_nano WHEN 0 THEN observed_unix_nano ELSE time_unix_nano END"
_CURSOR = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,8})-([0-9a-f]{1,16})")


class LogPosition(NamedTuple):
    """Where a page ended."""

    moment_unix_nano: int  # of its last record
    shown: int  # how many records of that very moment have been shown


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    start_unix_nano: int  # inclusive
    end_unix_nano: int  # exclusive
    limit: int
    service: str | None = None
    min_severity: int | None = None  # SeverityNumber, 1 to 24; that or worse
    trace_id: TraceId | None = None
    span_id: SpanId | None = None
    text: str | None = None  # somewhere in the body, whatever its case
    attributes: Mapping[str, str] = field(default_factory=dict)  # of the record or its resource, as text; ANDed
    after: LogPosition | None = None


@dataclass(frozen=True, slots=True)
class LogPage:
    records: Sequence[LogRecord]
    next: LogPosition | None  # None: there are no more


def cursor_text(after: LogPosition, start_unix_nano: int) -> str:
    return f"{after.moment_unix_nano:x}-{after.shown:x}-{start_unix_nano:x}"


def parse_cursor(text: str) -> tuple[LogPosition, int]:
    """
    The position, and where the range starts.

    Raises:
        ValueError: not what `cursor_text` made.
    """
    match = _CURSOR.fullmatch(text)
    if not match:
        raise ValueError(f"cursor {text[:80]!r} is not one that a search has given")
    moment, shown, start = (int(part, 16) for part in match.groups())
    return LogPosition(moment, shown), start


class LogReader:
    def __init__(self, database: TelemetryDatabase) -> None:
        self._database = database

    def find(self, query: LogQuery) -> list[LogRecord]:
        return list(self.page(query).records)

    def page(self, query: LogQuery) -> LogPage:
        """Log records, newest first. One that carries no time counts by when it was observed."""
        parameters = Parameters()
        conditions = _conditions(query, parameters)
        sql = f"""
            SELECT time_unix_nano, observed_unix_nano, severity_number, severity_text, body_type, body, attributes,
                dropped_attributes, trace_hi, trace_lo, span_id, flags, event_name, resource_id, scope_id,
                {_MOMENT} AS moment
            FROM logs WHERE {" AND ".join(conditions)} ORDER BY moment DESC, rowid DESC
            LIMIT {query.limit + 1:d} OFFSET {query.after.shown if query.after else 0:d}
        """  # noqa: S608  (the conditions are ours, the values are bound)
        with self._database.reading() as cursor:
            rows = cursor.execute(sql, parameters.values).fetchall()
            more = len(rows) > query.limit
            rows = rows[: query.limit]
            resources = read_resources(cursor, {row[13] for row in rows})
            scopes = read_scopes(cursor, {row[14] for row in rows})
        position = None
        if more and rows:
            last = rows[-1][15]
            shown = sum(row[15] == last for row in rows)
            if query.after and query.after.moment_unix_nano == last:
                shown += query.after.shown
            position = LogPosition(last, shown)
        records = [
            LogRecord(
                time_unix_nano=row[0],
                observed_unix_nano=row[1],
                severity_number=row[2],
                severity_text=row[3],
                body=Attribute("", ValueType(row[4]), row[5] or ""),
                attributes=attributes_of_row(row[6]),
                dropped_attributes=row[7],
                trace_id=trace_id_of(row[8], row[9]),
                span_id=SpanId(row[10]),
                flags=row[11],
                event_name=row[12],
                resource=resources[row[13]],
                scope=scopes[row[14]],
            )
            for row in rows
        ]
        return LogPage(records, position)


def _conditions(query: LogQuery, parameters: Parameters) -> list[str]:
    conditions = [
        f"moment >= {parameters.bind(query.start_unix_nano)}",
        f"moment < {parameters.bind(query.end_unix_nano)}",
    ]
    if query.after is not None:
        conditions.append(f"moment <= {parameters.bind(query.after.moment_unix_nano)}")
    if query.service is not None:
        conditions.append(f"service = {parameters.bind(query.service)}")
    if query.min_severity is not None:
        conditions.append(f"severity_number >= {parameters.bind(query.min_severity)}")
    if query.trace_id is not None:
        high, low = (parameters.bind(half) for half in trace_id_halves(query.trace_id))
        conditions.append(f"trace_lo = {low} AND trace_hi = {high}")
    if query.span_id is not None:
        conditions.append(f"span_id = {parameters.bind(query.span_id)}")
    if query.text is not None:
        conditions.append(f"contains(lower(body), lower({parameters.bind(query.text)}))")
    for key, value in query.attributes.items():
        same = f"a.k = {parameters.bind(key)} AND a.v = {parameters.bind(value)}"
        conditions.append(f"({has('attributes', same)} OR {on_resource(has('attributes', same))})")
    return conditions
