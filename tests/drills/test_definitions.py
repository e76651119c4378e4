"""The drills that ship."""

from __future__ import annotations

import re
from pathlib import Path

import promql_parser
import pytest

from remediation.drills.charts import charts
from remediation.drills.checks import CHECK_KEYS
from remediation.drills.definition import Definition, available, load, parse
from remediation.drills.injection import INJECTION_KINDS
from steersman.runtime.paths import shipped

DRILLS = [load(path) for path in available(shipped("drills"))]


def conditions(drill: Definition):
    steady, stops = drill.steady_state.conditions, drill.stop_conditions
    return [*steady, *stops, *drill.confirm, *drill.expect, *drill.then]


def test_the_drills_are_there():
    assert [drill.name for drill in DRILLS] == [
        "alert-storm", "collector-outage", "error-burst", "flapping-load", "flash-crowd", "latency-surge",
        "poisoned-message", "queue-backlog",
        "replica-crash", "replica-freeze", "slow-dependency", "worker-killed",
    ]  # fmt: skip


def queries(drill: Definition):
    for condition in conditions(drill):
        if condition.promql:
            yield condition.promql
        if getattr(condition, "change_of", None):
            yield condition.change_of.promql
    yield from (chart.promql for chart in charts(drill))


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_every_query_parses(drill):
    for query in queries(drill):
        promql_parser.parse(query.replace("$capacity", "20").replace("$rate", "60"))


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_the_deadlines_one_after_another_fit_into_the_timeout(drill):
    """Else a drill that meets every expectation could still time out."""
    at = {"injection": 0.0}
    for expectation in (*drill.confirm, *drill.expect):
        at[expectation.name] = latest(expectation, at, "injection")
    watched = [at[e.name] for e in (*drill.confirm, *drill.expect)]
    at["end_injection"] = (
        max(at[name] for name in drill.end_injection.after_events) if drill.end_injection else max(watched)
    )
    for expectation in drill.then:
        at[expectation.name] = latest(expectation, at, "end_injection")
    assert max(at.values()) <= drill.timeout


def latest(expectation, at, default):
    begins = max(at[event] for event in expectation.after_events or (default,))
    return begins + (expectation.within or 0) + (expectation.stays or 0) + expectation.hold


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_every_drill_proves_its_injection_and_can_be_stopped(drill):
    assert drill.confirm
    assert drill.stop_conditions


def test_alerts_that_drills_wait_for_exist():
    rules = "".join(path.read_text() for path in Path(shipped("rules")).glob("*.yml"))
    if not rules:
        pytest.skip("no rules ship yet")
    for drill in DRILLS:
        for condition in conditions(drill):
            labels = condition.alert_firing or condition.alert_resolved or {}
            if "alertname" in labels:
                assert f"alert: {labels['alertname']}" in rules


def test_the_guide_tells_of_every_drill_and_its_example_is_one():
    guide = (Path(__file__).parents[2] / "docs" / "drills.md").read_text()
    example = re.search(r"```yaml\n(name: .*?)```", guide, re.DOTALL)
    assert example
    assert parse(example[1], "docs/drills.md").name == "replica-hangs"
    for drill in DRILLS:
        assert f"| `{drill.name}` |" in guide


def test_the_guide_tells_of_every_check_and_injection():
    guide = (Path(__file__).parents[2] / "docs" / "drills.md").read_text()
    for key in (*CHECK_KEYS, *INJECTION_KINDS, *Definition.model_fields):
        assert f"`{key}" in guide, key
