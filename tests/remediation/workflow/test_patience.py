"""Each error is the driver's own, of a real SQLite file and a real PostgreSQL."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from remediation.departure import STORE_BROKEN
from remediation.store.record import Note
from remediation.store.store import Store
from remediation.workflow import patience
from remediation.workflow.patience import patiently


class EndedError(BaseException):
    """Instead of the process."""


@pytest.fixture
def ends(monkeypatch):
    def end(why: str, code: int) -> None:
        assert code == STORE_BROKEN
        raise EndedError(why)

    monkeypatch.setattr(patience, "end_at_once", end)


@pytest.fixture
def slept(monkeypatch):
    """What was waited for. What `meanwhile` says is done while it is waited for the first time."""

    class Slept(list[float]):
        meanwhile: Callable[[], object] = staticmethod(lambda: None)

    waits = Slept()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            waits.meanwhile()

    monkeypatch.setattr(patience.time, "sleep", sleep)
    return waits


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path):
    opened = Store.in_file(path)
    yield opened
    opened.close()


def pragma(store: Store, text: str) -> None:
    """Of every connection of the store."""
    store.database.engine.dispose()
    sa.event.listen(store.database.engine, "connect", lambda connection, _: connection.execute(f"PRAGMA {text}"))


def tell(store: Store, number: int = 1) -> None:
    store.progress("run", 1, notes=[Note(f"key-{number}", "event", "x" * 5000)])


def test_file_that_another_process_holds_is_waited_for_and_what_for_is_told(store, path, slept, ends, caplog):
    pragma(store, "busy_timeout=1")
    caplog.set_level(logging.WARNING)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        slept.meanwhile = lambda: other.execute("ROLLBACK")
        patiently(tell, store)
    assert slept == [0.1]
    (told,) = caplog.messages
    assert told.startswith("tell waits for the database to be let go by another process, for 0.0 s so far: database is")
    assert store.noted("run", ["key-1"])


def test_it_is_asked_less_and_less_often_but_every_five_seconds(store, path, slept, ends):
    pragma(store, "busy_timeout=1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def call() -> str:
            if len(slept) == 8:
                other.execute("ROLLBACK")
            tell(store)
            return "told"

        assert patiently(call) == "told"
    assert slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_full_disk_is_waited_for_until_somebody_makes_room(store, slept, ends, caplog):
    with store.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    limit = [pages + 4]
    sa.event.listen(
        store.database.engine,
        "begin",
        lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={limit[0]}"),
        insert=True,
    )
    slept.meanwhile = lambda: limit.append(limit.pop() + 1000)
    for number in range(20):
        patiently(tell, store, number)
    assert slept == [0.1]
    assert "waits for the database to have room on its disk" in caplog.text
    assert store.noted("run", ["key-19"])


def of_one(store: Store, path: object, spoil: Callable[[sqlite3.Connection], object]) -> None:
    store.database.engine.dispose()
    with closing(sqlite3.connect(str(path), isolation_level=None)) as other:
        spoil(other)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("DROP TABLE remediation_timeline", "no such table: remediation_timeline"),
        ("ALTER TABLE remediation_timeline RENAME COLUMN detail TO details", "has no column named detail"),
    ],
)
def test_table_that_is_not_there_ends_the_worker(store, path, slept, ends, spoil, told):
    of_one(store, path, lambda other: other.execute(spoil))
    with pytest.raises(EndedError, match=told) as ended:
        patiently(tell, store)
    assert str(ended.value).startswith("tell: the database cannot be used, and waiting mends nothing: ")
    assert slept == []


def test_file_that_may_not_be_written_ends_the_worker(store, slept, ends):
    pragma(store, "query_only=1")
    with pytest.raises(EndedError, match="attempt to write a readonly database"):
        patiently(tell, store)
    assert slept == []


def test_malformed_file_ends_the_worker(store, path, slept, ends):
    of_one(store, path, lambda other: other.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(EndedError, match="malformed"):
        patiently(tell, store)
    assert slept == []


def test_what_is_wrong_with_one_statement_ends_the_run_only(store, slept, ends):
    def call() -> None:
        with store.database.writing() as transaction:
            transaction.connection.exec_driver_sql("INSERT INTO remediation_duties (name) VALUES ('x')")

    with pytest.raises(IntegrityError):
        patiently(call)
    assert slept == []


def test_process_that_must_not_go_on_ends_with_its_reason_on_record():
    program = "from remediation.departure import *; end_at_once('no such table', STORE_BROKEN)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (74, "no such table; this process ends\n")


# PostgreSQL


@pytest.fixture
def url(postgres):
    return postgres.database().replace("://", "+psycopg://")


@pytest.fixture
def engine_at():
    engines = []

    def made(url: str) -> sa.Engine:
        engines.append(sa.create_engine(url))
        return engines[-1]

    yield made
    for engine in engines:
        engine.dispose()


def test_server_that_ends_the_connection_is_waited_for(url, slept, ends, engine_at, caplog):
    engine = engine_at(url)

    def call() -> int:
        with engine.begin() as mine:
            pid = mine.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            if not slept:
                with engine.begin() as other:
                    other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
            return int(mine.exec_driver_sql("SELECT 7").scalar_one())

    assert patiently(call) == 7
    assert slept == [0.1]
    assert "call waits for the database to be started again, for 0." in caplog.text
    assert "so far: terminating connection due to administrator command" in caplog.text


def test_server_that_is_not_there_is_waited_for(url, slept, ends, engine_at, caplog):
    engines = [engine_at(f"{url.rpartition(':')[0]}:1/none"), engine_at(url)]

    def call() -> int:
        with engines[min(len(slept) // 2, 1)].connect() as connection:
            return int(connection.exec_driver_sql("SELECT 7").scalar_one())

    assert patiently(call) == 7
    assert slept == [0.1, 0.2]
    assert "call waits for the database to answer" in caplog.text


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_transaction_that_was_overtaken_begins_again(url, slept, ends, engine_at, level):
    engine = engine_at(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers AS SELECT 1 AS number")

    def call() -> None:
        with engine.connect().execution_options(isolation_level=level) as mine, mine.begin():
            mine.exec_driver_sql("SELECT * FROM numbers")
            if not slept:
                with engine.begin() as other:
                    other.exec_driver_sql("UPDATE numbers SET number = number + 1")
            mine.exec_driver_sql("UPDATE numbers SET number = number * 10")

    patiently(call)
    assert slept == [0.1]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT number FROM numbers").scalar_one() == 20


def test_transaction_that_was_chosen_to_end_a_deadlock_begins_again(url, slept, ends, engine_at):
    engine, meet = engine_at(url), threading.Barrier(2)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers AS SELECT id, 0 AS number FROM generate_series(0, 1) AS id")

    def add(first: int) -> None:
        tried = []

        def call() -> None:
            tried.append(1)
            with engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL deadlock_timeout = '20ms'")
                for number in (first, 1 - first):
                    connection.execute(sa.text("UPDATE numbers SET number = number + 1 WHERE id = :id"), {"id": number})
                    if number == first and len(tried) == 1:
                        meet.wait(30)

        patiently(call)

    threads = [threading.Thread(target=add, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert slept == [0.1]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT sum(number) FROM numbers").scalar_one() == 4


def ask(engine: sa.Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


def test_database_or_table_that_is_not_there_ends_the_worker(url, slept, ends, engine_at):
    for where, statement, told in (
        (f"{url}x", "SELECT 1", "does not exist"),
        (url, "SELECT * FROM remediation_runs", 'relation "remediation_runs" does not exist'),
    ):
        with pytest.raises(EndedError, match=told):
            patiently(ask, engine_at(where), statement)
    assert slept == []
