"""One rule at work: its prepared query, its last outcome, and for an alerting rule its alerts and templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from collector.errors import BadRequestError, LimitExceededError
from collector.model.alert import ALERT_NAME
from collector.model.series import METRIC_NAME, Labels, NativeHistogram, Vector, labels_of
from collector.rules.alert_state import ActiveAlert, AlertTable, Held
from collector.rules.rule import AlertingRule, RecordingRule, Rule
from collector.rules.template import Samples, Template, TemplateContext, sample

ALERTS = "ALERTS"
ALERTS_FOR_STATE = "ALERTS_FOR_STATE"
ALERT_STATE = "alertstate"
Recorded = float | NativeHistogram
Series = dict[Labels, Recorded]  # what one evaluation of a rule writes, by labels
Found = Series | dict[Labels, Held]  # what its expression yields


class PreparedQuery(Protocol):
    def instant(self, *, at_ms: int) -> object:
        """A `Vector`, or a scalar with a float `value`. May raise a CollectorError."""
        ...


class QueryEngine(Protocol):
    """What rules need of the query layer."""

    def prepare(self, expr: str) -> PreparedQuery:
        """
        Raises:
            CollectorError: the expression is wrong or asks for what is not built.
        """
        ...


@dataclass(slots=True)
class Outcome:
    """How the last evaluation went, in Prometheus's words."""

    health: str = "unknown"  # unknown, ok, err
    error: str = ""
    evaluated_at_ms: int | None = None
    duration_s: float = 0.0


def as_vector(result: object) -> Vector:
    """A scalar counts as a vector of one element without labels (rules/manager.go, EngineQueryFunc)."""
    if isinstance(result, Vector):
        return result
    value = getattr(result, "value", None)
    if not isinstance(value, int | float):
        raise BadRequestError("rule result is not a vector or scalar")
    return Vector(((),), np.array([float(value)]))


def histograms_of(vector: Vector) -> Mapping[int, NativeHistogram]:
    """By row, those elements of a vector that are native histograms; their float is ABSENT."""
    found: Mapping[int, NativeHistogram] = getattr(vector, "histograms", {})
    return found


def as_samples(result: object) -> Samples:
    """What templates see of a query's result."""
    vector = as_vector(result)
    pairs = zip(vector.labels, vector.values.tolist(), strict=True)
    return [sample(dict(labels), value) for labels, value in pairs]


def _merged(labels: Labels, extra: Mapping[str, str]) -> Labels:
    """`labels` without the metric name, overlaid with `extra`, of which an empty value removes."""
    return labels_of({name: value for name, value in labels if name != METRIC_NAME} | dict(extra))


@dataclass(slots=True)
class EvaluatedRecording:
    rule: RecordingRule
    query: PreparedQuery
    limit: int
    outcome: Outcome = field(default_factory=Outcome)
    written: frozenset[Labels] = frozenset()  # the series of the previous evaluation

    def ask(self, at_ms: int, query_offset_ms: int, _context: TemplateContext) -> Series:
        """What the expression yields, as it is to be recorded. Changes nothing, so it may run in any thread."""
        vector = as_vector(self.query.instant(at_ms=at_ms - query_offset_ms))
        extra = {**dict(self.rule.labels), METRIC_NAME: self.rule.name}
        series: Series = dict(
            zip((_merged(labels, extra) for labels in vector.labels), vector.values.tolist(), strict=True)
        )
        for row, histogram in histograms_of(vector).items():
            series[_merged(vector.labels[row], extra)] = histogram
        if len(series) < len(vector.labels):
            raise BadRequestError("vector contains metrics with the same labelset after applying rule labels")
        if self.limit and len(series) > self.limit:
            raise LimitExceededError(f"exceeded limit of {self.limit} with {len(series)} series")
        return series

    def take(self, series: Series, _at_ms: int) -> Series:
        return series

    def may_own(self, labels: Labels) -> bool:
        """Whether a series of the rule's name can be from it: the rule's labels must agree."""
        pairs = dict(labels)
        return all(pairs.get(name, "") == value for name, value in self.rule.labels)


@dataclass(slots=True)
class EvaluatedAlerting:
    rule: AlertingRule
    query: PreparedQuery
    table: AlertTable
    labels: tuple[tuple[str, Template], ...]
    annotations: tuple[tuple[str, Template], ...]
    outcome: Outcome = field(default_factory=Outcome)
    written: frozenset[Labels] = frozenset()

    def ask(self, at_ms: int, query_offset_ms: int, context: TemplateContext) -> dict[Labels, Held]:
        """What the expression yields, templates expanded. Changes nothing, so it may run in any thread."""
        vector = as_vector(self.query.instant(at_ms=at_ms - query_offset_ms))
        held: dict[Labels, Held] = {}
        values = vector.values.tolist()
        for row in histograms_of(vector):
            values[row] = 0.0  # what Prometheus's alerts have as the value of a histogram (Sample.F)
        for labels, value in zip(vector.labels, values, strict=True):
            element = self._held(labels, value, context)
            if element.labels in held:
                raise BadRequestError("vector contains metrics with the same labelset after applying alert labels")
            held[element.labels] = element
        return held

    def take(self, held: Mapping[Labels, Held], at_ms: int) -> Series:
        """Move the alerts on, given what `ask` found; what the store is to hold of them."""
        series: Series = {}
        for alert in self.table.evaluate(held, at_ms):
            series |= self.series_of(alert)
        return series

    def series_of(self, alert: ActiveAlert) -> Series:
        """What the store is to hold of a pending or firing alert."""
        pairs = dict(alert.labels)
        return {
            labels_of({**pairs, METRIC_NAME: ALERTS, ALERT_STATE: alert.state.value}): 1.0,
            # Whole seconds, as Prometheus writes them.
            labels_of({**pairs, METRIC_NAME: ALERTS_FOR_STATE}): float(alert.active_at_ms // 1000),
        }

    def _held(self, labels: Labels, value: float, context: TemplateContext) -> Held:
        seen = dict(labels)
        extra = {name: template.expand(seen, value, context) for name, template in self.labels}
        annotations = tuple((name, template.expand(seen, value, context)) for name, template in self.annotations)
        return Held(_merged(labels, {**extra, ALERT_NAME: self.rule.name}), annotations, value)

    def may_own(self, labels: Labels) -> bool:
        """Whether an alert of these labels can come from this rule: its fixed labels must agree."""
        pairs = dict(labels)
        fixed = {name: value for name, value in self.rule.labels if "{{" not in value}
        return pairs.get(ALERT_NAME) == self.rule.name and all(pairs.get(name, "") == fixed[name] for name in fixed)

    def annotations_for(self, alert: Labels, value: float, context: TemplateContext) -> Labels:
        """Annotations from an alert's labels alone, for when those it fired with are lost."""
        return tuple((name, template.expand(dict(alert), value, context)) for name, template in self.annotations)

    def notable(self) -> list[ActiveAlert]:
        """The alerts that fire or have resolved lately: what a restart must know."""
        return [alert for alert in self.table.alerts.values() if alert.fired_at_ms is not None]


EvaluatedRule = EvaluatedRecording | EvaluatedAlerting


def evaluated(rule: Rule, engine: QueryEngine, limit: int) -> EvaluatedRule:
    """
    Prepare a rule.

    Raises:
        CollectorError: the engine does not take the expression.
    """
    if isinstance(rule, RecordingRule):
        return EvaluatedRecording(rule, engine.prepare(rule.expr), limit)
    return evaluated_alerting(rule, engine, limit)


def evaluated_alerting(rule: AlertingRule, engine: QueryEngine, limit: int) -> EvaluatedAlerting:
    """As `evaluated`."""
    return EvaluatedAlerting(
        rule,
        engine.prepare(rule.expr),
        AlertTable(for_ms=rule.for_ms, keep_firing_for_ms=rule.keep_firing_for_ms, limit=limit),
        tuple((name, Template.lenient(text, rule.name)) for name, text in rule.labels),
        tuple((name, Template.lenient(text, rule.name)) for name, text in rule.annotations),
    )
