"""Reading a range of time out of the store, in parts of bounded size, while others write and delete."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope

from collector.model.attributes import attributes_of
from collector.storage.traces.archive import RESOURCES, SCOPES, Kind, Part, shaped
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.search import Range

# Rows of one part at most; a part is held in memory, 4 to 8 MB of usual spans.
PART_ROWS = 8_192
PART_BYTES = 8 << 20  # after which a part ends, as far as whole batches go
_BATCH_ROWS = 256
_WIDER = 8  # by which a slice of time grows or shrinks that holds far fewer, or more, rows than a part
_MOST_ROWS = 4 * PART_ROWS  # in a slice; one nanosecond may hold more, and is then read page by page


class ArchiveReader:
    """One export; a resource or scope is in the first part that refers to it."""

    def __init__(self, database: TelemetryDatabase, kind: Kind, within: Range) -> None:
        self._database = database
        self._kind = kind
        self._within = within
        self._resources: set[int] = set()
        self._scopes: set[int] = set()

    def parts(self) -> Iterator[Part]:
        """
        The records in the range, ordered by moment; those that come while it is read may or may not be among them.

        Between two parts nothing of the store is held.

        Raises:
            TemporaryError: as `TelemetryDatabase.reading`.
        """
        for slice_ in self._slices():
            shown, last = 0, False
            while not last:
                part, last = self._page(slice_, shown)
                shown += part.records.num_rows
                if part.records.num_rows:
                    yield part

    def _slices(self) -> Iterator[Range]:
        count, first, last = self._measured(self._within)
        if not count:
            return
        width = max(1, (last - first + 1) * PART_ROWS // count)
        while first <= last:
            slice_ = Range(first, min(last, first + width - 1))
            rows, *_ = self._measured(slice_)
            if rows > _MOST_ROWS and width > 1:
                width = max(1, width // _WIDER)
                continue
            if rows:
                yield slice_
            first = slice_.end_unix_nano + 1
            width = max(1, width // _WIDER, min(width * _WIDER, width * PART_ROWS // max(1, rows)))

    def _measured(self, within: Range) -> tuple[int, int, int]:
        moment = self._kind.moment
        sql = f"SELECT count(*), min({moment}), max({moment}) FROM {self._kind.name} {self._where}"  # noqa: S608
        with self._database.reading() as cursor:
            ((count, first, last),) = cursor.execute(sql, _values(within)).fetchall()
        return (count, first, last) if count else (0, 0, 0)

    @property
    def _where(self) -> str:
        return f"WHERE {self._kind.moment} BETWEEN $start AND $end"

    def _page(self, slice_: Range, shown: int) -> tuple[Part, bool]:
        columns = ", ".join(self._kind.schema.names)
        sql = f"""
            SELECT {columns} FROM {self._kind.name} {self._where}
            ORDER BY {self._kind.moment}, rowid LIMIT {PART_ROWS} OFFSET {shown:d}
        """  # noqa: S608  (ours, the values are bound)
        batches: list[pa.RecordBatch] = []
        size, last = 0, True
        with self._database.reading() as cursor:
            with cursor.sql(sql, params=_values(slice_)).to_arrow_reader(_BATCH_ROWS) as rows:
                for batch in rows:
                    if size > PART_BYTES:
                        last = False
                        break
                    batches.append(batch)
                    size += batch.nbytes
            records = pa.Table.from_batches(batches) if batches else self._kind.schema.empty_table()
            part = Part(
                _origins(cursor, RESOURCES, _new(records.column("resource_id"), self._resources)),
                _origins(cursor, SCOPES, _new(records.column("scope_id"), self._scopes)),
                shaped(records, self._kind.schema),
            )
        return part, last and records.num_rows < PART_ROWS


def _values(within: Range) -> dict[str, int]:
    return {"start": within.start_unix_nano, "end": within.end_unix_nano}


def _new(ids: pa.ChunkedArray, sent: set[int]) -> list[int]:
    new = sorted(set(ids.to_pylist()) - sent)
    sent.update(new)
    return new


def _origins(cursor: duckdb.DuckDBPyConnection, schema: pa.Schema, ids: list[int]) -> pa.Table:
    if not ids:
        return schema.empty_table()
    resources = schema is RESOURCES
    columns = "id, message, schema_url, attributes, service" if resources else "name, version, id, message, schema_url"
    sql = f"SELECT {columns} FROM {'resources' if resources else 'scopes'} WHERE list_contains($ids::UBIGINT[], id)"  # noqa: S608
    found = cursor.sql(sql, params={"ids": ids}).to_arrow_table()
    if not resources:  # the store keeps a scope's attributes in the message only
        rows = [
            [{"k": key, "t": int(kind), "v": text} for key, kind, text in attributes_of(scope.attributes)]
            for scope in map(InstrumentationScope.FromString, found.column("message").to_pylist())
        ]
        found = found.append_column("attributes", pa.array(rows, schema.field("attributes").type))
    return shaped(found, schema)
