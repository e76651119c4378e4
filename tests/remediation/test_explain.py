"""The dry run: it names policy, guards and plan, and changes nothing."""

import httpx

AUTHORIZED = {"Authorization": "Bearer post-alerts"}


def explain(worker, labels, **fields):
    body = {"labels": labels} | fields
    answer = httpx.post(f"{worker.url}/api/v1/explain", json=body, headers=AUTHORIZED, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_alert_is_explained_by_policy_guards_and_plan_and_nothing_is_changed(worker, orchestrator, slow_until, alert):
    slow_until("explained", wanted=2.4, cured_by=3)
    before = httpx.get(f"{worker.url}/api/v1/audit?limit=1", trust_env=False).json()["head"]
    told = explain(worker, alert("explained")["labels"])
    assert told["policy"] == "scale-out"
    assert told["would"] == "act"
    assert told["target"] == "explained"
    assert {one["guard"]: one["verdict"] for one in told["guards"]} == dict.fromkeys(
        [
            "escalation", "breaker", "cooldown", "rate_limit", "kill_switch", "freeze", "concurrency", "blast_radius",
            "telemetry", "bounds",
        ],
        "pass",
    )  # fmt: skip
    (step,) = told["plan"]
    assert step["detail"].startswith("scale explained 1 → 3: the load wants 2.40 replicas")
    assert step["verify"] == "the alert's expression is over, for 0.3 s, within 1.5 s"
    assert httpx.get(f"{worker.url}/api/v1/audit?limit=1", trust_env=False).json()["head"] == before
    assert orchestrator.changes("explained") == []


def test_every_guard_says_what_it_thinks_also_after_one_that_refuses(worker, prometheus, slow_until, alert):
    slow_until("held-off", wanted=9.0, cured_by=99, desired=6)
    prometheus.set("telemetry", "held-off", float("nan"))
    turn = {"on": True, "reason": "migration", "by": "ada"}
    url = f"{worker.url}/api/v1/kill-switch"
    httpx.put(url, json=turn, headers=AUTHORIZED, trust_env=False).raise_for_status()
    try:
        told = explain(worker, alert("held-off")["labels"])
    finally:
        httpx.put(url, json=turn | {"on": False}, headers=AUTHORIZED, trust_env=False).raise_for_status()
    refusals = {one["guard"]: one["reason"] for one in told["guards"] if one["verdict"] == "refuse"}
    assert refusals.keys() == {"kill_switch", "telemetry", "maximum"}
    assert told["would"] == "refuse"
    assert told["reason"].startswith("kill_switch: ada has stopped")


def test_alert_that_no_policy_answers_is_told_what_it_lacks(worker):
    told = explain(worker, {"alertname": "TargetDown", "service": "catalog"})
    assert (told["policy"], told["would"]) == (None, "nothing")
    assert {"policy": "careful", "matcher": 'alertname="CarefulLatency"', "got": "TargetDown"} in told["nearest"]


def test_alert_of_a_target_at_work_would_join(worker, slow_until, alert):
    slow_until("at-work", wanted=2.0, cured_by=2)
    (run_id,) = worker.post(alert("at-work"))
    worker.wait_for_state(run_id, "resolved_pending")
    told = explain(worker, alert("at-work", name="CarefulLatency")["labels"])
    assert (told["would"], told["reason"]) == ("join", f"run {run_id} is at work on at-work")


def test_explaining_wants_a_token_and_labels(worker):
    url = f"{worker.url}/api/v1/explain"
    assert httpx.post(url, json={"labels": {}}, trust_env=False).status_code == 401
    wrong = httpx.post(url, json={"labels": []}, headers=AUTHORIZED, trust_env=False)
    assert wrong.status_code == 400
    assert wrong.json()["error"].startswith("labels")
