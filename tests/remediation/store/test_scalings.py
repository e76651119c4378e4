"""What autoscalers write, on SQLite and PostgreSQL."""

import pytest

from remediation.errors import LeaseLostError
from remediation.store.history import HOUR_MS
from remediation.store.record import Action, Denied, Finding, Firing, Intake, NewRun, Note, State
from remediation.store.scalings import Scalings
from remediation.store.store import Store

NOW = 100 * HOUR_MS


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "sqlite":
        found = Store.in_file(tmp_path / "remediation.sqlite")
    else:
        url = request.getfixturevalue("postgres").database()
        found = Store.at_url(url.replace("://", "+psycopg://"))
    yield found
    found.close()


@pytest.fixture
def scalings(store):
    found = Scalings(store.database, "worker-1:a")
    assert found.take_duty(30)
    return found


def new_run(run_id="scaling-1", *, service="cart", at=NOW):
    return NewRun(
        id=run_id,
        service=service,
        alertname="Autoscaling",
        fingerprint="",
        starts_at_unix_ms=at,
        policy="shop",
        policy_json="{}",
        alert_json='{"labels": {}, "annotations": {}}',
        at_unix_ms=at,
        because="1 → 3: load",
    )


def begin(scalings, run_id="scaling-1", *, kind="autoscale_out", before=1, to=3, at=NOW, admit=lambda *_: None):
    action = Action(
        key="0", action=kind, target="cart", from_replicas=before, to_replicas=to, reason="load", at_unix_ms=at
    )
    findings = [Finding("utilisation:0", "utilisation", "busy", {"cart-1": 0.9})]
    return scalings.begin(
        new_run(run_id, at=at), action, findings, radius_ms=600_000, admit=admit, replica_radius_ms=600_000
    )


def end(scalings, run_id="scaling-1", status="done", at=NOW):
    scalings.conclude(run_id, status, Note("0:autoscale", "autoscale_out", "1 → 3"), at)


def alert(store, run_id="a-1", service="cart"):
    (outcome,) = store.take([Firing(new_run(run_id, service=service))])
    return outcome


def test_decision_is_a_record_of_one_action(store, scalings):
    assert begin(scalings) is None
    assert store.scaling_is_under_way("cart", NOW)
    assert store.record("scaling-1")["state"] == "acting"
    end(scalings)
    end(scalings, status="failed")  # the first counts
    record = store.record("scaling-1")
    assert (record["state"], record["outcome"]) == ("resolved", "1 → 3")
    assert record["actions"] == [
        {
            "action": "autoscale_out",
            "target": "cart",
            "from": 1,
            "to": 3,
            "at_unix_ms": NOW,
            "reason": "load",
            "status": "done",
        }
    ]
    assert record["evidence"][0]["value"] == {"cart-1": 0.9}
    assert not store.scaling_is_under_way("cart", NOW)


def test_workflows_do_not_take_it_up_and_it_counts_as_no_repair(store, scalings):
    begin(scalings)
    assert (store.unfinished(), store.active_run("cart")) == ([], None)
    end(scalings)
    history = store.history("cart", "a-1", NOW)
    assert (history.last_action_unix_ms, history.actions_last_hour, history.repairs_unix_ms) == (None, 0, ())
    fleet = store.fleet("a-1", "scale-out", NOW, 600_000)
    assert (fleet.actions_last_hour, fleet.other_runs_acting, fleet.other_services_acted_on) == (1, 0, frozenset())


def test_nothing_begins_while_an_alerts_run_is_at_work(store, scalings):
    assert alert(store).what is Intake.STARTED
    assert begin(scalings) == Denied("run a-1 is at work on cart")
    store.finish("a-1", State.RESOLVED, "done", NOW)
    assert begin(scalings) is None


def test_alert_takes_the_service_over_at_once(store, scalings):
    begin(scalings)
    outcome = alert(store)
    assert (outcome.what, outcome.run_id) == (Intake.STARTED, "a-1")
    assert store.active_run("cart") == "a-1"
    assert store.scaling_is_under_way("cart", NOW)  # the alert's plan waits for this
    assert [(one.run_id, one.overtaken) for one in scalings.unconcluded()] == [("scaling-1", True)]
    end(scalings)
    record = store.record("scaling-1")
    assert record["state"] == "resolved"
    assert "takes the service over" in record["outcome"]
    assert record["actions"][0]["status"] == "done"


def test_what_a_guard_refuses_writes_nothing(store, scalings):
    assert begin(scalings, admit=lambda fleet, history: "a limit") == Denied("a limit")
    assert store.record("scaling-1") is None
    scalings.refused(new_run("scaling-2"), "freeze: launch", [])
    record = store.record("scaling-2")
    assert (record["state"], record["outcome"], record["actions"]) == ("refused", "freeze: launch", [])
    assert alert(store).what is Intake.STARTED


def test_history_tells_what_was_taken_away_and_had_to_be_given_back(scalings):
    plan = [("in", 6, 5), ("in", 5, 4), ("out", 4, 6), ("out", 6, 7), ("in", 7, 6), ("out", 6, 7)]
    for number, (way, before, to) in enumerate(plan):
        at = NOW + number * 200_000
        begin(scalings, f"scaling-{number}", kind=f"autoscale_{way}", before=before, to=to, at=at)
        end(scalings, f"scaling-{number}", at=at)
    last = NOW + 5 * 200_000
    history = scalings.history("cart", last, 600_000)
    assert (history.given_back, history.actions_last_hour, history.last_change_unix_ms) == (2, 6, last)
    assert history.peak_in_window == 7  # of the one that was taken within ten minutes
    assert scalings.history("cart", last, HOUR_MS).peak_in_window == 7
    assert scalings.history("cart", NOW + 400_000, 600_000).peak_in_window == 7
    late = scalings.history("cart", last + 7 * HOUR_MS, 600_000)
    assert (late.given_back, late.actions_last_hour, late.peak_in_window) == (0, 0, 0)
    assert scalings.history("catalog", last, 600_000).last_change_unix_ms is None


def test_last_decision_of_each_service_is_kept(scalings):
    scalings.tell([{"service": "cart", "at_unix_ms": 1, "reason": "a"}, {"service": "catalog", "at_unix_ms": 1}])
    scalings.tell([{"service": "cart", "at_unix_ms": 2, "reason": "b"}])
    assert [one["at_unix_ms"] for one in scalings.told()] == [2, 1]
    assert scalings.told("cart") == [{"service": "cart", "at_unix_ms": 2, "reason": "b"}]


def test_one_worker_has_the_duty_until_it_is_silent_for_its_lease(store, scalings):
    other = Scalings(store.database, "worker-2:b")
    if not store.database.shared:
        assert other.take_duty(30)  # a file has one worker, whose lock is elsewhere
        return
    assert not other.take_duty(30)
    with pytest.raises(LeaseLostError, match="another worker than worker-2:b scales by now"):
        begin(other)
    assert scalings.take_duty(0)  # it ends at once
    assert other.take_duty(30)
    assert not scalings.take_duty(30)
    with pytest.raises(LeaseLostError):
        begin(scalings)
    assert begin(other) is None
    scalings.give_duty_back()  # which is another's by now
    assert not scalings.take_duty(30)
    other.give_duty_back()
    assert scalings.take_duty(30)
