"""
The SQL database of one service: a SQLite file that its replicas share, or PostgreSQL by URL.

SQLite runs with a write-ahead log, so readers and one writer do not stop each other, and synchronous=FULL, so what was
committed survives the machine too. A write transaction takes the write lock at its beginning (BEGIN IMMEDIATE): one
that starts as a reader and writes later would be refused at once whenever another replica wrote in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import Connection, MetaData, Table, event, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql.dml import Insert

from demo_services.errors import DatabaseUnavailableError

BUSY_TIMEOUT_MS = 3000  # how long a writer waits for the others; a commit takes some ms
CONNECTIONS = 5  # SQLAlchemy's default; a worker uses one only while a statement runs
CONNECTION_WAIT_S = 2.0
# Any number, the same in all replicas: PostgreSQL's lock while the tables are made.
_SCHEMA_LOCK = 7_309_411


class Database:
    """Belongs to one event loop. Tables exist once `prepare` has returned."""

    def __init__(
        self,
        url: str,
        metadata: MetaData,
        *,
        before_use: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """
        Args:
            url: `sqlite+aiosqlite:///…` or `postgresql+psycopg://…`; a plain `postgresql://` means the latter.
            before_use: Awaited before each transaction: where the fault of a slow database is injected.
        """
        self._metadata = metadata
        self._before_use = before_use
        self.engine: AsyncEngine = create_async_engine(
            _with_driver(url),
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=CONNECTION_WAIT_S,
            pool_reset_on_return=None if url.startswith("sqlite") else "rollback",
        )
        self.prepared = asyncio.Event()
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
            event.listen(self.engine.sync_engine, "reset", _reset_sqlite)
        _trace_statements(self.engine)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    async def prepare(self, seeds: Iterable[tuple[Table, list[dict[str, Any]]]] = ()) -> None:
        """Make the missing tables and rows. Replicas may do so at once: one has the lock, the rest find all done."""
        with suppress_instrumentation():
            await self._prepare(seeds)
        self.prepared.set()

    async def _prepare(self, seeds: Iterable[tuple[Table, list[dict[str, Any]]]]) -> None:
        async with self.write() as connection:
            if not self.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
            await connection.run_sync(self._metadata.create_all)
            for table, rows in seeds:
                await connection.execute(self.insert_ignoring(table), rows)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """
        A connection whose statements each see the newest commits.

        Raises:
            DatabaseUnavailableError: locked for too long, or not reachable.
        """
        await self._wait()
        with database_errors():
            async with self.engine.connect() as connection:
                await connection.execution_options(shop_reads=True)
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """
        A transaction: committed at the end, rolled back by an exception.

        Raises:
            DatabaseUnavailableError: locked for too long, or not reachable; nothing was committed.
        """
        await self._wait()
        with database_errors():
            async with self.engine.begin() as connection:
                yield connection

    def insert_ignoring(self, table: Table) -> Insert:
        """An INSERT that skips rows whose primary key or unique columns are taken; `rowcount` says how many went in."""
        if self.is_sqlite:
            return sqlite.insert(table).on_conflict_do_nothing()
        from sqlalchemy.dialects import postgresql  # 3 MB that a replica on SQLite need not carry

        return postgresql.insert(table).on_conflict_do_nothing()

    def insert_replacing(self, table: Table) -> Insert:
        """An INSERT that replaces the other columns of a row whose primary key is there."""
        if self.is_sqlite:
            statement = sqlite.insert(table)
            return statement.on_conflict_do_update(index_elements=_keys(table), set_=_others(table, statement))
        from sqlalchemy.dialects import postgresql

        new = postgresql.insert(table)
        return new.on_conflict_do_update(index_elements=_keys(table), set_=_others(table, new))

    async def close(self) -> None:
        await self.engine.dispose()

    async def _wait(self) -> None:
        if self._before_use is not None:
            await self._before_use()


def _keys(table: Table) -> list[str]:
    return [column.name for column in table.primary_key]


def _others(table: Table, statement: Any) -> dict[str, Any]:
    return {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}


class database_errors:  # noqa: N801  (a context manager, used like a function)
    """Turns what SQLAlchemy raises when the database is locked or away into DatabaseUnavailableError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, PoolTimeout) or (isinstance(error, DBAPIError) and _is_temporary(error)):
            raise DatabaseUnavailableError(f"the database is not available: {error}") from error


def _is_temporary(error: DBAPIError) -> bool:
    return error.connection_invalidated or type(error).__name__ in ("OperationalError", "InterfaceError")


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path.resolve()}"


def _reset_sqlite(connection: Any, _record: object, _state: object) -> None:
    """Rolls back what a connection left open, and only that: each call is a hop to the connection's thread and back."""
    if connection.driver_connection.in_transaction:
        connection.rollback()


class _StatementTracer(EngineTracer):  # type: ignore[misc,unused-ignore]
    def _operation_name(self, db_name: str | None, statement: str) -> str:
        """`SELECT catalog`, not the whole path of a SQLite file."""
        short = Path(db_name).stem if db_name else db_name
        return str(super()._operation_name(short, statement))  # type: ignore[no-untyped-call]


def _trace_statements(engine: AsyncEngine) -> None:
    """
    A span for each statement, from opentelemetry-instrumentation-sqlalchemy.

    Its engine tracer, not its instrumentor: that works for the first engine of a process only, refuses SQLAlchemy 2.1,
    and adds a span to every transaction for taking a connection from the pool.
    """
    usage = metrics.get_meter(__name__).create_up_down_counter(
        "db.client.connections.usage", unit="{connection}", description="Connections, by pool and state"
    )
    _StatementTracer(  # type: ignore[no-untyped-call]
        trace.get_tracer("opentelemetry.instrumentation.sqlalchemy"), engine.sync_engine, usage
    )


def _with_driver(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if scheme in ("postgres", "postgresql") else url


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions on its own
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get("shop_reads"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
