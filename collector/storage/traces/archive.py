"""
The form in which spans and log records leave a store and come back into one: over HTTP, and in Parquet files.

It is what the store keeps, with all types, but for two things: when a record was received is not in it, as retention
counts from the import, and resources and scopes stand beside it, each once. A stream is a row of parts, each three
Arrow IPC streams one after the other: resources, scopes, records. It ends with a part without records, so that a stream
that was cut is known. The form has a version of its own: what the store adds for itself is not part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from collector.errors import BadRequestError
from collector.storage.traces.schema import ATTRIBUTES, LOG_COLUMNS, SPAN_COLUMNS

VERSION = 1
_VERSION_KEY, _KIND_KEY = b"steersman.archive", b"steersman.kind"

_ATTRIBUTES = pa.list_(pa.struct([("k", pa.string()), ("t", pa.uint8()), ("v", pa.string())]))
_EVENT = [("time_unix_nano", pa.uint64()), ("name", pa.string()), ("attributes", _ATTRIBUTES)]
_LINK = [("trace_id", pa.binary()), ("span_id", pa.binary()), ("trace_state", pa.string()), ("attributes", _ATTRIBUTES)]
_DROPPED = ("dropped_attributes", pa.uint32())
_TYPES: Mapping[str, pa.DataType] = {
    "UBIGINT": pa.uint64(),
    "BIGINT": pa.int64(),
    "UINTEGER": pa.uint32(),
    "INTEGER": pa.int32(),
    "UTINYINT": pa.uint8(),
    "VARCHAR": pa.string(),
    ATTRIBUTES: _ATTRIBUTES,
    SPAN_COLUMNS["events"]: pa.list_(pa.struct([*_EVENT, _DROPPED])),
    SPAN_COLUMNS["links"]: pa.list_(pa.struct([*_LINK, _DROPPED, ("flags", pa.uint32())])),
}
_SPANS = (
    "trace_hi trace_lo span_id parent_span_id service name kind start_unix_nano duration_nano status_code"
    " status_message trace_state flags attributes events links dropped_attributes dropped_events dropped_links"
    " resource_id scope_id"
)
_LOGS = (
    "time_unix_nano observed_unix_nano service severity_number severity_text body_type body attributes"
    " dropped_attributes flags trace_hi trace_lo span_id event_name resource_id scope_id"
)


@dataclass(frozen=True, slots=True)
class Kind:
    name: str  # of the table, of the file
    schema: pa.Schema
    moment: str  # SQL: when a record was, in Unix nanoseconds


def _schema(name: str, fields: Mapping[str, pa.DataType]) -> pa.Schema:
    metadata = {_VERSION_KEY: str(VERSION).encode(), _KIND_KEY: name.encode()}
    return pa.schema([pa.field(field, kind) for field, kind in fields.items()], metadata)


def _kind(name: str, columns: Mapping[str, str], archived: str, moment: str) -> Kind:
    return Kind(name, _schema(name, {column: _TYPES[columns[column]] for column in archived.split()}), moment)


SPANS = _kind("spans", SPAN_COLUMNS, _SPANS, "start_unix_nano")
LOGS = _kind("logs", LOG_COLUMNS, _LOGS, "CASE time_unix_nano WHEN 0 THEN observed_unix_nano ELSE time_unix_nano END")
KINDS = {kind.name: kind for kind in (SPANS, LOGS)}
_ORIGIN = {"id": pa.uint64(), "message": pa.binary(), "schema_url": pa.string(), "attributes": _ATTRIBUTES}
RESOURCES = _schema("resources", {**_ORIGIN, "service": pa.string()})
SCOPES = _schema("scopes", {"name": pa.string(), "version": pa.string()} | _ORIGIN)


@dataclass(frozen=True, slots=True)
class Part:
    resources: pa.Table  # RESOURCES
    scopes: pa.Table  # SCOPES
    records: pa.Table  # of the kind's schema

    def encoded(self) -> bytes:
        sink = pa.BufferOutputStream()
        for table in (self.resources, self.scopes, self.records):
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        return bytes(sink.getvalue())


def end_of(kind: Kind) -> Part:
    """What a stream ends with."""
    return Part(RESOURCES.empty_table(), SCOPES.empty_table(), kind.schema.empty_table())


def read_part(source: BinaryIO | pa.NativeFile, kind: Kind) -> Part:
    """
    One part.

    Raises:
        BadRequestError: it is none, is cut short, or is of another version or kind.
    """
    try:
        tables = []
        for schema in (RESOURCES, SCOPES, kind.schema):
            with pa.ipc.open_stream(source) as reader:
                check_schema(reader.schema, schema)
                table = reader.read_all().combine_chunks()
                table.validate(full=True)  # offsets and UTF-8, which nothing after this looks at again
                tables.append(table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadRequestError(f"not an archive of {kind.name}, or cut short: {error}") from error
    return Part(*tables)


def parts_of(source: BinaryIO | pa.NativeFile, kind: Kind) -> Iterator[Part]:
    """
    The parts of a whole stream.

    Raises:
        BadRequestError: as `read_part`; a stream that does not end as one should is cut short.
    """
    while (part := read_part(source, kind)).records.num_rows:
        yield part


def shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A result of DuckDB, which names the items of lists its own way, as `schema` has it. Nothing is copied."""
    columns = [
        pa.chunked_array([chunk.view(field.type) for chunk in table.column(field.name).chunks], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def check_schema(found: pa.Schema, expected: pa.Schema) -> None:
    """
    Raises:
        BadRequestError: another version, another kind, or a column that is missing, unknown or of another type.
    """
    told, wanted = found.metadata or {}, expected.metadata
    for key, what in ((_VERSION_KEY, "version"), (_KIND_KEY, "kind")):
        if told.get(key) != wanted[key]:
            has = told[key].decode(errors="replace")[:40] if key in told else "none"
            raise BadRequestError(f"the archive's {what} is {has}, this is {wanted[key].decode()}")
    if found.names != expected.names:
        odd = sorted(set(found.names) ^ set(expected.names)) or ["their order"]
        raise BadRequestError(f"columns missing or unknown: {', '.join(odd)[:200]}")
    for field in expected:
        if found.field(field.name).type != field.type:
            raise BadRequestError(f"column {field.name} is {found.field(field.name).type}, not {field.type}")
