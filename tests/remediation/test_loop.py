"""A whole run, through a real worker process with durable workflows on SQLite."""

from __future__ import annotations

import time

import httpx
import pytest

TOKEN = "post-alerts"


def test_run_scales_out_verifies_waits_and_comes_home(worker, orchestrator, prometheus, slow_until, alert):
    slow_until("catalog", wanted=2.4, cured_by=3)
    posted_s = time.monotonic()
    (run_id,) = worker.post(alert("catalog"))
    worker.wait_for_state(run_id, "resolved_pending")
    assert orchestrator.put_at["catalog"] - posted_s < 2.0  # the aim is 1 s; a loaded machine may take longer
    assert orchestrator.desired("catalog") == 3
    slow_until("catalog", wanted=0.2, cured_by=1, desired=3)  # the load falls
    worker.post(alert("catalog", status="resolved"))
    record = worker.wait_for_state(run_id, "resolved")
    assert orchestrator.changes("catalog") == [3, 1]
    assert [(one["action"], one["from"], one["to"], one["status"]) for one in record["actions"]] == [
        ("scale_out", 1, 3, "done"),
        ("scale_in", 3, 1, "done"),
    ]
    events = [one["event"] for one in record["timeline"]]
    order = ["accepted", "planned", "scale_out", "verified", "alert_resolved", "decided_scale_in", "scale_in"]
    assert [event for event in events if event in order] == order
    evidence = {one["name"]: one["value"] for one in record["evidence"]}
    assert evidence["latency"] == 1.9
    assert evidence["slow traces"] == ["4bf92f3577b34da6a3ce929d0e0e4736"]
    assert record["finished_at_unix_ms"] > record["started_at_unix_ms"]


def test_action_that_does_not_help_is_undone_and_escalated_and_not_tried_again(worker, orchestrator, slow_until, alert):
    slow_until("checkout", wanted=0.5, cured_by=99)  # no number of replicas cures it
    (run_id,) = worker.post(alert("checkout"))
    record = worker.wait_for_state(run_id, "escalated")
    assert orchestrator.changes("checkout") == [2, 1]
    assert [one["action"] for one in record["actions"]] == ["scale_out", "undo"]
    assert "restored 1 replica" in record["outcome"]
    assert any(one["value"] == 1.9 for one in record["evidence"])
    # Re-sent: nothing. Resolved and fired anew: escalated too, without an action, with the reason.
    assert worker.post(alert("checkout")) == [run_id]
    worker.post(alert("checkout", status="resolved"))
    (second,) = worker.post(alert("checkout", starts="2026-01-02T03:09:05Z"))
    assert second != run_id
    record = worker.wait_for_state(second, "escalated")
    assert f"escalation: checkout was escalated by {run_id}" in record["outcome"]
    assert record["actions"] == []
    assert record["evidence"]
    # A third names the run that acted, not the one that was held off.
    worker.post(alert("checkout", status="resolved", starts="2026-01-02T03:09:05Z"))
    (third,) = worker.post(alert("checkout", starts="2026-01-02T03:12:05Z"))
    assert f"escalated by {run_id}" in worker.wait_for_state(third, "escalated")["outcome"]
    assert orchestrator.changes("checkout") == [2, 1]


def test_target_follows_the_load_while_it_is_verified(worker, orchestrator, prometheus, slow_until, alert):
    slow_until("cart", wanted=1.5, cured_by=4)
    prometheus.set("wanted", "cart", lambda: 1.5 if orchestrator.desired("cart") == 1 else 3.6)
    (run_id,) = worker.post(alert("cart"))
    record = worker.wait_for_state(run_id, "resolved_pending")
    assert orchestrator.changes("cart") == [2, 4]
    assert [(one["from"], one["to"]) for one in record["actions"]] == [(1, 2), (2, 4)]


def test_demand_that_rises_again_is_answered_within_the_same_run(worker, orchestrator, slow_until, alert):
    slow_until("search", wanted=2.0, cured_by=2)
    (run_id,) = worker.post(alert("search"))
    worker.wait_for_state(run_id, "resolved_pending")
    slow_until("search", wanted=4.0, cured_by=4, desired=2)
    worker.wait_for(lambda: orchestrator.changes("search") == [2, 4], "scaled out again")
    record = worker.wait_for_state(run_id, "resolved_pending")
    assert "decided_scale_out" in [one["event"] for one in record["timeline"]]


def test_scale_in_that_brings_the_alert_back_goes_back(worker, orchestrator, prometheus, slow_until, alert):
    slow_until("video", wanted=3.0, cured_by=3)
    (run_id,) = worker.post(alert("video"))
    worker.wait_for_state(run_id, "resolved_pending")
    prometheus.set("wanted", "video", 1.0)  # telemetry says one is enough, and is wrong
    worker.post(alert("video", status="resolved"))
    record = worker.wait_for_state(run_id, "escalated", within_s=30)
    assert orchestrator.changes("video") == [3, 1, 3, 1, 3, 1, 3]
    assert "kept at 3 replicas" in record["outcome"]


def test_notification_sent_again_does_nothing(worker, orchestrator, slow_until, alert):
    slow_until("mail", wanted=2.0, cured_by=2)
    assert len({worker.post(alert("mail"))[0] for _ in range(5)}) == 1
    (run_id,) = worker.post(alert("mail"), alert("mail"))
    record = worker.wait_for_state(run_id, "resolved_pending")
    worker.post(alert("mail"))
    assert orchestrator.changes("mail") == [2]
    assert [one["event"] for one in record["timeline"]].count("accepted") == 1


def test_other_alert_of_the_same_target_joins_the_run(worker, orchestrator, slow_until, alert):
    slow_until("ads", wanted=2.0, cured_by=2)
    (run_id,) = worker.post(alert("ads"))
    assert worker.post(alert("ads", name="CarefulLatency")) == [run_id]
    worker.post(alert("ads", name="NobodyAnswersThis"))
    record = worker.wait_for_state(run_id, "resolved_pending")
    events = [one["event"] for one in record["timeline"]]
    assert "joined" in events
    assert "other_alert" in events
    assert orchestrator.changes("ads") == [2]


def comes_home(worker, run_id, alert, service, slow_until):
    slow_until(service, wanted=0.5, cured_by=1, desired=2)
    worker.post(alert(service, status="resolved"))
    return worker.wait_for_state(run_id, "resolved")


def own_run(worker, service, alertname):
    answer = httpx.get(f"{worker.url}/api/v1/remediations", params={"service": service}, trust_env=False)
    return next((one for one in answer.json()["remediations"] if one["alertname"] == alertname), None)


def test_alert_that_another_policy_answers_waits_for_the_end_of_the_run_and_for_its_cooldown(
    worker, orchestrator, prometheus, slow_until, alert
):
    slow_until("orders", wanted=2.0, cured_by=2)
    prometheus.set("queue", "orders", lambda: 0 if len(orchestrator.changes("orders")) > 2 else 50)
    (run_id,) = worker.post(alert("orders"))
    assert worker.post(alert("orders", name="QueueGrows")) == [run_id]
    worker.wait_for_state(run_id, "resolved_pending")
    comes_home(worker, run_id, alert, "orders", slow_until)
    worker.wait_for(lambda: own_run(worker, "orders", "QueueGrows") is not None, "it is not sent again, but taken up")
    own = worker.wait_for_state(own_run(worker, "orders", "QueueGrows")["id"], "resolved_pending")
    assert own["timeline"][0]["detail"].endswith(f"when {run_id} was over")
    first = worker.record(run_id)["actions"][0]
    assert own["actions"][0]["at_unix_ms"] - first["at_unix_ms"] >= 2000, "the cooldown"
    assert orchestrator.changes("orders") == [2, 1, 2]
    worker.post(alert("orders", name="QueueGrows", status="resolved"))
    worker.wait_for_state(own["id"], "resolved")


def test_alert_that_waited_and_was_helped_by_the_run_it_waited_for_ends_without_an_action(
    worker, orchestrator, prometheus, slow_until, alert
):
    slow_until("returns", wanted=2.0, cured_by=2)
    prometheus.set("queue", "returns", lambda: 50 if not orchestrator.changes("returns") else 0)
    (run_id,) = worker.post(alert("returns"))
    worker.post(alert("returns", name="QueueGrows"))
    worker.wait_for_state(run_id, "resolved_pending")
    comes_home(worker, run_id, alert, "returns", slow_until)
    worker.wait_for(lambda: own_run(worker, "returns", "QueueGrows") is not None, "taken up")
    own = worker.wait_for_state(own_run(worker, "returns", "QueueGrows")["id"], "resolved")
    assert own["outcome"] == f"what it asks for has held for 0.2 s: {run_id} has helped it too"
    assert own["actions"] == []
    assert orchestrator.changes("returns") == [2, 1]


def test_person_who_joins_a_run_is_told_so_and_begins_none_later(worker, orchestrator, slow_until, alert):
    slow_until("sales", wanted=2.0, cured_by=2)
    (run_id,) = worker.post(alert("sales"))
    body = {"service": "sales", "policy": "careful", "reason": "sale", "by": "ada"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.post(f"{worker.url}/api/v1/remediations", json=body, headers=headers, trust_env=False).json()
    assert answer == {"id": run_id, "result": "joined"}
    worker.wait_for_state(run_id, "resolved_pending")
    comes_home(worker, run_id, alert, "sales", slow_until)
    assert own_run(worker, "sales", "CarefulLatency") is None


def test_alert_that_no_policy_matches_is_counted_and_begins_nothing(worker, alert):
    def unmatched():
        text = httpx.get(f"{worker.url}/metrics", trust_env=False).text
        return next((line for line in text.splitlines() if 'alerts_total{result="unmatched"}' in line), "0")

    before = unmatched()
    assert worker.post(alert("catalog", name="TargetDown")) == []
    assert unmatched() != before


def test_alert_that_is_over_before_anything_was_done_ends_resolved(worker, orchestrator, prometheus, slow_until, alert):
    slow_until("brief", wanted=2.0, cured_by=2)
    ids = worker.post(
        alert("brief", starts="2026-01-02T03:04:05Z"), alert("brief", status="resolved", starts="2026-01-02T03:04:05Z")
    )
    record = worker.wait_for_state(ids[0], "resolved", "resolved_pending")
    # Both are right: the workflow begins at once, and may have acted before the second alert of the payload was read.
    assert (record["state"] == "resolved") == (orchestrator.changes("brief") == [])


def test_missing_telemetry_refuses_after_patience(worker, orchestrator, prometheus, slow_until, alert):
    slow_until("blind", wanted=2.0, cured_by=2)
    prometheus.set("telemetry", "blind", float("nan"))
    (run_id,) = worker.post(alert("blind"))
    slow_until("late", wanted=2.0, cured_by=2)
    prometheus.set("wanted", "late", lambda: None)
    (late_id,) = worker.post(alert("late"))
    worker.wait_for(lambda: len(worker.record(late_id)["timeline"]) == 1, "accepted")
    prometheus.set("wanted", "late", 2.0)  # telemetry is back before patience ends
    worker.wait_for_state(late_id, "resolved_pending")
    record = worker.wait_for_state(run_id, "refused", within_s=10)
    assert record["outcome"] == "telemetry: telemetry of blind is missing or stale"
    assert orchestrator.changes("blind") == []


def test_service_at_its_maximum_is_refused_and_unknown_service_fails(worker, orchestrator, slow_until, alert):
    slow_until("full", wanted=9.0, cured_by=9, desired=6)
    (run_id,) = worker.post(alert("full"))
    assert "maximum 6" in worker.wait_for_state(run_id, "refused")["outcome"]
    (run_id,) = worker.post(alert("nowhere"))
    assert "404" in worker.wait_for_state(run_id, "failed")["outcome"]


def test_replicas_that_somebody_else_changed_are_left_alone(worker, orchestrator, slow_until, alert):
    slow_until("shared", wanted=0.5, cured_by=99)
    (run_id,) = worker.post(alert("shared"))
    worker.wait_for(lambda: orchestrator.changes("shared") == [2], "scaled out")
    orchestrator.services["shared"]["desired"] = 5  # by hand
    record = worker.wait_for_state(run_id, "escalated")
    assert "somebody else set shared to 5" in record["outcome"]
    assert orchestrator.desired("shared") == 5


def test_undoing_does_not_take_away_what_the_load_itself_wants(worker, orchestrator, prometheus, slow_until, alert):
    slow_until("busy", wanted=3.0, cured_by=99)
    (run_id,) = worker.post(alert("busy"))
    worker.wait_for(lambda: orchestrator.changes("busy") == [3], "scaled out")
    prometheus.set("wanted", "busy", 1.7)
    record = worker.wait_for_state(run_id, "escalated")
    assert orchestrator.changes("busy") == [3, 2]
    assert "restored 2 replicas, the load wants them" in record["outcome"]


def test_kill_switch_stops_every_action_until_it_is_off(worker, orchestrator, slow_until, alert):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{worker.url}/api/v1/kill-switch"
    slow_until("wishlist", wanted=2.5, cured_by=3)
    turned = httpx.put(url, json={"on": True, "reason": "migration", "by": "ada"}, headers=headers)
    try:
        assert turned.json()["on"] is True
        (run_id,) = worker.post(alert("wishlist"))
        record = worker.wait_for_state(run_id, "refused")
        assert "kill_switch: ada has stopped every automatic action" in record["outcome"]
        assert "migration" in record["outcome"]
        assert orchestrator.changes("wishlist") == []
        assert httpx.get(url).json()["reason"] == "migration"
    finally:
        httpx.put(url, json={"on": False, "reason": "done", "by": "ada"}, headers=headers).raise_for_status()
    assert httpx.get(url).json() == {"on": False}
    worker.post(alert("wishlist", status="resolved"))
    (again,) = worker.post(alert("wishlist", starts="2026-01-02T03:09:05Z"))
    worker.wait_for_state(again, "resolved_pending")
    assert orchestrator.changes("wishlist") == [3]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, {"on": True, "reason": "x", "by": "y"}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, {"on": "yes", "reason": "x", "by": "y"}, 422),
        ({"Authorization": f"Bearer {TOKEN}"}, {"on": True, "reason": "", "by": "y"}, 422),
    ],
)
def test_kill_switch_wants_a_token_and_a_reason(worker, headers, body, status):
    answer = httpx.put(f"{worker.url}/api/v1/kill-switch", json=body, headers=headers)
    assert answer.status_code in {status, 400}
    assert httpx.get(f"{worker.url}/api/v1/kill-switch").json() == {"on": False}
