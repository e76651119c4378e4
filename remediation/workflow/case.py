"""One run's case: its alert, its policy as it was when the run began, and the queries made from both."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

from remediation.errors import TelemetryError
from remediation.policy.adjustment import adjusted
from remediation.policy.policy import Policy, Scale, Verify
from remediation.policy.template import Values, render, render_promql
from remediation.prometheus import AlertCondition, Prometheus, Sample, holds, single
from remediation.store.record import Finding, Run
from remediation.watch import Condition

# Most series that the record keeps of one query: enough to see who is slow, not a dump.
MAX_EVIDENCE_SERIES = 20
CRITICAL_PATH = "critical path"  # the finding whose query is a trace's id
REQUESTED_BY = "requested_by"  # annotation of a run that a person asked for, whose labels need not be complete


class Case:
    """Asks Prometheus; changes nothing. The rule's expression is looked up once and kept."""

    def __init__(self, run: Run, prometheus: Prometheus) -> None:
        alert = json.loads(run.alert_json)
        self.run = run
        self.policy = Policy.model_validate_json(run.policy_json)
        self.labels: dict[str, str] = alert["labels"]
        self._values = Values(labels=self.labels, annotations=alert["annotations"], target=run.service)
        self._starts_at = alert.get("startsAt")
        self._partial = REQUESTED_BY in alert["annotations"]
        self._prometheus = prometheus
        self._conditions: list[AlertCondition] | None = None

    def rendered(self, query: str) -> str:
        return render_promql(query, self._values)

    def told(self, template: str) -> str:
        """
        Prose, a request's body, or a command's argument.

        Raises:
            TemplateError: the alert has no such label or annotation.
        """
        return render(template, self._values)

    def number(self, query: str) -> float | None:
        """
        Raises:
            TelemetryError: Prometheus could not answer.
        """
        return single(self._prometheus.query(self.rendered(query)))

    def wanted(self, scale: Scale, current: int) -> float | None:
        """
        Replicas that a step wants of `current`; None if its query returns nothing that can be acted on.

        Raises:
            TelemetryError: as `number`.
        """
        value = self.number(scale.basis)
        if value is None or scale.threshold is None:
            return value
        return float(adjusted(scale.steps, value - scale.threshold, current))

    def condition_holds(self, query: str | None) -> bool:
        """Whether `query` returns something and no NaN; no query holds always."""
        return query is None or holds(self._prometheus.query(self.rendered(query)))

    def condition_held(self, query: str, at_s: float) -> bool:
        """As `condition_holds`, at an earlier time, Unix seconds."""
        return holds(self._prometheus.query(self.rendered(query), at_s))

    def worst(self, query: str, label: str) -> str | None:
        """That label of the query's largest sample; None if no sample has it."""
        samples = [
            one
            for one in self._prometheus.query(self.rendered(query))
            if label in one.labels and one.value == one.value
        ]
        return max(samples, key=lambda one: one.value).labels[label] if samples else None

    @property
    def alert_started_unix_ms(self) -> int | None:
        """As its sender says; None if nobody said, as when a person began the run."""
        try:
            return round(dt.datetime.fromisoformat(self._starts_at).timestamp() * 1000)
        except (TypeError, ValueError):
            return None

    def telemetry_present(self) -> bool:
        return self.condition_holds(self.policy.guards.telemetry)

    def alert_condition(self) -> Condition:
        """
        Whether the alert rule's own expression still returns this alert. Without telemetry nobody knows: an expression
        over missing series returns nothing too.
        """
        try:
            if not self.telemetry_present():
                return Condition.UNKNOWN
            conditions = self._looked_up()
            if not conditions:
                return Condition.UNKNOWN
            for condition in conditions:
                if condition.returns(self._prometheus.query(condition.expression), self.labels, partial=self._partial):
                    return Condition.FIRING
        except TelemetryError:
            return Condition.UNKNOWN
        return Condition.OVER

    def _looked_up(self) -> list[AlertCondition]:
        if not self._conditions:
            named = self._prometheus.conditions(self.run.alertname)
            self._conditions = [
                condition for condition in named if condition.applies_to(self.labels, partial=self._partial)
            ]
        return self._conditions

    def verified(self, verify: Verify) -> Condition:
        """OVER when everything that `verify` asks for holds now."""
        condition = self.alert_condition() if verify.alert_over else Condition.OVER
        if condition is not Condition.OVER or verify.query is None:
            return condition
        try:
            return Condition.OVER if self.condition_holds(verify.query) else Condition.FIRING
        except TelemetryError:
            return Condition.UNKNOWN

    def findings(self, key: str) -> list[Finding]:
        """
        The policy's evidence by query, and the rule's expression; what cannot be had is a finding as well. `value` is a
        number, for several series {"{label=…}": number}, None for no sample, a text for an error.
        """
        wanted = [(one.name, self.rendered(one.query)) for one in self.policy.evidence if one.query]
        try:
            wanted += [("the alert's expression", condition.expression) for condition in self._looked_up()]
        except TelemetryError as error:
            return [
                *self._asked(key, wanted),
                Finding(f"{key}:rules", "the alert's expression", "", f"no answer: {error}"),
            ]
        return self._asked(key, wanted)

    def _asked(self, key: str, wanted: list[tuple[str, str]]) -> list[Finding]:
        return [
            Finding(f"{key}:{number}", name, query, self._value(query)) for number, (name, query) in enumerate(wanted)
        ]

    def _value(self, query: str) -> Any:
        try:
            return _told(self._prometheus.query(query))
        except TelemetryError as error:
            return f"no answer: {error}"

    def traces(self, key: str, now_s: float, window_s: float = 60.0) -> list[Finding]:
        """
        The policy's evidence by exemplars: ids of the traces behind the largest ones of the last minute, and what the
        first one's time went into.
        """
        found = []
        for number, evidence in enumerate(self.policy.evidence):
            if evidence.exemplars:
                selector = self.rendered(evidence.exemplars)
                ids = self._prometheus.exemplar_traces(selector, start_s=now_s - window_s, end_s=now_s)
                found.append(Finding(f"{key}:traces:{number}", evidence.name, selector, ids))
                if path := self._prometheus.critical_path(ids[0]) if ids else {}:
                    found.append(Finding(f"{key}:path:{number}", CRITICAL_PATH, ids[0], path))
        return found


def _told(samples: list[Sample]) -> Any:
    if not samples:
        return None
    if len(samples) == 1:
        return _json_number(samples[0].value)
    return {
        "{" + ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items())) + "}": _json_number(
            sample.value
        )
        for sample in samples[:MAX_EVIDENCE_SERIES]
    }


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has no NaN
