"""Two workers on one PostgreSQL: they share the runs, and guards hold across both. Deaths: test_kill_campaign.py."""

import os
import signal
import threading

import httpx
import pytest

pytestmark = pytest.mark.chaos
AUTHORIZED = {"Authorization": "Bearer post-alerts"}


def test_whole_run_on_postgresql_comes_home_and_either_worker_tells_of_it(
    two_workers, orchestrator, prometheus, slow_until, alert
):
    one, other = two_workers
    slow_until("pg-catalog", wanted=2.4, cured_by=3)
    (run_id,) = one.post(alert("pg-catalog"))
    assert other.post(alert("pg-catalog")) == [run_id]
    one.wait_for_state(run_id, "resolved_pending")
    slow_until("pg-catalog", wanted=0.2, cured_by=1, desired=3)
    other.post(alert("pg-catalog", status="resolved"))
    record = other.wait_for_state(run_id, "resolved")
    assert orchestrator.changes("pg-catalog") == [3, 1]
    assert record == one.record(run_id)


def test_worker_that_was_frozen_past_its_lease_ends_when_it_wakes_and_does_nothing_twice(
    two_workers, orchestrator, slow_until, alert
):
    one, other = two_workers
    slow_until("pg-frozen", wanted=2.0, cured_by=99)
    (run_id,) = one.post(alert("pg-frozen", name="PatientLatency"))
    one.wait_for_state(run_id, "verifying")
    one.process.send_signal(signal.SIGSTOP)
    other.wait_for(lambda: "taking over" in (other.directory / "worker.log").read_text(), "taken over", within_s=20)
    one.process.send_signal(signal.SIGCONT)
    assert one.process.wait(15) == os.EX_SOFTWARE
    slow_until("pg-frozen", wanted=2.0, cured_by=2, desired=2)  # it helps now
    other.wait_for_state(run_id, "resolved_pending")
    other.post(alert("pg-frozen", name="PatientLatency", status="resolved"))
    other.wait_for_state(run_id, "resolved")
    assert orchestrator.changes("pg-frozen") == [2]


def test_limits_and_kill_switch_hold_across_both(two_workers, orchestrator, slow_until, alert):
    for running in two_workers:
        running.stop()
        policies = (running.directory / "policies.yaml").read_text()
        few = policies.replace("max_actions_per_hour: 1000", "max_actions_per_hour: 3")
        (running.directory / "policies.yaml").write_text(few)
        running.start()
    services = [f"pg-storm-{number}" for number in range(8)]
    for service in services:
        slow_until(service, wanted=2.0, cured_by=2)
    posts = [threading.Thread(target=two_workers[n % 2].post, args=(alert(s),)) for n, s in enumerate(services)]
    for post in posts:
        post.start()
    for post in posts:
        post.join()

    def states():
        answer = httpx.get(f"{two_workers[0].url}/api/v1/remediations", trust_env=False).json()["remediations"]
        return sorted(one["state"] for one in answer if one["service"] in services)

    two_workers[0].wait_for(
        lambda: states() == ["refused"] * 5 + ["resolved_pending"] * 3, "three acted, five were refused", within_s=30
    )
    assert sorted(len(orchestrator.changes(service)) for service in services) == [0] * 5 + [1] * 3
    # The switch that is turned at one is on for the other.
    turn = {"on": True, "reason": "migration", "by": "ada"}
    httpx.put(f"{two_workers[0].url}/api/v1/kill-switch", json=turn, headers=AUTHORIZED, trust_env=False)
    slow_until("pg-stopped", wanted=2.0, cured_by=2)
    (run_id,) = two_workers[1].post(alert("pg-stopped"))
    assert two_workers[1].wait_for_state(run_id, "refused")["outcome"].startswith("kill_switch: ada")
