"""The viewer on the running stack: every page answers, with what the stack knows."""

from __future__ import annotations

import pytest

from embedded_stack import Stack, eventually

pytestmark = pytest.mark.e2e


def shown(stack: Stack, path: str) -> str:
    answer = stack.http.get(stack.url("dashboards", path), timeout=20)
    assert answer.status_code == 200, answer.text[:300]
    return answer.text


def test_every_page_answers(stack: Stack) -> None:
    eventually(lambda: stack.http.get(stack.url("dashboards", "/-/ready")).is_success, within_s=20, what="the viewer")
    assert "Fleet overview" in shown(stack, "/")
    assert "Request rate" in shown(stack, "/d/steersman-fleet")
    assert "HighRequestLatency" in shown(stack, "/alerts")
    assert "Remediations" in shown(stack, "/remediations")
    assert "Explore" in shown(stack, "/explore?expr=up")
    traces = eventually(
        lambda: stack.http.get(stack.url("jaeger", "/api/traces"), params={"service": "checkout", "limit": 1}).json()[
            "data"
        ],
        within_s=20,
        what="a trace of checkout",
    )
    assert "critical path" in shown(stack, f"/trace/{traces[0]['traceID']}")
    assert "gateway" in shown(stack, "/traces?service=checkout")


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/d/nothing", 404, ""),
        ("/trace/zzz", 200, "hexadecimal"),
        ("/trace/00000000000000000000000000000001", 200, "1"),
        ("/remediation/nothing", 200, "no remediation"),
        ("/explore?expr=sum(", 200, "parse error"),
    ],
)
def test_what_is_not_there_is_said(stack: Stack, path: str, status: int, told: str) -> None:
    eventually(lambda: stack.http.get(stack.url("dashboards", "/-/ready")).is_success, within_s=20, what="the viewer")
    answer = stack.http.get(stack.url("dashboards", path), timeout=20)
    assert answer.status_code == status
    assert told in answer.text


def test_push_into_the_viewer_changes_nothing_the_second_time(stack: Stack) -> None:
    eventually(lambda: stack.http.get(stack.url("dashboards", "/-/ready")).is_success, within_s=20, what="the viewer")
    first, second = stack.cli("dashboards", "push"), stack.cli("dashboards", "push")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "data source Prometheus" in first.stdout
    assert {line.split()[0] for line in second.stdout.splitlines()} == {"unchanged"}
