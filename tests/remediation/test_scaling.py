"""The autoscalers of a real worker: without an alert, written down, guarded, and never against an alert's run."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

pytestmark = pytest.mark.chaos
AUTHORIZED = {"Authorization": "Bearer post-alerts"}
POLICIES = """
limits: {max_actions_per_hour: 1000, max_concurrent: 100, blast_radius: {services: 1}}
policies:
  - name: scale-out
    match: ['alertname="HighRequestLatency"']
    steps:
      - name: add replicas
        scale: {replicas: 'wanted{job="{{ target }}"}', maximum_step: 4, raises: 0}
        verify: {within: 5s, hold: 100ms, every: 50ms}
    guards: {cooldown: 0s, patience: 10s, telemetry: 'telemetry{job="{{ target }}"}'}
    scale_in: {replicas: 'wanted{job="{{ target }}"}', stabilisation: 100ms, every: 50ms, to_minimum: true}
  - name: by-steps
    match: ['alertname="Stepped"']
    steps:
      - name: add replicas
        scale:
          value: 'seconds{job="{{ target }}"}'
          threshold: 0.5
          steps: [{to: 0.5, add: 1}, {from: 0.5, add: 3}]
          maximum_step: 9
        verify: {alert_over: false, query: 'fine{job="{{ target }}"}', within: 5s, hold: 100ms, every: 50ms}
autoscalers:
  - name: shop
    services: [tracked, steady, alerted, raced, switched, silent]
    every: 200ms
    tracking: [{utilisation: 'busy{job="{{ target }}"}', per: instance, target: 0.5, warm_up: 200ms}]
    scale_in: {stabilisation: 1s, cooldown: 200ms, maximum_step: 2}
    guards: {telemetry: 'telemetry{job="{{ target }}"}', blast_radius: {replicas: 1}}
  - name: planned
    services: [planned]
    every: 200ms
    tracking: [{utilisation: 'busy{job="{{ target }}"}', target: 0.5}]
    schedule: [{name: always, cron: '* * * * *', for: 2m, minimum: 3}]
  - name: foreseen
    services: [foreseen]
    every: 200ms
    tracking: [{utilisation: 'busy{job="{{ target }}"}', target: 0.5}]
    forecast: {load: 'load{job="{{ target }}"}', per_replica: 'each{job="{{ target }}"}', history: 7d, apply: true}
  - name: shown
    services: [shown]
    every: 200ms
    tracking: [{utilisation: 'busy{job="{{ target }}"}', target: 0.5}]
    forecast: {load: 'load{job="{{ target }}"}', per_replica: 10, history: 7d}
"""
# Of services that no other worker scales at the same time.
ALONE = """
autoscalers:
  - name: alone
    services: [killed-before, killed-after, inherited]
    every: 200ms
    tracking: [{utilisation: 'busy{job="{{ target }}"}', per: instance, target: 0.5, warm_up: 0s}]
"""


@pytest.fixture(scope="module")
def scaling_worker(tmp_path_factory, orchestrator, prometheus, worker_process):
    folder = tmp_path_factory.mktemp("scaling")
    (folder / "policies.yaml").write_text(POLICIES)
    running = worker_process(folder, orchestrator, prometheus)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def serve(orchestrator, prometheus):
    """Adds a service whose replicas share a load; `load` is in replicas that are wholly busy."""

    def add(service, *, load=None, desired=1, maximum=6):
        demand = {"load": load}
        if load is not None:
            prometheus.set(
                "busy",
                service,
                lambda: {
                    f"{service}-{n}": demand["load"] / orchestrator.desired(service)
                    for n in range(orchestrator.desired(service))
                },
            )
        prometheus.set("telemetry", service, 1.0)
        orchestrator.add(service, desired=desired, maximum=maximum)
        return demand

    return add


def records(worker, service):
    answer = httpx.get(f"{worker.url}/api/v1/remediations", params={"service": service}, trust_env=False)
    return answer.json()["remediations"]


def status(worker, service):
    answer = httpx.get(f"{worker.url}/api/v1/autoscalers", params={"service": service}, trust_env=False).json()
    return answer["autoscalers"][0] if answer["autoscalers"] else {"reason": "", "held": None, "wanted": None}


def concluded(worker, service, count):
    found = records(worker, service)
    return len(found) == count and all(one["finished_at_unix_ms"] is not None for one in found)


def test_utilisation_is_kept_at_its_target_and_each_change_is_a_record_with_its_reason(
    scaling_worker, orchestrator, serve
):
    demand = serve("tracked", load=1.2)
    scaling_worker.wait_for(lambda: orchestrator.desired("tracked") == 3, "scaled out")
    scaling_worker.wait_for(lambda: concluded(scaling_worker, "tracked", 1), "concluded")
    (record,) = records(scaling_worker, "tracked")
    assert (record["state"], record["alertname"], record["policy"]) == ("resolved", "Autoscaling", "shop")
    (action,) = record["actions"]
    assert (action["action"], action["from"], action["to"], action["status"]) == ("autoscale_out", 1, 3, "done")
    assert action["reason"] == "utilisation 1.2, target 0.5, over 1 replica: 3 replicas"
    assert record["evidence"][0]["query"] == 'busy{job="tracked"}'
    assert record["evidence"][0]["value"] == {"tracked-0": 1.2}
    assert [one["event"] for one in record["timeline"]] == ["decided", "autoscale_out"]
    page = httpx.get(f"{scaling_worker.url}/api/v1/audit", params={"run": record["id"]}, trust_env=False).json()
    assert [one["kind"] for one in page["entries"]] == ["decided", "intended", "autoscale_out"]
    demand["load"] = 0.1
    scaling_worker.wait_for(lambda: orchestrator.desired("tracked") == 1, "scaled in")
    assert orchestrator.changes("tracked") == [3, 1]
    scaling_worker.wait_for(lambda: "1 replica" in status(scaling_worker, "tracked")["reason"], "told")


def test_load_that_fits_changes_nothing(scaling_worker, orchestrator, serve):
    serve("steady", load=1.03, desired=2)
    scaling_worker.wait_for(lambda: status(scaling_worker, "steady")["wanted"] == 2, "decided")
    assert "within 10%" in status(scaling_worker, "steady")["reason"]
    assert orchestrator.changes("steady") == []
    assert records(scaling_worker, "steady") == []


def test_alerts_run_is_left_alone_and_then_hands_the_service_over(
    scaling_worker, orchestrator, prometheus, serve, slow_until, alert
):
    slow_until("alerted", wanted=2.0, cured_by=2)
    (run_id,) = scaling_worker.post(alert("alerted"))
    scaling_worker.wait_for_state(run_id, "resolved_pending")
    demand = serve("alerted", load=3.0, desired=2)  # wants all six
    scaling_worker.wait_for(lambda: status(scaling_worker, "alerted")["held"] is not None, "held")
    assert status(scaling_worker, "alerted")["held"] == f"run {run_id} is at work on alerted"
    assert orchestrator.desired("alerted") == 2
    demand["load"] = 0.9
    scaling_worker.post(alert("alerted", status="resolved"))
    record = scaling_worker.wait_for_state(run_id, "resolved")
    assert "its autoscaler takes it from here" in record["outcome"]
    assert [one["action"] for one in record["actions"]] == ["scale_out"]
    demand["load"] = 0.1
    scaling_worker.wait_for(lambda: orchestrator.desired("alerted") == 1, "the autoscaler has brought it home")


def test_alert_that_comes_while_it_scales_begins_a_run_that_waits_for_the_number(
    scaling_worker, orchestrator, prometheus, serve, slow_until, alert
):
    slow_until("raced", wanted=6.0, cured_by=6)
    reached, go_on = threading.Event(), threading.Event()

    def hold(service):
        if service == "raced" and not reached.is_set():
            reached.set()
            assert go_on.wait(20)

    orchestrator.before_put = hold
    try:
        demand = serve("raced", load=1.2)
        assert reached.wait(10)
        (run_id,) = scaling_worker.post(alert("raced"))
        demand["load"] = 2.9
        assert not run_id.startswith("scaling-")
        time.sleep(0.3)  # long enough for a run that does not wait to have planned
        assert [one["event"] for one in scaling_worker.record(run_id)["timeline"]] == ["accepted"]
    finally:
        go_on.set()
        orchestrator.before_put = lambda service: None
    record = scaling_worker.wait_for_state(run_id, "resolved_pending")
    assert [(one["action"], one["from"], one["to"], one["status"]) for one in record["actions"]] == [
        ("scale_out", 3, 6, "done")
    ]
    assert orchestrator.changes("raced") == [3, 6]
    (scaling,) = [one for one in records(scaling_worker, "raced") if one["id"] != run_id]
    assert "which takes the service over" in scaling["outcome"]
    assert scaling["actions"][0]["status"] == "done"
    scaling_worker.post(alert("raced", status="resolved"))


def test_kill_switch_and_missing_telemetry_refuse_once_and_the_refusal_is_a_record(
    scaling_worker, orchestrator, prometheus, serve
):
    url = f"{scaling_worker.url}/api/v1/kill-switch"
    turn = {"on": True, "reason": "migration", "by": "ada"}
    httpx.put(url, json=turn, headers=AUTHORIZED, trust_env=False).raise_for_status()
    try:
        serve("switched", load=1.2)
        scaling_worker.wait_for(lambda: records(scaling_worker, "switched") != [], "refused")
        (record,) = records(scaling_worker, "switched")
        assert (record["state"], record["actions"]) == ("refused", [])
        assert record["outcome"].startswith("kill_switch: ada")
        serve("silent", load=1.2)
        looks = []
        prometheus.set("telemetry", "silent", lambda: looks.append(1) or float("nan"))
        scaling_worker.wait_for(lambda: len(looks) >= 5, "five turns")
        assert len(records(scaling_worker, "silent")) == 1
        assert len(records(scaling_worker, "switched")) == 1
    finally:
        httpx.put(url, json=turn | {"on": False}, headers=AUTHORIZED, trust_env=False).raise_for_status()
    scaling_worker.wait_for(lambda: orchestrator.desired("switched") == 3, "let in")
    (record,) = records(scaling_worker, "silent")
    assert record["outcome"] == "telemetry: telemetry of silent is missing or stale"
    assert orchestrator.changes("silent") == []


def test_scheduled_minimum_needs_no_utilisation(scaling_worker, orchestrator, serve):
    serve("planned")
    scaling_worker.wait_for(lambda: orchestrator.desired("planned") == 3, "the schedule's minimum")
    scaling_worker.wait_for(lambda: concluded(scaling_worker, "planned", 1), "concluded")
    assert records(scaling_worker, "planned")[0]["actions"][0]["reason"] == "schedule 'always' wants 3 at least"


def test_forecast_is_a_floor_only_where_it_is_applied(scaling_worker, orchestrator, prometheus, serve):
    for service in ("foreseen", "shown"):
        prometheus.histories["load", service] = lambda at: 34.0
        prometheus.set("load", service, 34.0)
    prometheus.set("each", "foreseen", 10.0)
    serve("foreseen")
    serve("shown")
    scaling_worker.wait_for(lambda: orchestrator.desired("foreseen") == 4, "the forecast's floor", within_s=30)
    answer = httpx.get(f"{scaling_worker.url}/api/v1/forecast?service=shown", trust_env=False).json()
    assert (answer["floor"], answer["applied"], len(answer["points"])) == (4, False, 288)
    assert answer["points"][0]["expected"] == 34
    assert (answer["accuracy"]["error"], answer["accuracy"]["covered"]) == (0, 1)
    assert orchestrator.changes("shown") == []
    text = httpx.get(f"{scaling_worker.url}/metrics", trust_env=False).text
    assert 'remediation_forecast_load{kind="high",service="shown"} 34.0' in text
    assert httpx.get(f"{scaling_worker.url}/api/v1/forecast?service=tracked", trust_env=False).status_code == 404
    assert httpx.get(f"{scaling_worker.url}/api/v1/forecast?service=none", trust_env=False).status_code == 404


def test_explaining_an_alert_tells_what_scaling_does_without_it(scaling_worker, serve):
    serve("steady", load=1.03, desired=2)
    body = {"labels": {"alertname": "HighRequestLatency", "service": "steady"}}
    url = f"{scaling_worker.url}/api/v1/explain"
    told = httpx.post(url, json=body, headers=AUTHORIZED, trust_env=False).json()["autoscaling"]
    assert told["autoscaler"] == "shop"
    assert [one["guard"] for one in told["guards"]["out"]] == ["kill_switch", "freeze", "rate_limit", "rate_limit"]
    assert [one["guard"] for one in told["guards"]["in"]][-2:] == ["escalation", "blast_radius"]
    assert {one["verdict"] for one in told["guards"]["in"]} == {"pass"}
    assert told["last"] is None or told["last"]["service"] == "steady"


def test_alert_is_answered_by_the_size_of_its_breach(scaling_worker, orchestrator, prometheus, alert):
    orchestrator.add("stepped")
    prometheus.set("seconds", "stepped", 1.2)
    prometheus.set("fine", "stepped", lambda: 1.0 if orchestrator.desired("stepped") == 4 else None)
    (run_id,) = scaling_worker.post(alert("stepped", name="Stepped"))
    record = scaling_worker.wait_for_state(run_id, "resolved_pending")
    assert [(one["action"], one["from"], one["to"]) for one in record["actions"]] == [("scale_out", 1, 4)]
    assert record["evidence"][0]["query"] == 'seconds{job="stepped"}'
    scaling_worker.post(alert("stepped", name="Stepped", status="resolved"))


class LostError(ConnectionError):
    """The request is dropped: the orchestrator never acts on it."""


def test_worker_killed_around_the_change_makes_it_once(mortal_worker_with, orchestrator, serve):
    worker = mortal_worker_with(ALONE)
    for service, lost in (("killed-before", True), ("killed-after", False)):
        kill_in_the_middle(worker, orchestrator, serve, service, lost=lost)
        worker.start()
        worker.wait_for(lambda: concluded(worker, service, 1), "one record, concluded")  # noqa: B023  (waited for here)
        (record,) = records(worker, service)
        assert [(one["from"], one["to"], one["status"]) for one in record["actions"]] == [(1, 3, "done")]
        assert orchestrator.changes(service) == [3]


def kill_in_the_middle(worker, orchestrator, serve, service, *, lost):
    reached, go_on = threading.Event(), threading.Event()

    def hold(name):
        if name == service:
            reached.set()
            assert go_on.wait(30)
            if lost:
                raise LostError

    orchestrator.before_put = hold
    try:
        serve(service, load=1.2)
        assert reached.wait(10)
        worker.kill()
    finally:
        orchestrator.before_put = lambda service: None
        go_on.set()
    if not lost:
        worker.wait_for(lambda: orchestrator.desired(service) == 3, "the request under way took effect")


def test_of_two_workers_one_scales_and_the_other_takes_it_over(
    tmp_path, postgres, orchestrator, prometheus, worker_process, serve
):
    url, pair = postgres.database(), []
    for name in ("worker-1", "worker-2"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "policies.yaml").write_text(ALONE)
        pair.append(worker_process(folder, orchestrator, prometheus, name=name, database_url=url))
    try:
        for running in pair:
            running.launch()
        for running in pair:
            running.wait_until_ready()
        demand = serve("inherited", load=1.2)
        pair[0].wait_for(lambda: orchestrator.desired("inherited") == 3, "scaled out", within_s=20)
        pair[0].wait_for(lambda: concluded(pair[0], "inherited", 1), "concluded")
        on_duty, left = sorted(pair, key=lambda one: "autoscale_out" not in (one.directory / "worker.log").read_text())
        assert "autoscale_out" not in (left.directory / "worker.log").read_text()
        on_duty.kill()
        demand["load"] = 2.4
        left.wait_for(lambda: orchestrator.desired("inherited") == 5, "the other scales", within_s=20)
        left.wait_for(lambda: concluded(left, "inherited", 2), "concluded")
        assert orchestrator.changes("inherited") == [3, 5]
    finally:
        for running in pair:
            if running.process is not None and running.process.poll() is None:
                running.kill()
