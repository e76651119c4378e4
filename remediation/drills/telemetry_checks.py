"""Checks of what telemetry says: a query's samples, how far they have changed, alerts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from remediation.drills.bounds import Bounds, Check, SomeBounds, number
from remediation.drills.facts import UNREAD, Facts, Judgement

LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Matchers = Annotated[dict[LabelName, str], Field(min_length=1)]


class PromQL(Bounds):
    promql: str

    @property
    def wanted(self) -> str:
        return f"{self.promql} {self.bounds_in_words() or 'to give a sample'}"

    def query(self, variables: Mapping[str, float]) -> str:
        text = self.promql
        for name in sorted(variables, key=len, reverse=True):
            text = text.replace(f"${name}", repr(variables[name]))
        return text

    def judge(self, facts: Facts) -> Judgement:
        query = self.query(facts.baseline.variables)
        if query not in facts.now.samples:
            return UNREAD
        values = facts.now.samples[query]
        if not values:
            return Judgement(False, "no sample")
        if not self.bounds():
            return Judgement(True, number(values[0]), values[0])
        wrong = [value for value in values if not self.within_bounds(value)]
        shown = wrong[0] if wrong else values[0]
        return Judgement(not wrong, number(shown), None if math.isnan(shown) else shown)


class ChangeOf(SomeBounds):
    promql: Annotated[str, Field(min_length=1, max_length=4000)]

    @property
    def wanted(self) -> str:
        return f"the change of {self.promql} since the injection {self.bounds_in_words()}"

    def judge(self, facts: Facts) -> Judgement:
        if self.promql not in facts.now.samples:
            return UNREAD
        values = facts.now.samples[self.promql]
        if not values:
            return Judgement(False, "no sample")
        change = values[0] - facts.baseline.values.get(self.promql, 0.0)  # what did not exist had counted nothing
        return Judgement(self.within_bounds(change), f"{change:+.4g}", change)


class AlertCheck(Check):
    labels: Matchers
    want: Literal["firing", "resolved", "absent"]

    @property
    def wanted(self) -> str:
        return f"{alert_name(self.labels)} {self.want}"

    def judge(self, facts: Facts) -> Judgement:
        if facts.now.alerts is None:
            return UNREAD
        states = {alert.state for alert in facts.now.alerts if alert.matches(self.labels)}
        seen = "firing" if "firing" in states else "pending" if states else "inactive"
        holds = {"firing": seen == "firing", "resolved": seen != "firing", "absent": seen == "inactive"}[self.want]
        return Judgement(holds, seen)


def alert_name(labels: Mapping[str, str]) -> str:
    """As Prometheus writes a series: `HighRequestLatency{service="catalog"}`."""
    rest = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "alertname")
    return labels.get("alertname", "") + (f"{{{rest}}}" if rest else "")
