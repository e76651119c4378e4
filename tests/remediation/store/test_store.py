import sqlite3

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from remediation.store.record import Action, Finding, Intake, NewRun, Note, State
from remediation.store.store import HOUR_MS, Store
from remediation.store.tables import metadata, runs


@pytest.fixture
def path(tmp_path):
    return tmp_path / "remediation.sqlite"


@pytest.fixture
def store(path):
    store = Store.in_file(path)
    yield store
    store.close()


def new_run(fingerprint="f1", *, service="cart", starts=1000, at=5000):
    return NewRun(
        id=f"{fingerprint}-{starts}",
        service=service,
        alertname="HighRequestLatency",
        fingerprint=fingerprint,
        starts_at_unix_ms=starts,
        policy="scale-out",
        policy_json="{}",
        alert_json='{"labels": {}}',
        at_unix_ms=at,
    )


def action(key="0.0", *, kind="scale_out", to=3, at=5000):
    return Action(key=key, action=kind, target="cart", from_replicas=1, to_replicas=to, reason="load", at_unix_ms=at)


def test_same_alert_begins_one_run(store):
    assert store.accept(new_run()) == (Intake.STARTED, "f1-1000")
    assert store.accept(new_run()) == (Intake.DUPLICATE, "f1-1000")
    store.finish("f1-1000", State.RESOLVED, "done", 9000)
    assert store.accept(new_run()) == (Intake.DUPLICATE, "f1-1000")
    assert store.accept(new_run(starts=2000)) == (Intake.STARTED, "f1-2000")


def test_one_unfinished_run_for_each_target(store):
    store.accept(new_run())
    assert store.accept(new_run("f2")) == (Intake.JOINED, "f1-1000")
    assert store.accept(new_run("f2")) == (Intake.DUPLICATE, "f1-1000")
    assert store.accept(new_run("f3", service="catalog")) == (Intake.STARTED, "f3-1000")
    assert {run.id for run in store.unfinished()} == {"f1-1000", "f3-1000"}


def test_alert_that_outlives_the_run_it_joined_begins_its_own(store):
    store.accept(new_run())
    store.accept(new_run("f2"))
    store.finish("f1-1000", State.RESOLVED, "done", 9000)
    assert store.accept(new_run("f2")) == (Intake.STARTED, "f2-1000")
    assert store.accept(new_run("f2")) == (Intake.DUPLICATE, "f2-1000")


def test_alert_is_active_until_its_latest_start_is_resolved(store):
    store.accept(new_run())
    store.accept(new_run(starts=2000))  # the sender was restarted and counts anew
    assert store.resolve("f1", 1000, 6000) == "f1-1000"
    assert store.alert_is_active("f1-1000")
    assert store.resolve("f1", 2000, 7000) == "f1-1000"
    assert not store.alert_is_active("f1-1000")
    assert store.resolve("f1", 2000, 8000) is None  # told before
    assert store.resolve("f9", 1, 8000) is None


def test_everything_is_there_after_the_file_is_opened_again(store, path):
    store.accept(new_run())
    store.intend("f1-1000", State.ACTING, action())
    store.close()
    again = Store.in_file(path)
    record = again.record("f1-1000")
    assert record["state"] == "acting"
    assert record["actions"][0]["from"] == 1
    assert record["actions"][0]["status"] == "intended"
    again.close()


def test_intention_is_written_once_and_keeps_what_it_first_said(store):
    store.accept(new_run())
    store.intend("f1-1000", State.ACTING, action(to=3))
    assert store.intend("f1-1000", State.ACTING, action(to=9, at=9999)).to_replicas == 3
    store.conclude("f1-1000", "0.0", "done", Note("n", "scale_out", "1 → 3"), 6000)
    (one,) = store.record("f1-1000")["actions"]
    assert (one["to"], one["status"], one["at_unix_ms"]) == (3, "done", 5000)


def test_what_a_repeated_step_writes_again_is_there_once(store):
    store.accept(new_run())
    for _ in range(2):
        store.progress(
            "f1-1000",
            6000,
            state=State.VERIFYING,
            notes=[Note("k", "e", "d")],
            findings=[Finding("k", "p99", "q", 1.5)],
        )
    record = store.record("f1-1000")
    assert [one["event"] for one in record["timeline"]] == ["accepted", "e"]
    assert [one["value"] for one in record["evidence"]] == [1.5]


def test_finished_run_stays_as_it_ended(store):
    store.accept(new_run())
    assert store.finish("f1-1000", State.ESCALATED, "did not help", 9000)
    assert not store.finish("f1-1000", State.RESOLVED, "changed my mind", 9500)
    store.progress("f1-1000", 9600, state=State.ACTING)
    record = store.record("f1-1000")
    assert (record["state"], record["outcome"], record["finished_at_unix_ms"]) == ("escalated", "did not help", 9000)
    with pytest.raises(ValueError, match="does not end a run"):
        store.finish("f1-1000", State.ACTING, "", 1)


def test_history_counts_what_guards_ask_for(store):
    now = 2 * HOUR_MS
    store.accept(new_run())
    store.intend("f1-1000", State.ACTING, action("0.0", at=now - HOUR_MS - 1))  # too old for the hour
    store.intend("f1-1000", State.ACTING, action("0.1", at=now - 1000))
    store.intend("f1-1000", State.ACTING, action("0.undo", kind="undo", at=now - 500))
    store.finish("f1-1000", State.ESCALATED, "x", now - 100)
    history = store.history("cart", "another", now)
    assert history.last_scale_out_unix_ms == now - 1000
    assert history.scale_outs_last_hour == 1
    assert history.last_escalation == ("f1-1000", now - 100)
    own = store.history("cart", "f1-1000", now)
    assert (own.last_scale_out_unix_ms, own.scale_outs_last_hour, own.last_escalation) == (None, 1, None)


def test_accepted_alert_is_synced_to_disk(store, path):
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    store.accept(new_run())
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM remediation_runs").fetchone() == (1,)
    other.close()


def test_tables_are_postgresql_tables_too():
    dialect = postgresql.dialect()
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
    (index,) = (index for index in runs.indexes if index.unique)
    assert "WHERE finished_at_unix_ms IS NULL" in str(CreateIndex(index).compile(dialect=dialect))
