"""What rule groups say of themselves on /metrics, under Prometheus's own names (rules/group.go, NewGroupMetrics)."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Gauge, Summary

_GROUP = ["rule_group"]

EVALUATIONS = Counter("prometheus_rule_evaluations", "Rule evaluations.", _GROUP)
EVALUATION_FAILURES = Counter("prometheus_rule_evaluation_failures", "Rule evaluations that failed.", _GROUP)
ITERATIONS = Counter("prometheus_rule_group_iterations", "Scheduled group evaluations, missed ones too.", _GROUP)
ITERATIONS_MISSED = Counter(
    "prometheus_rule_group_iterations_missed", "Group evaluations left out because one was slow.", _GROUP
)
EVALUATION_DURATION = Summary("prometheus_rule_evaluation_duration_seconds", "How long a rule's evaluation took.")
GROUP_DURATION = Summary("prometheus_rule_group_duration_seconds", "How long a group's evaluation took.")
LAST_EVALUATION = Gauge(
    "prometheus_rule_group_last_evaluation_timestamp_seconds", "When a group was last evaluated.", _GROUP
)
LAST_DURATION = Gauge("prometheus_rule_group_last_duration_seconds", "How long a group's last evaluation took.", _GROUP)
LAST_RULE_DURATION_SUM = Gauge(
    "prometheus_rule_group_last_rule_duration_sum_seconds",
    "Sum of the rules' times in the last evaluation.",
    _GROUP,
)
LAST_SAMPLES = Gauge("prometheus_rule_group_last_evaluation_samples", "Samples of the last evaluation.", _GROUP)
INTERVAL = Gauge("prometheus_rule_group_interval_seconds", "How often a group is to be evaluated.", _GROUP)
RULES = Gauge("prometheus_rule_group_rules", "Rules of a group.", _GROUP)
RELOAD_SUCCESSFUL = Gauge(
    "prometheus_config_last_reload_successful", "Whether the rule files as they stand on disk are in force."
)
RELOAD_TIME = Gauge(
    "prometheus_config_last_reload_success_timestamp_seconds", "When rule files were last taken into force."
)

# Counters are created when a group is, so that a rate over them knows where they began.
_OF_GROUPS: tuple[Any, ...] = (
    EVALUATIONS,
    EVALUATION_FAILURES,
    ITERATIONS,
    ITERATIONS_MISSED,
    LAST_EVALUATION,
    LAST_DURATION,
    LAST_RULE_DURATION_SUM,
    LAST_SAMPLES,
    INTERVAL,
    RULES,
)


def introduce(group: str, *, interval_s: float, rules: int) -> None:
    """A group is in force."""
    for metric in _OF_GROUPS:
        metric.labels(group)
    INTERVAL.labels(group).set(interval_s)
    RULES.labels(group).set(rules)


def forget(group: str) -> None:
    """A group is gone: its series end with it."""
    for metric in _OF_GROUPS:
        if (group,) in metric._metrics:  # noqa: SLF001  (remove() of what is not there raises)
            metric.remove(group)
