"""The rules that ship with Steersman: promtool's verdict, and our own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.query.promql.engine import Engine
from collector.rules.rule import AlertingRule
from collector.rules.rulefile import check, load
from collector.storage.metrics.store import MetricStore
from steersman.runtime.paths import shipped

FILES = sorted(shipped("rules").glob("*.yml"))
SERVICES = ("catalog", "cart", "checkout", "payment", "inventory", "recommendation")
ALERTS = ("HighRequestLatency", "HighErrorRatio", "WorkerPoolSaturated", "TargetDown")
OTHERS = {"recommendation": {"QueueBacklog"}}  # of what only some services have
TICKETS = ("ErrorBudgetBurnsSlowly", "ErrorBudgetLeaks")  # of objectives: about every service, without `service`


@pytest.fixture(scope="module")
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is not on PATH, and CI must not do without it")
    if path is None:
        pytest.skip("promtool is not on PATH (Debian: apt-get install prometheus)")
    return path


@pytest.fixture(scope="module")
def alerting() -> list[AlertingRule]:
    return [rule for file in FILES for group in load(file) for rule in group.rules if isinstance(rule, AlertingRule)]


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


@pytest.mark.peer
def test_promtool_accepts_the_rules(promtool: str) -> None:
    assert run(promtool, "check", "rules", *map(str, FILES)).count("SUCCESS") == len(FILES) == 6


@pytest.mark.peer
@pytest.mark.parametrize("file", sorted(shipped("rules").glob("tests/*.yml")), ids=lambda file: file.stem)
def test_promtool_unit_tests_pass(promtool: str, file: Path) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", str(file))


def test_every_rule_file_has_unit_tests() -> None:
    assert {f"{file.stem}_test" for file in FILES} == {file.stem for file in shipped("rules").glob("tests/*.yml")}


def test_our_own_check_finds_nothing() -> None:
    assert check(FILES) == []


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    store = MetricStore.open(tmp_path, retention_s=60)
    yield Engine(store)
    store.close()


def test_our_engine_takes_every_expression(engine: Engine) -> None:
    for rule in (rule for file in FILES for group in load(file) for rule in group.rules):
        engine.prepare(rule.expr).instant(at_ms=1_000)


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_each_alert(alerting: list[AlertingRule], service: str) -> None:
    own = {rule.name for rule in alerting if dict(rule.labels).get("service") == service}
    assert own == set(ALERTS) | OTHERS.get(service, set())


def test_every_alert_is_labelled_and_explained(alerting: list[AlertingRule]) -> None:
    for rule in alerting:
        budget = rule.name.startswith("ErrorBudget")  # they have their objective's team
        expected = {"service", "severity"} | (set() if budget else {"team"})
        assert {name for name, _ in rule.labels} == expected - ({"service"} if rule.name in TICKETS else set())
        assert {name for name, _ in rule.annotations} == {"summary", "description", "runbook"}
        assert dict(rule.labels)["severity"] in ("critical", "warning")
        assert rule.for_ms >= 2000
