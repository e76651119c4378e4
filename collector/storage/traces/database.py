"""The DuckDB file of spans and logs: one writer, many readers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collector.errors import CollectorError, TemporaryError
from collector.model.attributes import attributes_of, text_of
from collector.model.telemetry import LogBatch, Origin, SpanBatch
from collector.storage.encryption import EncryptionKey
from collector.storage.traces import attribute_index, derived
from collector.storage.traces.archive import LOGS, SPANS
from collector.storage.traces.attribute_index import Block
from collector.storage.traces.connection import Settings, TelemetryConnection
from collector.storage.traces.derived import Derivation, Deriver
from collector.storage.traces.extents import extents_of, sort_recent
from collector.storage.traces.missing import missing_rows
from collector.storage.traces.schema import (
    LOG_COLUMNS,
    REQUEST_COLUMNS,
    RESOURCE_COLUMNS,
    SCOPE_COLUMNS,
    SPAN_COLUMNS,
    TRACE_EXTENT_COLUMNS,
    TRACE_EXTENTS,
    VERSION,
    create_table,
)

THREADS = 2
MEMORY_LIMIT_MB = 96
# A checkpoint rewrites what the log holds and stalls one commit; a longer log takes longer to replay at start.
CHECKPOINT_AT_MB = 32
FLUSH_AT_MB = 8  # DuckDB's allocator gives freed memory back from here on; its default of 128 is more than we may use
# Of the schema, which are brought up to date when they are opened: without trace_extents, without the attribute index.
_BEFORE_EXTENTS, _BEFORE_INDEX = 1, 2
READERS = 4  # queries at once; more would only share the same two threads
# A query that takes longer is broken off, and so is the wait for one's turn. Jaeger's page waits for 10 s; a structural
# search of 10 million spans takes 2 s.
READ_WITHIN_S = 30.0
# By which a request that is sent again is known: an hour's at ten a second, about 5 MB. An SDK tries for 10 s, the
# OpenTelemetry Collector for 5 minutes (exporterhelper, max_elapsed_time).
REMEMBERED_REQUESTS = 32_768


@dataclass(frozen=True, slots=True)
class Removed:
    spans: int
    logs: int
    more: bool = False  # whether others that are to be removed remain


class TelemetryDatabase:
    """
    `write` and `remove_before` belong to one thread, the writer; `reading` may be used from any.

    A write that returned survives `kill -9`: DuckDB syncs its write-ahead log at commit. What was written before, known
    by its digest, is not written again.
    """

    def __init__(self, connection: TelemetryConnection) -> None:
        self._source = connection
        self._connection = connection.writer
        self._readers = threading.BoundedSemaphore(READERS)
        self._known_resources: set[int] = set()
        self._known_scopes: set[int] = set()
        self._touched_resources: set[int] = set()  # those that came since `watch_origins`
        self._touched_scopes: set[int] = set()
        self._requests: dict[bytes, int] = {}  # digest and when it was received, in the order they came
        self.repeated = 0  # requests that were there already
        self.deriver: Deriver | None = None  # what is told of each commit's spans
        self.holding = False  # spans wait for the decision of storage/traces/held.py, and are not seen before
        self._load_known()

    @classmethod
    def open(
        cls, path: Path, *, memory_limit_mb: int = MEMORY_LIMIT_MB, key: EncryptionKey | None = None
    ) -> TelemetryDatabase:
        """
        Open or create the file; only one process may.

        Args:
            key: what it is encrypted with. None: it is not.

        Raises:
            CollectorError: it cannot be opened, or another version of Steersman wrote it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        settings: Settings = {
            "threads": THREADS,
            "memory_limit": f"{memory_limit_mb}MiB",
            "temp_directory": str(path.parent / "spill"),
            "wal_autocheckpoint": f"{CHECKPOINT_AT_MB}MiB",
            "allocator_background_threads": True,
            "allocator_flush_threshold": f"{FLUSH_AT_MB}MiB",
            "allocator_bulk_deallocation_flush_threshold": f"{FLUSH_AT_MB}MiB",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        try:
            connection = TelemetryConnection(path, settings, key)
            _create(connection.writer, path)
        except duckdb.Error as error:
            raise CollectorError(f"cannot open {path}: {error}") from error
        return cls(connection)

    def close(self) -> None:
        """Write what the log holds into the file, and close it."""
        self.checkpoint()  # a reader may still be at work; the log keeps everything
        self._source.close()

    def write(self, batches: Sequence[SpanBatch | LogBatch]) -> None:
        """
        Commit all batches, or none.

        Raises:
            TemporaryError: the disk is full, or the like.
        """
        batches, requests = self._new(batches)
        spans = _together([batch for batch in batches if isinstance(batch, SpanBatch) and batch.table.num_rows])
        logs = [batch.table for batch in batches if isinstance(batch, LogBatch) and batch.table.num_rows]
        resources = {key: value for batch in batches for key, value in batch.resources.items()}
        scopes = {key: value for batch in batches for key, value in batch.scopes.items()}
        self._touched_resources |= resources.keys()
        self._touched_scopes |= scopes.keys()
        new_resources = {key: resources[key] for key in resources.keys() - self._known_resources}
        new_scopes = {key: scopes[key] for key in scopes.keys() - self._known_scopes}
        derivation = self.deriver.derive(spans) if self.deriver is not None and spans is not None else None
        with self.writing():
            self._append("resources", [_resource_table(new_resources)] if new_resources else [])
            self._append("scopes", [_scope_table(new_scopes)] if new_scopes else [])
            if spans is not None and self.holding:
                self._append("held_spans", [spans.table])
            elif spans is not None:
                self.append_spans(spans.table)
            self._append("logs", logs)
            self._append("requests", [_request_table(requests)] if requests else [])
            self.append_derived(derivation)
        if derivation is not None:
            derivation.keep()
        self._requests |= requests
        while len(self._requests) > REMEMBERED_REQUESTS:
            del self._requests[next(iter(self._requests))]
        self._known_resources |= new_resources.keys()
        self._known_scopes |= new_scopes.keys()

    def append_spans(self, spans: pa.Table) -> None:
        """Spans that searches find, with what leads to them. To be called while `writing`."""
        self._append("spans", [spans])
        self._append("recent_extents", [extents_of(spans)])

    def append_derived(self, derivation: Derivation | None) -> None:
        """To be called while `writing`."""
        if derivation is not None:
            derived.append(self._connection, derivation)

    def restore(self, batch: SpanBatch | LogBatch) -> int:
        """
        Write what is not there already, received at whatever time; returns how many records that were.

        For imports: these have been counted and sampled where they came from, so nothing is derived from them, and none
        is held back.
        """
        kind = SPANS if isinstance(batch, SpanBatch) else LOGS
        try:
            missing = missing_rows(self._connection, kind, batch.table)
        except duckdb.Error as error:
            raise TemporaryError(f"{kind.name} could not be looked for: {error}") from error
        if not missing.num_rows:
            return 0
        self._touched_resources |= batch.resources.keys()
        self._touched_scopes |= batch.scopes.keys()
        resources = {key: batch.resources[key] for key in batch.resources.keys() - self._known_resources}
        scopes = {key: batch.scopes[key] for key in batch.scopes.keys() - self._known_scopes}
        with self.writing():
            self._append("resources", [_resource_table(resources)] if resources else [])
            self._append("scopes", [_scope_table(scopes)] if scopes else [])
            if kind is SPANS:
                self.append_spans(missing)
            else:
                self._append("logs", [missing])
        self._known_resources |= resources.keys()
        self._known_scopes |= scopes.keys()
        return int(missing.num_rows)

    def remove_before(self, received_ms: int, *, most_rows: int | None = None) -> Removed:
        """
        Delete what was received before.

        Args:
            most_rows: of spans, and of log records, about; the oldest then. `more` of the answer says if others remain.
        """
        with self.writing() as connection:
            until = _step(connection, received_ms, most_rows)
            spans = self._delete("DELETE FROM spans WHERE received_ms < ?", until)
            for extents in ("trace_extents", "recent_extents"):
                self._delete(f"DELETE FROM {extents} WHERE received_ms < ?", until)  # noqa: S608  (ours)
            attribute_index.forget(connection, received_ms=until, spans=spans)
            logs = self._delete("DELETE FROM logs WHERE received_ms < ?", until)
            oldest = min(self._requests.values(), default=until)
            self._delete("DELETE FROM requests WHERE received_ms < ?", max(until, oldest))
        self._requests = {digest: at for digest, at in self._requests.items() if at >= until}
        return Removed(spans, logs, more=until < received_ms)

    def used_bytes(self) -> int:
        """Of the file, without what is free in it and without the log."""
        with self.reading() as cursor:
            row = cursor.execute("SELECT used_blocks * block_size FROM pragma_database_size()").fetchone()
        return int(row[0]) if row else 0

    def received_of_oldest(self, share: float) -> int:
        """Until when, exclusive, about that share of all spans and log records was received; 0 if there are none."""
        rows = "SELECT received_ms FROM spans UNION ALL SELECT received_ms FROM logs"
        sql = f"SELECT approx_quantile(received_ms, {share:f}) FROM ({rows})"  # noqa: S608  (ours)
        with self.reading() as cursor:
            row = cursor.execute(sql).fetchone()
        return int(row[0]) + 1 if row and row[0] is not None else 0

    def watch_origins(self) -> None:
        """To be called before `unused_origins`, by the writer."""
        self._touched_resources, self._touched_scopes = set(), set()

    def unused_origins(self) -> tuple[set[int], set[int]]:
        """The resources and scopes that nothing refers to. From any thread."""
        found = []
        with self.reading() as cursor:
            for table, column in (("resources", "resource_id"), ("scopes", "scope_id")):
                used = " UNION ".join(f"SELECT {column} FROM {name}" for name in ("spans", "held_spans", "logs"))  # noqa: S608
                sql = f"SELECT id FROM {table} WHERE id NOT IN ({used})"  # noqa: S608  (ours)
                found.append({row[0] for row in cursor.execute(sql).fetchall()})
        return found[0], found[1]

    def remove_origins(self, unused: tuple[set[int], set[int]]) -> None:
        """Delete those of the unused resources and scopes that have not come again meanwhile."""
        resources, scopes = unused[0] - self._touched_resources, unused[1] - self._touched_scopes
        with self.writing() as connection:
            for table, ids in (("resources", resources), ("scopes", scopes)):
                if ids:
                    sql = f"DELETE FROM {table} WHERE list_contains(?::UBIGINT[], id)"  # noqa: S608  (ours)
                    connection.execute(sql, [sorted(ids)])
        self._known_resources -= resources
        self._known_scopes -= scopes

    def checkpoint(self) -> None:
        """Write what the log holds into the file, if no reader is in the way."""
        with suppress(duckdb.Error):
            self._connection.execute("CHECKPOINT")

    def sort_extents(self) -> None:
        """What a look-up by trace id reads, if there is enough that is not sorted. The writer's; takes 0.1 s."""
        with self.writing() as connection:
            sort_recent(connection)

    def next_block(self) -> Block | None:
        """What the attribute index lacks, if that is enough for a block. From any thread; takes 0.1 s."""
        with self.reading() as cursor:
            return attribute_index.next_block(cursor)

    def keep_block(self, block: Block) -> None:
        """To be called before the next one is made."""
        with self.writing() as connection:
            attribute_index.keep(connection, block)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """
        A cursor that sees one state of the file throughout.

        Raises:
            TemporaryError: DuckDB could not answer within READ_WITHIN_S, or would need more memory than it may use.
        """
        if not self._readers.acquire(timeout=READ_WITHIN_S):
            raise TemporaryError(f"{READERS} other queries of spans and logs have not ended within {READ_WITHIN_S} s")
        try:
            cursor = self._source.cursor()
            late = threading.Timer(READ_WITHIN_S, cursor.interrupt)
            late.daemon = True
            late.start()
            try:
                cursor.execute("BEGIN TRANSACTION READ ONLY")
                yield cursor
            except duckdb.InterruptException as error:
                raise TemporaryError(f"the query of spans and logs took longer than {READ_WITHIN_S} s") from error
            except duckdb.Error as error:
                raise TemporaryError(f"spans and logs could not be read: {error}") from error
            finally:
                late.cancel()
                cursor.close()
        finally:
            self._readers.release()

    def _delete(self, sql: str, received_ms: int) -> int:
        row = self._connection.execute(sql, [received_ms]).fetchone()
        return int(row[0]) if row else 0

    def _append(self, table: str, parts: Sequence[pa.Table]) -> None:
        if not parts:
            return
        # As one chunk, see `_together`. DuckDB finds the local variable by its name; to register it would take as long
        # as a small insert.
        incoming = pa.concat_tables(parts).combine_chunks()  # noqa: F841
        self._connection.execute(f"INSERT INTO {table} SELECT * FROM incoming")  # noqa: S608

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """
        A transaction of the writer's.

        Raises:
            TemporaryError: DuckDB could not do it; nothing of it is done.
        """
        try:
            self._connection.execute("BEGIN")
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException as error:
            with suppress(duckdb.Error):  # a failed commit has rolled back already
                self._connection.execute("ROLLBACK")
            if isinstance(error, duckdb.Error):
                raise TemporaryError(f"spans and logs could not be stored: {error}") from error
            raise

    def _new(self, batches: Sequence[SpanBatch | LogBatch]) -> tuple[list[SpanBatch | LogBatch], dict[bytes, int]]:
        """The batches that are not there yet, and the requests that they are."""
        fresh: list[SpanBatch | LogBatch] = []
        requests: dict[bytes, int] = {}
        for batch in batches:
            if not batch.table.num_rows:
                continue
            if batch.digest in self._requests or batch.digest in requests:
                self.repeated += 1
                continue
            if batch.digest:
                requests[batch.digest] = batch.table.column("received_ms")[0].as_py()
            fresh.append(batch)
        return fresh, requests

    def _load_known(self) -> None:
        newest = "SELECT digest, received_ms FROM requests ORDER BY received_ms DESC LIMIT ?"
        rows = self._connection.execute(newest, [REMEMBERED_REQUESTS]).fetchall()
        self._requests = dict(reversed(rows))
        self._known_resources = {row[0] for row in self._connection.execute("SELECT id FROM resources").fetchall()}
        self._known_scopes = {row[0] for row in self._connection.execute("SELECT id FROM scopes").fetchall()}


def _step(connection: duckdb.DuckDBPyConnection, received_ms: int, most_rows: int | None) -> int:
    """Until when to remove what was received before `received_ms`, so that it is about `most_rows` of each table."""
    if most_rows is None:
        return received_ms
    until = received_ms
    for table in ("spans", "logs"):
        # The first in the order they lie in, which is about that in which they came.
        first = f"SELECT received_ms FROM {table} WHERE received_ms < $1 LIMIT {most_rows + 1:d}"  # noqa: S608  (ours)
        row = connection.execute(f"SELECT count(*), max(received_ms) FROM ({first})", [received_ms]).fetchone()  # noqa: S608
        if row and row[0] > most_rows:
            until = min(until, row[1] + 1)
    return until


def _together(batches: Sequence[SpanBatch]) -> SpanBatch | None:
    """As one batch of one chunk: several are read by several threads, which takes half as much CPU again."""
    if not batches:
        return None
    resources = {key: value for batch in batches for key, value in batch.resources.items()}
    return SpanBatch(pa.concat_tables([batch.table for batch in batches]).combine_chunks(), resources, {})


def _create(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER)")
    row = connection.execute("SELECT version FROM schema_version").fetchone()
    if row is None:
        connection.execute("INSERT INTO schema_version VALUES (?)", [VERSION])
    elif row[0] not in (VERSION, _BEFORE_INDEX, _BEFORE_EXTENTS):
        raise CollectorError(f"{path} has schema version {row[0]}, this collector reads {VERSION}")
    tables = {
        "spans": SPAN_COLUMNS,
        "held_spans": SPAN_COLUMNS,
        "logs": LOG_COLUMNS,
        "resources": RESOURCE_COLUMNS,
        "scopes": SCOPE_COLUMNS,
        "trace_extents": TRACE_EXTENT_COLUMNS,
        "recent_extents": TRACE_EXTENT_COLUMNS,
        "requests": REQUEST_COLUMNS,
    }
    connection.execute("BEGIN")
    for name, columns in tables.items():
        connection.execute(create_table(name, columns))
    derived.create(connection)
    attribute_index.create(connection)
    if row is not None and row[0] == _BEFORE_EXTENTS:
        connection.execute(TRACE_EXTENTS.format(source="spans"))
    connection.execute("UPDATE schema_version SET version = ?", [VERSION])
    connection.execute("COMMIT")


_ATTRIBUTE_LIST = pa.list_(pa.struct([("k", pa.string()), ("t", pa.uint8()), ("v", pa.string())]))


def _request_table(requests: Mapping[bytes, int]) -> pa.Table:
    return pa.table(
        {"digest": pa.array(requests.keys(), pa.binary()), "received_ms": pa.array(requests.values(), pa.int64())}
    )


def _resource_table(resources: Mapping[int, Origin]) -> pa.Table:
    parsed = [Resource.FromString(origin.message) for origin in resources.values()]
    attributes = [attributes_of(message.attributes) for message in parsed]
    return pa.table(
        {
            "id": pa.array(resources.keys(), pa.uint64()),
            "service": [
                next((text_of(pair.value)[1] for pair in message.attributes if pair.key == "service.name"), "")
                for message in parsed
            ],
            "message": pa.array([origin.message for origin in resources.values()], pa.binary()),
            "schema_url": [origin.schema_url for origin in resources.values()],
            "attributes": pa.array(
                [[{"k": key, "t": int(kind), "v": text} for key, kind, text in row] for row in attributes],
                _ATTRIBUTE_LIST,
            ),
        }
    )


def _scope_table(scopes: Mapping[int, Origin]) -> pa.Table:
    parsed = [InstrumentationScope.FromString(origin.message) for origin in scopes.values()]
    return pa.table(
        {
            "id": pa.array(scopes.keys(), pa.uint64()),
            "name": [message.name for message in parsed],
            "version": [message.version for message in parsed],
            "message": pa.array([origin.message for origin in scopes.values()], pa.binary()),
            "schema_url": [origin.schema_url for origin in scopes.values()],
        }
    )
