"""What a rule file says, as values: groups of alerting and recording rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from collector.model.series import Labels


@dataclass(frozen=True, slots=True)
class RecordingRule:
    name: str  # the metric that it records
    expr: str
    labels: Labels  # put on every recorded series; an empty value removes the label
    line: int = field(compare=False)  # of the rule file, from 1; a moved rule is still the same rule


@dataclass(frozen=True, slots=True)
class AlertingRule:
    name: str  # the alertname
    expr: str
    labels: Labels  # templates; an empty value removes the label
    annotations: Labels  # templates
    line: int = field(compare=False)  # of the rule file, from 1; a moved rule is still the same rule
    for_ms: int = 0  # how long the expression must hold before the alert fires
    keep_firing_for_ms: int = 0  # how long the alert fires on after the expression ceased to hold


Rule = RecordingRule | AlertingRule


@dataclass(frozen=True, slots=True)
class RuleGroupSpec:
    name: str
    file: str
    rules: tuple[Rule, ...]  # evaluated in this order
    interval_ms: int | None = None  # None: the manager's own
    limit: int = 0  # series or alerts that one rule may yield; 0: any number
    query_offset_ms: int = 0  # how far in the past expressions are evaluated
    labels: Labels = ()  # defaults for the labels of every rule, merged into them already

    @property
    def key(self) -> str:
        """Unique among all loaded groups (rules/manager.go, GroupKey)."""
        return f"{self.file};{self.name}"
