"""Kill the collector or the worker while an alert is being answered: the alert is still answered, and once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from embedded_stack import Stack, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.timeout(240)]

SURGE_PER_S = 60  # three times what one replica of catalog serves: 2 workers ÷ 0.1 s
ENDED = {"resolved", "escalated", "refused", "failed"}


def set_browsing(stack: Stack, per_s: float, ttl_s: float) -> None:
    rate = {"browse": per_s, "ttl_s": ttl_s}
    stack.http.put(stack.url("load", "/rate"), json=rate, headers=stack.bearer("load")).raise_for_status()


def runs_of(stack: Stack, known: set[str], service: str = "catalog") -> list[dict[str, Any]]:
    return [run for run in stack.remediations() if run["service"] == service and run["id"] not in known]


@pytest.fixture
def surge(stack: Stack) -> Iterator[set[str]]:
    """A surge on catalog; yields the ids of the runs that were there before."""
    eventually(stack.healthy, within_s=30, what="the stack is healthy before the surge")
    known = {run["id"] for run in stack.remediations()}
    normal = stack.http.get(stack.url("load", "/rate")).raise_for_status().json()
    set_browsing(stack, SURGE_PER_S, ttl_s=120)
    try:
        yield known
    finally:
        set_browsing(stack, normal["browse"], ttl_s=1)
        eventually(
            lambda: stack.services()["catalog"]["desired"] == stack.services()["catalog"]["minimum"],
            within_s=90,
            what="catalog is back at its minimum",
        )


def assert_answered_once(stack: Stack, known: set[str]) -> None:
    helped = eventually(
        lambda: [run for run in runs_of(stack, known) if run["state"] in {"resolved_pending", "resolved"}],
        within_s=60,
        what="the run goes on and sees that it helped",
    )
    assert len(runs_of(stack, known)) == 1, "one incident is one run"
    set_browsing(stack, 8, ttl_s=120)
    run = eventually(
        lambda: next((run for run in runs_of(stack, known) if run["state"] in ENDED), None),
        within_s=120,
        what="the run ends once the load is gone",
    )
    assert run["id"] == helped[0]["id"]
    assert run["state"] == "resolved", run
    outward = [
        (action["target"], action["from"], action["to"]) for action in run["actions"] if action["to"] > action["from"]
    ]
    assert outward, "it scaled out"
    assert max(Counter(outward).values()) == 1, f"an action ran twice: {outward}"


def test_a_worker_killed_in_mid_remediation_finishes_the_run_and_acts_once(stack: Stack, surge: set[str]) -> None:
    eventually(
        lambda: [run for run in runs_of(stack, surge) if run["state"] in {"planning", "acting", "verifying"}],
        within_s=30,
        what="a remediation of catalog runs",
        every_s=0.02,
    )
    pid = stack.processes()["worker"]["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: stack.processes()["worker"]["pid"] not in {None, pid}, within_s=20, what="the worker is back")
    assert_answered_once(stack, surge)


def test_a_collector_killed_in_mid_alert_keeps_the_alert_and_the_run(stack: Stack, surge: set[str]) -> None:
    def firing() -> dict[str, Any] | None:
        alerts = stack.http.get(stack.url("prometheus", "/api/v1/alerts")).raise_for_status().json()["data"]["alerts"]
        return next(
            (
                alert
                for alert in alerts
                if alert["state"] == "firing"
                and alert["labels"]["alertname"] == "HighRequestLatency"
                and alert["labels"]["service"] == "catalog"
            ),
            None,
        )

    before = eventually(firing, within_s=30, what="the latency alert fires")
    eventually(lambda: runs_of(stack, surge), within_s=10, what="the alert is accepted")
    pid = stack.processes()["collector"]["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: stack.processes()["collector"]["pid"] not in {None, pid}, within_s=20, what="the collector is back"
    )
    eventually(
        lambda: stack.http.get(stack.url("prometheus", "/-/ready")).status_code == 200, within_s=20, what="ready"
    )
    after = firing()
    # ALERTS_FOR_STATE keeps whole seconds, as Prometheus's does.
    assert after is None or after["activeAt"][:19] == before["activeAt"][:19], "a firing alert keeps when it began"
    assert_answered_once(stack, surge)
