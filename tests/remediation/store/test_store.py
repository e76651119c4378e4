import sqlite3
from dataclasses import replace

import pytest

from remediation.store.history import DAY_MS, HOUR_MS
from remediation.store.record import (
    Action,
    Denied,
    Finding,
    Firing,
    Intake,
    KillSwitch,
    NewRun,
    Note,
    Resolved,
    State,
    TargetHistory,
)
from remediation.store.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request, tmp_path):
    """Opens the same store, as often as it is called."""
    stores = []
    url = request.getfixturevalue("postgres").database() if request.param == "postgresql" else None

    def open_store():
        path = tmp_path / "remediation.sqlite"
        stores.append(Store.in_file(path) if url is None else Store.at_url(url.replace("://", "+psycopg://")))
        return stores[-1]

    yield open_store
    for one in stores:
        one.close()


@pytest.fixture
def store(opened):
    return opened()


def accept(store, new):
    (outcome,) = store.take([Firing(new)])
    return outcome.what, outcome.run_id


def resolve(store, fingerprint, starts, at):
    (outcome,) = store.take([Resolved(fingerprint=fingerprint, starts_at_unix_ms=starts, at_unix_ms=at)])
    return outcome.run_id


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


def intend(store, run_id, state, action, *, admit=lambda fleet, known: None):
    return store.intend(run_id, state, action, radius_ms=600_000, admit=admit)


def action(key="0.0", *, kind="scale_out", to=3, at=5000):
    return Action(key=key, action=kind, target="cart", from_replicas=1, to_replicas=to, reason="load", at_unix_ms=at)


def test_same_alert_begins_one_run(store):
    assert accept(store, new_run()) == (Intake.STARTED, "f1-1000")
    assert accept(store, new_run()) == (Intake.DUPLICATE, "f1-1000")
    store.finish("f1-1000", State.RESOLVED, "done", 9000)
    assert accept(store, new_run()) == (Intake.DUPLICATE, "f1-1000")
    assert accept(store, new_run(starts=2000)) == (Intake.STARTED, "f1-2000")


def test_one_unfinished_run_for_each_target(store):
    accept(store, new_run())
    assert accept(store, new_run("f2")) == (Intake.JOINED, "f1-1000")
    assert accept(store, new_run("f2")) == (Intake.DUPLICATE, "f1-1000")
    assert accept(store, new_run("f3", service="catalog")) == (Intake.STARTED, "f3-1000")
    assert {run.id for run in store.unfinished()} == {"f1-1000", "f3-1000"}


def test_alert_that_outlives_the_run_it_joined_begins_its_own(store):
    accept(store, new_run())
    accept(store, new_run("f2"))
    store.finish("f1-1000", State.RESOLVED, "done", 9000)
    assert accept(store, new_run("f2")) == (Intake.STARTED, "f2-1000")
    assert accept(store, new_run("f2")) == (Intake.DUPLICATE, "f2-1000")


def test_alert_is_active_until_its_latest_start_is_resolved(store):
    accept(store, new_run())
    accept(store, new_run(starts=2000))  # the sender was restarted and counts anew
    assert resolve(store, "f1", 1000, 6000) == "f1-1000"
    assert store.alert_is_active("f1-1000")
    assert resolve(store, "f1", 2000, 7000) == "f1-1000"
    assert not store.alert_is_active("f1-1000")
    assert resolve(store, "f1", 2000, 8000) is None  # told before
    assert resolve(store, "f9", 1, 8000) is None


def test_everything_is_there_after_the_store_is_opened_again(store, opened):
    accept(store, new_run())
    intend(store, "f1-1000", State.ACTING, action())
    store.close()
    again = opened()
    record = again.record("f1-1000")
    assert record["state"] == "acting"
    assert record["actions"][0]["from"] == 1
    assert record["actions"][0]["status"] == "intended"


def test_intention_is_written_once_and_keeps_what_it_first_said(store):
    accept(store, new_run())
    intend(store, "f1-1000", State.ACTING, action(to=3))
    assert intend(store, "f1-1000", State.ACTING, action(to=9, at=9999)).to_replicas == 3
    store.conclude("f1-1000", "0.0", "done", Note("n", "scale_out", "1 → 3"), 6000)
    (one,) = store.record("f1-1000")["actions"]
    assert (one["to"], one["status"], one["at_unix_ms"]) == (3, "done", 5000)


def test_what_a_repeated_step_writes_again_is_there_once(store):
    accept(store, new_run())
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
    accept(store, new_run())
    assert store.finish("f1-1000", State.ESCALATED, "did not help", 9000)
    assert not store.finish("f1-1000", State.RESOLVED, "changed my mind", 9500)
    store.progress("f1-1000", 9600, state=State.ACTING)
    record = store.record("f1-1000")
    assert (record["state"], record["outcome"], record["finished_at_unix_ms"]) == ("escalated", "did not help", 9000)
    with pytest.raises(ValueError, match="does not end a run"):
        store.finish("f1-1000", State.ACTING, "", 1)


def test_history_counts_what_guards_ask_for(store):
    now = 2 * HOUR_MS
    accept(store, new_run())
    intend(store, "f1-1000", State.ACTING, action("0.0", at=now - HOUR_MS - 1))  # too old for the hour
    intend(store, "f1-1000", State.ACTING, action("0.1", at=now - 1000))
    intend(store, "f1-1000", State.ACTING, action("0.undo", kind="undo", to=0, at=now - 500))
    intend(store, "f1-1000", State.ACTING, action("0.2", at=now - 400))
    intend(store, "f1-1000", State.ACTING, action("0.3", at=now - 300))
    store.conclude("f1-1000", "0.2", "conflict", Note("n", "e", "d"), now - 300)
    store.finish("f1-1000", State.ESCALATED, "x", now - 100)
    history = store.history("cart", "another", now)
    assert history.last_undo == (now - 500, 1)
    assert history.last_action_unix_ms == now - 300
    assert history.actions_last_hour == 2, "neither undoing, nor what was left as somebody else had set it"
    assert history.last_escalation == ("f1-1000", now - 100)
    own = store.history("cart", "f1-1000", now)
    assert (own.last_action_unix_ms, own.actions_last_hour, own.last_escalation) == (None, 2, None)


def test_undoing_begins_a_cooldown_too(store):
    accept(store, new_run())
    intend(store, "f1-1000", State.ACTING, action("0.0", at=5000))
    intend(store, "f1-1000", State.ACTING, action("0.undo", kind="undo", to=0, at=6000))
    assert store.history("cart", "another", 7000).last_action_unix_ms == 6000


@pytest.mark.parametrize("status", ["failed", "unknown"])
def test_action_that_failed_may_have_had_its_effect_and_counts(store, status):
    accept(store, new_run())
    intend(store, "f1-1000", State.ACTING, action(kind="run", at=5000))
    store.conclude("f1-1000", "0.0", status, Note("n", "e", "d"), 5500)
    history, fleet = store.history("cart", "another", 6000), store.fleet("another", "scale-out", 6000, 600_000)
    assert (history.last_action_unix_ms, history.actions_last_hour) == (5000, 1)
    assert (fleet.actions_last_hour, fleet.policy_actions_last_hour, fleet.other_runs_acting) == (1, 1, 1)
    assert fleet.other_services_acted_on == {"cart"}


def test_history_is_told_as_far_back_as_the_guards_look(store):
    now = 10 * DAY_MS
    at = now - 3 * DAY_MS
    for number, state in enumerate((State.RESOLVED, State.ESCALATED)):
        run_id = f"f{number}-1000"
        accept(store, new_run(f"f{number}"))
        intend(store, run_id, State.ACTING, action(at=at))
        intend(store, run_id, State.ACTING, action("0.undo", kind="undo", to=0, at=at))
        store.finish(run_id, state, "x", at)
    nothing = TargetHistory(last_action_unix_ms=None, actions_last_hour=0, last_escalation=None)
    assert store.history("cart", "another", now) == nothing
    assert store.history("cart", "another", now, looking_back_ms=4 * DAY_MS) == TargetHistory(
        last_action_unix_ms=at,
        actions_last_hour=0,
        last_escalation=("f1-1000", at),
        repairs_unix_ms=(at,),
        last_undo=(at, 1),
    )


def test_alert_that_is_not_the_run_s_concern_waits_for_its_end(store, opened):
    accept(store, new_run())
    other = replace(new_run("f2"), alertname="QueueGrows", alert_json='{"labels": {"a": "b"}}')
    assert accept(store, other) == (Intake.JOINED, "f1-1000")
    accept(store, replace(new_run("f3"), policy="another"))
    accept(store, new_run("f4"))  # the same alert, of another replica: the run's own concern
    store.take([Firing(replace(other, fingerprint="f5", id="f5-1000"), waits=False)])
    assert store.waiting() == []
    store.finish("f1-1000", State.RESOLVED, "done", 9000)
    resolve(store, "f3", 1000, 9100)
    store.close()
    again = opened()
    (waiting,) = again.waiting()
    assert (waiting.fingerprint, waiting.alert_json, waiting.run_id) == ("f2", '{"labels": {"a": "b"}}', "f1-1000")
    begun = replace(other, waited_for="f1-1000")
    assert accept(again, begun) == (Intake.STARTED, "f2-1000")
    assert again.run("f2-1000").waited_for == "f1-1000"
    assert again.waiting() == []
    again.finish("f2-1000", State.REFUSED, "freeze", 9200)
    assert again.waiting() == [], "once"


def test_alert_that_nothing_answers_any_more_waits_no_more(store):
    accept(store, new_run())
    accept(store, replace(new_run("f2"), policy="another"))
    store.finish("f1-1000", State.RESOLVED, "done", 9000)
    (waiting,) = store.waiting()
    store.wait_no_more(waiting)
    assert store.waiting() == []


def test_repairs_are_runs_that_acted_and_resolved(store):
    now = 2 * DAY_MS
    for number, (acted, state, ended_ms) in enumerate(
        [
            (True, State.RESOLVED, now - DAY_MS - 1),
            (True, State.RESOLVED, now - 2000),
            (False, State.RESOLVED, now - 1500),
            (True, State.ESCALATED, now - 1000),
        ]
    ):
        accept(store, new_run(f"f{number}"))
        if acted:
            intend(store, f"f{number}-1000", State.ACTING, action(at=ended_ms - 1))
        store.finish(f"f{number}-1000", state, "x", ended_ms)
    assert store.history("cart", "another", now).repairs_unix_ms == (now - 2000,)


def test_fleet_history_counts_what_others_do(store):
    now = 2 * HOUR_MS
    for fingerprint, service in (("f1", "cart"), ("f2", "payment"), ("f3", "catalog")):
        accept(store, new_run(fingerprint, service=service))
    intend(store, "f1-1000", State.ACTING, action(at=now - 900_000))  # in the hour, but not in the radius's ten minutes
    intend(store, "f2-1000", State.ACTING, replace(action(at=now - 1000), target="payment"))
    intend(store, "f2-1000", State.ACTING, replace(action("0.undo", kind="undo", at=now - 1000), target="payment"))
    store.finish("f1-1000", State.RESOLVED, "x", now - 100)
    seen = store.fleet("f3-1000", "scale-out", now, 600_000)
    assert (seen.actions_last_hour, seen.policy_actions_last_hour, seen.other_runs_acting) == (2, 2, 1)
    assert seen.other_services_acted_on == {"payment"}
    assert seen.kill_switch is None
    assert store.fleet("f3-1000", "another policy", now, 600_000).policy_actions_last_hour == 0


def test_denied_action_leaves_nothing(store):
    accept(store, new_run())
    denied = intend(store, "f1-1000", State.ACTING, action(), admit=lambda fleet, known: "freeze: sunday")
    assert denied == Denied("freeze: sunday")
    record = store.record("f1-1000")
    assert (record["actions"], record["state"]) == ([], "planning")


def test_action_written_before_is_known_to_be(store):
    accept(store, new_run())
    seen = []
    for _ in range(2):
        intend(store, "f1-1000", State.ACTING, action(), admit=lambda fleet, known: seen.append(known))
    assert seen == [False, True]


def test_kill_switch_keeps_the_first_reason_and_survives(store, opened):
    first = KillSwitch(reason="migration", by="ada", at_unix_ms=1)
    assert store.stop_all(first) == first
    assert store.stop_all(KillSwitch(reason="another", by="bob", at_unix_ms=2)) == first
    again = opened()
    assert again.kill_switch() == first
    assert again.fleet("x", "y", 5, 1).kill_switch == first
    again.allow_all(by="ada", reason="done", at_unix_ms=9)
    assert store.kill_switch() is None


def test_accepted_alert_is_synced_to_disk(tmp_path):
    store = Store.in_file(tmp_path / "remediation.sqlite")
    with store.database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    accept(store, new_run())
    other = sqlite3.connect(tmp_path / "remediation.sqlite")
    assert other.execute("SELECT count(*) FROM remediation_runs").fetchone() == (1,)
    other.close()
    store.close()


def test_store_is_read_while_somebody_writes(store):
    with store.database.writing():
        assert store.records(state=None, service=None, limit=1) == []


def test_store_of_an_earlier_version_gets_the_columns_that_were_added_since(tmp_path):
    path = tmp_path / "store.sqlite"
    Store.in_file(path).close()
    with sqlite3.connect(path) as old:
        for name in ("before", "after"):
            old.execute(f"ALTER TABLE remediation_actions DROP COLUMN {name}")
        old.execute("DROP INDEX remediation_alerts_waiting")
        old.execute("ALTER TABLE remediation_alerts DROP COLUMN waiting_json")
        old.execute("ALTER TABLE remediation_runs DROP COLUMN waited_for")
    for _ in range(2):
        store = Store.in_file(path)
        store.close()
    store = Store.in_file(path)
    accept(store, new_run())
    rolled = replace(action(kind="rollback"), before="2", after="1")
    assert intend(store, "f1-1000", State.ACTING, rolled) == rolled
    (shown,) = store.record("f1-1000")["actions"]
    assert (shown["action"], shown["from"], shown["to"]) == ("rollback", "2", "1")
    store.close()
