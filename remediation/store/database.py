"""One file of SQLite, or one PostgreSQL for several workers: connections, transactions, locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from remediation.store import audit
from remediation.store.audit import Entry
from remediation.store.record import Note
from remediation.store.tables import audit_head, metadata, timeline

CACHE_KIB = 256  # a connection's pages: a run's rows are a few KiB, and SQLite's own default is eight times as much
BUSY_TIMEOUT_MS = 10_000  # longer than any transaction of ours; beyond it the sender is told to come again
# PostgreSQL ends the transaction of who was frozen in its middle, and with it its locks: the others need them.
_SESSION = f"-c idle_in_transaction_session_timeout={BUSY_TIMEOUT_MS}"


class Lock(IntEnum):
    """Held by one transaction at a time, of all workers. Any numbers, the same in every worker."""

    SCHEMA = 7_394_020
    ACTING = 7_394_021  # actions are let in, the kill switch is turned
    INTAKE = 7_394_022  # alerts become runs


class Transaction:
    """What it writes, tells and audits is there as a whole or not at all."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._entries: list[Entry] = []

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that has ON CONFLICT, which SQLAlchemy spells once for each database."""
        return (postgresql if self.connection.dialect.name == "postgresql" else sqlite).insert(table)

    def note(self, run_id: str, note: Note, at_unix_ms: int) -> None:
        """A line of the timeline, audited; nothing if its key was written before."""
        row = {"run_id": run_id, "key": note.key, "event": note.event, "detail": note.detail, "at_unix_ms": at_unix_ms}
        if self.connection.execute(self.insert(timeline).values(row).on_conflict_do_nothing()).rowcount == 1:
            self.audit(note.event, at_unix_ms, run_id, {"detail": note.detail})

    def new_notes(self, notes: Sequence[tuple[str, Note, int]]) -> None:
        """Many lines (run, note, when) at once, whose keys have not been written before."""
        if not notes:
            return
        rows = [
            {"run_id": run_id, "key": note.key, "event": note.event, "detail": note.detail, "at_unix_ms": at_unix_ms}
            for run_id, note, at_unix_ms in notes
        ]
        self.connection.execute(self.insert(timeline).on_conflict_do_nothing(), rows)
        for run_id, note, at_unix_ms in notes:
            self.audit(note.event, at_unix_ms, run_id, {"detail": note.detail})

    def audit(self, kind: str, at_unix_ms: int, run_id: str, detail: dict[str, Any]) -> None:
        self._entries.append(Entry(at_unix_ms, kind, run_id, detail))

    def close(self) -> None:
        """Last of all, because others wait from here until the commit."""
        if self._entries:
            audit.append(self.connection, self._entries)


class Database:
    """Thread-safe. `fence` is asked at the beginning of every write, and raises where this process must not write."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.fence: Callable[[sa.Connection], None] = lambda connection: None
        self._reading = engine.execution_options(reads_only=True)
        with engine.begin() as connection:
            self._take(connection, Lock.SCHEMA)
            metadata.create_all(connection)
            for table in metadata.sorted_tables:  # a store of an earlier version lacks what was added since
                _add_missing_columns(connection, table)
                for index in table.indexes:
                    index.create(connection, checkfirst=True)
            first = {"id": 1, "sequence": 0, "hash": audit.GENESIS}
            connection.execute(Transaction(connection).insert(audit_head).values(first).on_conflict_do_nothing())

    @classmethod
    def in_file(cls, path: Path) -> Self:
        engine = sa.create_engine(f"sqlite:///{path}")
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return cls(engine)

    @classmethod
    def at_url(cls, url: str) -> Self:
        options = {"options": _SESSION}
        return cls(sa.create_engine(url, pool_size=5, max_overflow=5, pool_pre_ping=True, connect_args=options))

    @property
    def shared(self) -> bool:
        """Whether several workers may be on it."""
        return self.engine.dialect.name == "postgresql"

    def reading(self) -> sa.Connection:
        """To read what is committed, without waiting for whoever writes; a context manager."""
        return self._reading.connect()

    @contextmanager
    def writing(self, *locks: Lock) -> Iterator[Transaction]:
        """
        SQLite lets one write at a time anyway; PostgreSQL those that do not ask for the same lock or rows.

        Args:
            locks: Taken in the order of their numbers, so that no two transactions wait for each other.
        """
        with self.engine.begin() as connection:
            self.fence(connection)
            for lock in sorted(locks):
                self._take(connection, lock)
            transaction = Transaction(connection)
            yield transaction
            transaction.close()

    def close(self) -> None:
        self.engine.dispose()

    def _take(self, connection: sa.Connection, lock: Lock) -> None:
        """Until the end of the transaction. SQLite's BEGIN IMMEDIATE has done so already."""
        if self.shared:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(int(lock))))


def _add_missing_columns(connection: sa.Connection, table: sa.Table) -> None:
    """Only ever nullable ones: the rows that are there have nothing to put in."""
    known = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in known:
            kind = column.type.compile(connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by our own BEGIN
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute("PRAGMA synchronous=FULL")  # a commit is on disk when it returns: accepted alerts are durable


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes the lock at once: one that first reads and then writes could find itself overtaken.
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
