"""A whole run, through a real worker process with durable workflows on SQLite."""

from __future__ import annotations

import time


def test_run_scales_out_verifies_waits_and_comes_home(worker, orchestrator, prometheus, slow_until, alert):
    slow_until("catalog", wanted=2.4, cured_by=3)
    posted_s = time.monotonic()
    (run_id,) = worker.post(alert("catalog"))
    worker.wait_for_state(run_id, "resolved_pending")
    assert orchestrator.put_at["catalog"] - posted_s < 1.0
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
    assert "restored 1 replicas" in record["outcome"]
    assert any(one["value"] == 1.9 for one in record["evidence"])
    # Re-sent: nothing. Resolved and fired anew: refused, with the reason.
    assert worker.post(alert("checkout")) == [run_id]
    worker.post(alert("checkout", status="resolved"))
    (second,) = worker.post(alert("checkout", starts="2026-01-02T03:09:05Z"))
    assert second != run_id
    record = worker.wait_for_state(second, "refused")
    assert f"escalation: checkout was escalated by {run_id}" in record["outcome"]
    assert orchestrator.changes("checkout") == [2, 1]
