"""
A rule group at work: evaluates its rules in order, appends what they record, and says which alerts are to be told.

Source: prometheus/rules/group.go.
"""

from __future__ import annotations

import logging
import re
import time
import zlib
from collections.abc import Sequence

import numpy as np
from prometheus_client import Counter

from collector.errors import CollectorError, ConfigError
from collector.model.alert import Alert
from collector.model.series import STALE, Labels, SampleBatch, SampleSink
from collector.rules.evaluated_rule import (
    EvaluatedAlerting,
    EvaluatedRule,
    QueryEngine,
    Series,
    as_samples,
    evaluated,
)
from collector.rules.rule import RecordingRule, RuleGroupSpec
from collector.rules.template import Samples, TemplateContext
from collector.rules.template_functions import graph_link

logger = logging.getLogger(__name__)

# Prometheus's own names (rules/group.go, NewGroupMetrics).
EVALUATIONS = Counter("prometheus_rule_evaluations", "Rule evaluations.", ["rule_group"])
EVALUATION_FAILURES = Counter("prometheus_rule_evaluation_failures", "Rule evaluations that failed.", ["rule_group"])
ITERATIONS = Counter(
    "prometheus_rule_group_iterations", "Scheduled group evaluations, missed ones too.", ["rule_group"]
)
ITERATIONS_MISSED = Counter(
    "prometheus_rule_group_iterations_missed", "Group evaluations left out because one was slow.", ["rule_group"]
)


def first_slot(key: str, now_ms: int, interval_ms: int) -> int:
    """The next evaluation time of a group: a phase of its own, so that groups spread over the interval."""
    phase = zlib.crc32(key.encode()) % interval_ms
    return now_ms + (phase - now_ms) % interval_ms


def next_slot(slot_ms: int, now_ms: int, interval_ms: int) -> tuple[int, int]:
    """
    The evaluation time after `slot_ms`, and how many were missed.

    One that is late by less than an interval is still held. A clock that was set back begins a new count.
    """
    due = slot_ms + interval_ms
    if now_ms < slot_ms - interval_ms:
        return now_ms - (now_ms - slot_ms) % interval_ms + interval_ms, 0
    missed = max(0, (now_ms - due) // interval_ms)
    return due + missed * interval_ms, missed


class RuleGroup:
    """
    Args:
        interval_ms: How often it is evaluated; only for what resolved and firing alerts say of their validity.

    Raises:
        ConfigError: the engine refuses an expression; the message names file, group and rule.
    """

    def __init__(
        self,
        spec: RuleGroupSpec,
        *,
        engine: QueryEngine,
        sink: SampleSink,
        interval_ms: int,
        resend_delay_ms: int,
        external_url: str,
    ) -> None:
        self.spec = spec
        self.interval_ms = interval_ms
        self.rules: list[EvaluatedRule] = [self._evaluated(position, engine) for position in range(len(spec.rules))]
        self.evaluated_at_ms: int | None = None
        self.duration_s = 0.0
        self._engine = engine
        self._sink = sink
        self._resend_delay_ms = resend_delay_ms
        self._external_url = external_url
        self._orphans: frozenset[Labels] = frozenset()  # series of rules that a reload removed
        self._awaited = self._rules_with_readers()

    def _evaluated(self, position: int, engine: QueryEngine) -> EvaluatedRule:
        rule = self.spec.rules[position]
        try:
            return evaluated(rule, engine, self.spec.limit)
        except CollectorError as error:
            where = f'{self.spec.file}: {rule.line}: group "{self.spec.name}", rule {position + 1}, "{rule.name}"'
            raise ConfigError(f"{where}: could not parse expression: {error}") from error

    def _rules_with_readers(self) -> set[int]:
        """The recording rules whose result a later rule of the group may read; only these must be appended at once."""
        rules = self.spec.rules
        return {
            position
            for position, rule in enumerate(rules)
            if isinstance(rule, RecordingRule)
            and any(
                re.search(rf"(?<![\w:]){re.escape(rule.name)}(?![\w:])|__name__", later.expr)
                for later in rules[position + 1 :]
            )
        }

    @property
    def alerting(self) -> list[EvaluatedAlerting]:
        return [rule for rule in self.rules if isinstance(rule, EvaluatedAlerting)]

    def take_over(self, former: RuleGroup) -> None:
        """Go on with the state of the rules that `former` has too, by name and labels (Group.CopyState)."""
        unclaimed = list(former.rules)
        for rule in self.rules:
            match = next((old for old in unclaimed if _identity(old) == _identity(rule)), None)
            if match is None:
                continue
            unclaimed.remove(match)
            rule.written = match.written
            if isinstance(rule, EvaluatedAlerting) and isinstance(match, EvaluatedAlerting):
                rule.table.restore(match.table.alerts.values(), doubt_until_ms=match.table.doubt_until_ms)
        self._orphans = former._orphans.union(*(rule.written for rule in unclaimed))

    def context(self, at_ms: int) -> TemplateContext:
        def query(expr: str) -> Samples:
            return as_samples(self._engine.prepare(expr).instant(at_ms=at_ms - self.spec.query_offset_ms))

        return TemplateContext(self._external_url, query)

    async def evaluate(self, at_ms: int) -> None:
        """
        Evaluate every rule at `at_ms`. A rule that fails says so in its outcome and keeps its alerts and series.

        All samples are in the sink when this returns, unless it refused them, which is logged and tried no more.
        """
        started = time.perf_counter()
        context = self.context(at_ms)
        waiting: list[tuple[EvaluatedRule, SampleBatch, frozenset[Labels]]] = []
        for position, rule in enumerate(self.rules):
            series = self._evaluate_one(rule, at_ms, context)
            if series is None:
                continue
            batch = self._batch(position, series, rule.written, at_ms)
            if batch is not None:
                waiting.append((rule, batch, frozenset(series)))
            if position in self._awaited:
                await self._append(waiting)
                waiting = []
        await self._append(waiting)
        await self.end_orphans(at_ms)
        self.evaluated_at_ms = at_ms
        self.duration_s = time.perf_counter() - started

    def _evaluate_one(self, rule: EvaluatedRule, at_ms: int, context: TemplateContext) -> Series | None:
        started = time.perf_counter()
        EVALUATIONS.labels(self.spec.key).inc()
        outcome = rule.outcome
        outcome.evaluated_at_ms = at_ms
        try:
            series = rule.evaluate(at_ms, self.spec.query_offset_ms, context)
        except Exception as error:  # one bad rule must not stop the others
            if outcome.error != str(error):
                logger.warning("rule %r of group %r failed: %s", rule.rule.name, self.spec.name, error)
            EVALUATION_FAILURES.labels(self.spec.key).inc()
            outcome.health, outcome.error = "err", str(error) or repr(error)
            return None
        finally:
            outcome.duration_s = time.perf_counter() - started
        outcome.health, outcome.error = "ok", ""
        return series

    def _batch(self, position: int, series: Series, written: frozenset[Labels], at_ms: int) -> SampleBatch | None:
        gone = [labels for labels in written if labels not in series]
        if not series and not gone:
            return None
        name = f"{position}:{self.rules[position].rule.name}" if position >= 0 else "orphans"
        # The bits of STALE must arrive unchanged, so it goes in by assignment of bits, not through a Python float.
        values = np.full(len(series) + len(gone), STALE)
        values[: len(series)] = list(series.values())
        return SampleBatch(
            target=f"rules|{self.spec.key}|{name}",
            timestamp_ms=at_ms - self.spec.query_offset_ms,
            labels=(*series, *gone),
            values=values,
        )

    async def _append(self, waiting: Sequence[tuple[EvaluatedRule, SampleBatch, frozenset[Labels]]]) -> None:
        if not waiting:
            return
        try:
            await self._sink.append([batch for _, batch, _ in waiting])
        except CollectorError as error:
            logger.warning("samples of rule group %r were not stored: %s", self.spec.name, error)
            for rule, _, series in waiting:
                rule.written |= series  # so that what is gone is marked as gone next time
                rule.outcome.health, rule.outcome.error = "err", f"samples were not stored: {error}"
            return
        for rule, _, series in waiting:
            rule.written = series

    async def end_orphans(self, at_ms: int, *, all_series: bool = False) -> None:
        """Write staleness markers for the series of removed rules; with `all_series`, of every rule."""
        gone = self._orphans.union(*(rule.written for rule in self.rules)) if all_series else self._orphans
        batch = self._batch(-1, {}, gone, at_ms)
        if batch is None:
            return
        try:
            await self._sink.append([batch])
        except CollectorError as error:
            logger.warning("staleness markers of rule group %r were not stored: %s", self.spec.name, error)
            return
        self._orphans = frozenset()

    def due(self, now_ms: int) -> list[Alert]:
        """The alerts that the dispatcher must hear of now; they count as told until `untell`."""
        return [
            alert
            for rule in self.alerting
            for alert in rule.table.due(
                now_ms,
                resend_delay_ms=self._resend_delay_ms,
                interval_ms=self.interval_ms,
                generator_url=self._external_url + graph_link(rule.rule.expr),
            )
        ]

    def untell(self, alerts: Sequence[Alert]) -> None:
        """Telling failed: they are due again."""
        untold = {alert.labels for alert in alerts}
        for rule in self.alerting:
            for labels in untold & rule.table.alerts.keys():
                rule.table.alerts[labels].last_sent_ms = None


def _identity(rule: EvaluatedRule) -> tuple[type, str, Labels]:
    return type(rule.rule), rule.rule.name, rule.rule.labels
