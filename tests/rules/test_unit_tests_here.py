"""promtool's unit tests of the shipped rules, run by our own engine, store and rule groups: the same verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import promql_parser
import pytest
import yaml

from collector.model.duration import parse_duration_ms
from collector.model.series import METRIC_NAME, STALE, Labels, SampleBatch, labels_of
from collector.query.promql.engine import Engine
from collector.rules.alert_state import AlertState
from collector.rules.group import RuleGroup
from collector.rules.rulefile import load
from collector.storage.metrics.store import MetricStore
from steersman.runtime.paths import shipped

START_MS = 1_700_000_000_000
# One service stands for all six, which differ in names and thresholds only; promtool runs the others.
OTHERS = re.compile(r"\b(cart|checkout|payment|inventory|recommendation)\b.* (slow|fails|saturated|down|absent) .*")


def cases() -> Iterator[Any]:
    for path in sorted(shipped("rules").glob("tests/*.yml")):
        document = yaml.safe_load(path.read_text())
        for test in document["tests"]:
            if not OTHERS.search(test["name"]):
                yield pytest.param(path, document["rule_files"], test, id=f"{path.stem}: {test['name']}")


def samples(notation: str) -> list[float | None]:
    """promtool's notation of the values of a series: `1x3`, `0+5x20`, `_x4`, `stale`."""
    values: list[float | None] = []
    for word in notation.split():
        match = re.fullmatch(r"(-?[\d.]+|_)(?:([+-][\d.]+))?(?:x(\d+))?|stale", word)
        assert match is not None, word
        if word == "stale":
            values.append(float(STALE))
        elif match[1] == "_":
            values += [None] * int(match[3] or 1)
        else:
            times = int(match[3]) + 1 if match[3] else 1
            values += [float(match[1]) + number * float(match[2] or 0) for number in range(times)]
    return values


def series_labels(text: str) -> Labels:
    selector = promql_parser.parse(text)
    return labels_of({METRIC_NAME: selector.name} | {one.name: one.value for one in selector.matchers.matchers})


async def fill(store: MetricStore, series: list[dict[str, str]]) -> None:
    for position, one in enumerate(series):
        labels = (series_labels(one["series"]),)
        batches = []
        for second, value in enumerate(samples(one["values"])):
            if value is not None:
                values = np.array([STALE]) if np.isnan(value) else np.array([value])
                batches.append(SampleBatch(f"input {position}", START_MS + second * 1000, labels, values))
        await store.append(batches)


def firing(group: RuleGroup, alertname: str) -> list[tuple[dict[str, str], dict[str, str]]]:
    alerts = [
        (dict(alert.labels), dict(alert.annotations))
        for rule in group.alerting
        if rule.rule.name == alertname
        for alert in rule.table.active()
        if alert.state is AlertState.FIRING
    ]
    return sorted(alerts, key=repr)


@pytest.mark.parametrize(("path", "rule_files", "test"), list(cases()))
async def test_our_rule_groups_come_to_the_verdict_of_promtool(
    tmp_path: Path, path: Path, rule_files: list[str], test: dict[str, Any]
) -> None:
    store = MetricStore.open(tmp_path, retention_s=3600, clock=lambda: START_MS + 100_000)
    try:
        await fill(store, test["input_series"])
        (spec,) = load(path.parent / rule_files[0])
        group = RuleGroup(
            spec, engine=Engine(store), sink=store, interval_ms=1000, resend_delay_ms=60_000, external_url=""
        )
        checks = {parse_duration_ms(check["eval_time"]): check for check in test.get("alert_rule_test", [])}
        for at_ms in range(0, max(checks, default=-1000) + 1000, 1000):
            await group.evaluate(START_MS + at_ms)
            if check := checks.get(at_ms):
                expected = [
                    ({"alertname": check["alertname"], **alert["exp_labels"]}, alert["exp_annotations"])
                    for alert in check["exp_alerts"]
                ]
                assert firing(group, check["alertname"]) == sorted(expected, key=repr), f"at {at_ms} ms"
        assert [rule.outcome.error for rule in group.rules] == [""] * len(group.rules)
    finally:
        store.close()
