"""
A rule group at work: evaluates its rules in order, appends what they record, and says which alerts are to be told.

Source: prometheus/rules/group.go.
"""

from __future__ import annotations

import logging
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import numpy as np

from collector.errors import CollectorError
from collector.model.alert import Alert
from collector.model.series import ABSENT, STALE, Labels, NativeHistogram, SampleBatch, SampleSink
from collector.rules import metrics
from collector.rules.evaluated_rule import (
    ALERTS,
    ALERTS_FOR_STATE,
    EvaluatedAlerting,
    EvaluatedRule,
    Found,
    QueryEngine,
    Series,
    as_samples,
    evaluated,
)
from collector.rules.rule import RecordingRule, Rule, RuleGroupSpec
from collector.rules.rulefile import Problem, RuleFileError
from collector.rules.template import Samples, TemplateContext
from collector.rules.template_functions import graph_link

logger = logging.getLogger(__name__)

Asked = Found | Exception  # what a rule's expression yields, or why it does not
Work = Callable[[], list[Asked]]
Run = Callable[[Work], Awaitable[list[Asked]]]


async def inline(work: Work) -> list[Asked]:
    """Evaluate where one is: for tests of rules, which have nobody to keep waiting."""
    return work()


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
        run: Evaluates expressions, in a thread if the caller has others to serve meanwhile.

    Raises:
        RuleFileError: the engine refuses an expression; the message names file, group and rule.
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
        external_labels: Mapping[str, str] | None = None,
        run: Run = inline,
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
        self._external_labels = external_labels or {}
        self._run = run
        self._orphans: frozenset[Labels] = frozenset()  # series of rules that a reload removed
        self._chunks = self._split()

    def _evaluated(self, position: int, engine: QueryEngine) -> EvaluatedRule:
        rule = self.spec.rules[position]
        try:
            return evaluated(rule, engine, self.spec.limit)
        except CollectorError as error:
            message = f"could not parse expression: {error}"
            where = (rule.line, 1, self.spec.name, position + 1, rule.name)
            raise RuleFileError([Problem(self.spec.file, message, *where)]) from error

    def _split(self) -> list[range]:
        """The rules in runs, each of which ends with one whose result a later rule of the group may read."""
        chunks: list[range] = []
        begin = 0
        rules = self.spec.rules
        for position, rule in enumerate(rules):
            last = position + 1 == len(rules)
            if last or any(_may_read(later, rule) for later in rules[position + 1 :]):
                chunks.append(range(begin, position + 1))
                begin = position + 1
        return chunks

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

        return TemplateContext(self._external_url, query, self._external_labels, at_ms)

    async def evaluate(self, at_ms: int) -> None:
        """
        Evaluate every rule at `at_ms`. A rule that fails says so in its outcome and keeps its alerts and series.

        All samples are in the sink when this returns, unless it refused them, which is logged and tried no more.
        """
        started = time.perf_counter()
        context = self.context(at_ms)
        samples = 0
        for chunk in self._chunks:
            asked = await self._run(partial(self._ask, chunk, at_ms, context))
            waiting: list[tuple[EvaluatedRule, SampleBatch, frozenset[Labels]]] = []
            for position, found in zip(chunk, asked, strict=True):
                rule = self.rules[position]
                series = self._take(rule, found, at_ms)
                if series is None:
                    continue
                samples += len(series)
                batch = self._batch(position, series, rule.written, at_ms)
                if batch is not None:
                    waiting.append((rule, batch, frozenset(series)))
            await self._append(waiting)
        await self.end_orphans(at_ms)
        self.evaluated_at_ms = at_ms
        self.duration_s = time.perf_counter() - started
        self._count(samples)

    def _ask(self, chunk: range, at_ms: int, context: TemplateContext) -> list[Asked]:
        """What each rule's expression yields, or why it does not. Of the rules' state only their time is touched."""
        asked: list[Asked] = []
        for position in chunk:
            rule = self.rules[position]
            started = time.perf_counter()
            try:
                asked.append(rule.ask(at_ms, self.spec.query_offset_ms, context))
            except Exception as error:  # one bad rule must not stop the others
                asked.append(error)
            rule.outcome.duration_s = time.perf_counter() - started
        return asked

    def _take(self, rule: EvaluatedRule, found: Asked, at_ms: int) -> Series | None:
        outcome = rule.outcome
        outcome.evaluated_at_ms = at_ms
        try:
            if isinstance(found, Exception):
                raise found
            series = rule.take(found, at_ms)  # type: ignore[arg-type]  # what this rule's own `ask` has given
        except Exception as error:
            if outcome.error != str(error):
                logger.warning("rule %r of group %r failed: %s", rule.rule.name, self.spec.name, error)
            metrics.EVALUATION_FAILURES.labels(self.spec.key).inc()
            outcome.health, outcome.error = "err", str(error) or repr(error)
            return None
        outcome.health, outcome.error = "ok", ""
        return series

    def _count(self, samples: int) -> None:
        key = self.spec.key
        durations = [rule.outcome.duration_s for rule in self.rules]
        for duration_s in durations:
            metrics.EVALUATION_DURATION.observe(duration_s)
        metrics.EVALUATIONS.labels(key).inc(len(durations))
        metrics.GROUP_DURATION.observe(self.duration_s)
        metrics.LAST_DURATION.labels(key).set(self.duration_s)
        metrics.LAST_RULE_DURATION_SUM.labels(key).set(sum(durations))
        metrics.LAST_SAMPLES.labels(key).set(samples)
        metrics.LAST_EVALUATION.labels(key).set((self.evaluated_at_ms or 0) / 1000)

    def _batch(self, position: int, series: Series, written: frozenset[Labels], at_ms: int) -> SampleBatch | None:
        gone = [labels for labels in written if labels not in series]
        if not series and not gone:
            return None
        name = f"{position}:{self.rules[position].rule.name}" if position >= 0 else "orphans"
        # The bits of STALE must arrive unchanged, so it goes in by assignment of bits, not through a Python float.
        values = np.full(len(series) + len(gone), STALE)
        histograms = []
        for row, value in enumerate(series.values()):
            if isinstance(value, NativeHistogram):
                values[row] = ABSENT
                histograms.append((row, value))
            else:
                values[row] = value
        return SampleBatch(
            target=f"rules|{self.spec.key}|{name}",
            timestamp_ms=at_ms - self.spec.query_offset_ms,
            labels=(*series, *gone),
            values=values,
            histograms=tuple(histograms),
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


def _may_read(later: Rule, earlier: Rule) -> bool:
    """Whether a rule's expression or templates may name what an earlier one writes."""
    texts = [later.expr]
    if not isinstance(later, RecordingRule):
        texts += [text for _, text in (*later.labels, *later.annotations) if "query" in text]
    names = [earlier.name] if isinstance(earlier, RecordingRule) else [ALERTS, ALERTS_FOR_STATE]
    wanted = "|".join(map(re.escape, names))
    return any(re.search(rf"(?<![\w:])(?:{wanted})(?![\w:])|__name__", text) for text in texts)
