"""
promtool's unit tests of rules, run by our own rule groups and engine: the same verdicts.

Source: prometheus/cmd/promtool/unittest.go.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob  # patterns of users are absolute or relative, which Path.glob does not take
from pathlib import Path
from typing import NamedTuple

import numpy as np

from collector.errors import CollectorError, ConfigError
from collector.gotemplate.goformat import format_exponent, not_finite
from collector.model.duration import format_duration
from collector.model.series import Labels, Vector
from collector.model.text import quote
from collector.query.promql.engine import Engine
from collector.rules.alert_state import AlertState
from collector.rules.evaluated_rule import as_vector, histograms_of
from collector.rules.group import RuleGroup
from collector.rules.histogram_notation import notation
from collector.rules.rulefile import RuleFileError, load
from collector.rules.scratch_store import ScratchStore
from collector.rules.series_notation import parse_metric, parse_values
from collector.rules.unit_test_file import AlertCase, ExpectedSample, ExprCase, TestGroup, UnitTestFile
from collector.rules.unit_test_file import load as load_test_file

MAX_EVALUATIONS = 1_000_000  # of one test: eleven days at one a second
RESEND_DELAY_MS = 60_000  # of no effect: nobody is told

Alert = tuple[Labels, Labels]  # labels and annotations


class Sample(NamedTuple):
    labels: Labels
    value: float  # 0 of a histogram
    histogram: str = ""  # its notation


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one file. It passed if there are no failures."""

    file: Path
    failures: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    tests: int = 0


@dataclass(slots=True)
class _Run:
    """What one file's tests share."""

    file: UnitTestFile
    rule_files: list[Path]
    failures: list[str] = field(default_factory=list)


async def run_file(path: Path) -> Verdict:
    """Run every test of a file. Whatever is wrong, with the file or with what it tests, is a failure in the verdict."""
    try:
        file = load_test_file(path)
        rule_files, warnings = _globbed(path.parent, file.rule_files)
        _require_distinct(file.group_eval_order)
    except ConfigError as error:
        return Verdict(path, tuple(str(error).splitlines()))
    run = _Run(file, rule_files)
    for test in file.tests:
        await _run_test(run, test)
    return Verdict(path, tuple(run.failures), tuple(warnings), len(file.tests))


def _globbed(base: Path, patterns: Sequence[str]) -> tuple[list[Path], list[str]]:
    """What the patterns match, relative ones from `base`; and what matches nothing."""
    found: list[Path] = []
    warnings = []
    for pattern in patterns:
        path = str(base / pattern) if pattern else ""
        matches = sorted(glob(path))  # noqa: PTH207
        if not matches:
            warnings.append(f"no file match pattern {path}")
        found += map(Path, matches)
    return found, warnings


def _require_distinct(names: Sequence[str]) -> None:
    repeated = next((name for position, name in enumerate(names) if name in names[:position]), None)
    if repeated is not None:
        raise ConfigError(f"group name repeated in evaluation order: {repeated}")


async def _run_test(run: _Run, test: TestGroup) -> None:
    store = ScratchStore()
    try:
        _load_series(store, test, test.interval or run.file.interval_ms)
        groups = _groups(run, test, store)
        for case in test.alert_rule_test:
            if not case.alertname:
                within = f" (in TestGroup {test.name})" if test.name else ""
                raise ConfigError(
                    "an item under alert_rule_test misses required attribute alertname"
                    f" at eval_time {format_duration(case.eval_time)}{within}"
                )
        if test.last_ms // run.file.interval_ms > MAX_EVALUATIONS:
            raise ConfigError(f"the test takes more than {MAX_EVALUATIONS} evaluations")
    except RuleFileError as error:
        run.failures += map(str, error.problems)
        return
    except CollectorError as error:
        run.failures.append(str(error))
        return
    if await _evaluate(run, test, store, groups):
        engine = Engine(store, subquery_step_ms=run.file.interval_ms)
        for expression in test.promql_expr_test:
            run.failures += _check_expression(expression, test, engine, fuzzy=run.file.fuzzy_compare)


def _load_series(store: ScratchStore, test: TestGroup, interval_ms: int) -> None:
    for one in test.input_series:
        values = parse_values(one.values)
        times = test.start_timestamp + np.arange(len(values.floats), dtype=np.int64) * interval_ms
        labels = parse_metric(one.series)
        store.load(labels, times, values.floats)
        store.load_histograms(labels, {int(times[step]): value for step, value in values.histograms.items()})


def _groups(run: _Run, test: TestGroup, store: ScratchStore) -> list[RuleGroup]:
    """In the order that the file wants; groups it does not name go with the first."""
    engine = Engine(store, subquery_step_ms=run.file.interval_ms)
    order = {name: position for position, name in enumerate(run.file.group_eval_order)}
    specs = [spec for path in run.rule_files for spec in load(path)]
    return [
        RuleGroup(
            spec,
            engine=engine,
            sink=store,
            interval_ms=spec.interval_ms or test.interval or run.file.interval_ms,
            resend_delay_ms=RESEND_DELAY_MS,
            external_url=test.external_url,
            external_labels=test.external_labels,
        )
        for spec in sorted(specs, key=lambda spec: order.get(spec.name, 0))
    ]


async def _evaluate(run: _Run, test: TestGroup, store: ScratchStore, groups: list[RuleGroup]) -> bool:
    """Evaluate from the start to the last time asked for, checking alerts on the way. False: a rule failed."""
    interval_ms = run.file.interval_ms
    waiting = sorted({case.eval_time for case in test.alert_rule_test}, reverse=True)
    for since_ms in range(0, test.last_ms + 1, interval_ms):
        store.visible_ms = test.start_timestamp + since_ms
        errors = []
        for group in groups:
            await group.evaluate(store.visible_ms)
            errors += [
                f"    rule: {rule.rule.name}, time: {format_duration(since_ms)}, err: {rule.outcome.error}"
                for rule in group.rules
                if rule.outcome.error
            ]
        if errors:
            run.failures += errors
            return False
        # Times between two evaluations are answered by the earlier one.
        while waiting and waiting[-1] < since_ms + interval_ms:
            at = waiting.pop()
            for case in test.alert_rule_test:
                if case.eval_time == at:
                    run.failures += _check_alerts(case, test, groups)
    return True


def _check_alerts(case: AlertCase, test: TestGroup, groups: list[RuleGroup]) -> Iterator[str]:
    got: list[Alert] = sorted(
        (alert.labels, tuple(sorted(alert.annotations)))
        for group in groups
        for rule in group.alerting
        if rule.rule.name == case.alertname
        for alert in rule.table.active()
        if alert.state is AlertState.FIRING
    )
    expected: list[Alert] = sorted(
        (
            tuple(sorted({**alert.exp_labels, "alertname": case.alertname}.items())),
            tuple(sorted(alert.exp_annotations.items())),
        )
        for alert in case.exp_alerts
    )
    if got != expected:
        name = f"    name: {test.name},\n" if test.name else ""
        yield (
            f"{name}    alertname: {case.alertname}, time: {format_duration(case.eval_time)}, \n"
            f"        exp:{_alerts_text(expected)}, \n        got:{_alerts_text(got)}"
        )


def _check_expression(case: ExprCase, test: TestGroup, engine: Engine, *, fuzzy: bool) -> Iterator[str]:
    heading = f"    expr: {quote(case.expr)}, time: {format_duration(case.eval_time)},"
    try:
        answer = as_vector(engine.instant(case.expr, at_ms=test.start_timestamp + case.eval_time))
        got = sorted(_samples(answer), key=lambda sample: sample.labels)
        expected = sorted((_expected(sample) for sample in case.exp_samples), key=lambda sample: sample.labels)
    except CollectorError as error:
        yield f"{heading} err: {error}"
        return
    same = len(got) == len(expected) and all(
        (ours.labels, ours.histogram) == (theirs.labels, theirs.histogram)
        and _equal(ours.value, theirs.value, fuzzy=fuzzy)
        for ours, theirs in zip(got, expected, strict=True)
    )
    if not same:
        yield f"{heading}\n        exp: {_samples_text(expected)}\n        got: {_samples_text(got)}"


def _samples(answer: Vector) -> Iterator[Sample]:
    histograms = histograms_of(answer)
    for row, (labels, value) in enumerate(zip(answer.labels, answer.values.tolist(), strict=True)):
        histogram = histograms.get(row)
        yield Sample(labels, value) if histogram is None else Sample(labels, 0.0, notation(histogram))


def _expected(sample: ExpectedSample) -> Sample:
    try:
        labels = parse_metric(sample.labels)
    except CollectorError as error:
        raise ConfigError(f"labels {quote(sample.labels)}: {error}") from error
    if not sample.histogram:
        return Sample(labels, sample.value)
    try:
        values = parse_values(sample.histogram)
    except CollectorError as error:
        raise ConfigError(f"failed to parse histogram {quote(sample.histogram)}: {error}") from error
    if len(values.floats) != 1 or 0 not in values.histograms:
        raise ConfigError(f"histogram {quote(sample.histogram)}: one is wanted")
    return Sample(labels, sample.value, notation(values.histograms[0]))


def _equal(left: float, right: float, *, fuzzy: bool) -> bool:
    """NaN equals nothing, as in promtool."""
    return left == right or (fuzzy and right in (math.nextafter(left, -math.inf), math.nextafter(left, math.inf)))


def _labels_text(labels: Labels) -> str:
    return "{" + ", ".join(f"{name}={quote(value)}" for name, value in labels) + "}"


def _samples_text(samples: Sequence[Sample]) -> str:
    shown = (f"{_labels_text(one.labels)} {one.histogram or _value_text(one.value)}" for one in samples)
    return ", ".join(shown) or "nil"


def _value_text(value: float) -> str:
    return not_finite(value) or format_exponent(value).upper()


def _alerts_text(alerts: Sequence[Alert]) -> str:
    if not alerts:
        return "[]"
    pad = " " * 12
    shown = [
        f"{pad}{position}:\n{pad}  Labels:{_labels_text(labels)}\n{pad}  Annotations:{_labels_text(annotations)}"
        for position, (labels, annotations) in enumerate(alerts)
    ]
    return "[\n" + ",\n".join(shown) + f"\n{pad}]"


def show(verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    """As promtool prints it: failures to stderr, all else to stdout."""
    if as_json:
        files = [
            {
                "file": str(one.file),
                "verdict": "failed" if one.failures else "success",
                "tests": one.tests,
                "failures": one.failures,
                "warnings": one.warnings,
            }
            for one in verdicts
        ]
        print(json.dumps({"files": files}, indent=1))
        return
    for one in verdicts:
        print("Unit Testing: ", one.file, flush=True)
        for warning in one.warnings:
            print("  WARNING:", warning, file=sys.stderr)
        if one.failures:
            print("  FAILED:", file=sys.stderr)
        for failure in one.failures:
            print(failure, file=sys.stderr, flush=True)
        print("" if one.failures else "  SUCCESS\n", flush=True)
