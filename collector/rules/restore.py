"""
Alerts as they stood before a restart.

When each became active, began to fire and was last seen is read from the series ALERTS_FOR_STATE and ALERTS of the
metric store, as Prometheus does. What series cannot say (annotations, the value, which of several like-named rules)
comes from a small file; without it, annotations are expanded anew.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collector.model.alert import ALERT_NAME
from collector.model.series import METRIC_NAME, Labels, Matcher, MatchOp, SeriesSource, is_absent, is_stale, labels_of
from collector.rules.alert_state import RESOLVED_RETENTION_MS, ActiveAlert, AlertState
from collector.rules.evaluated_rule import ALERT_STATE, ALERTS, ALERTS_FOR_STATE, EvaluatedAlerting, EvaluatedRecording
from collector.rules.group import RuleGroup

logger = logging.getLogger(__name__)

OUTAGE_TOLERANCE_MS = 3600 * 1000  # older state is no longer believed (Prometheus, --rules.alert.for-outage-tolerance)
LOOKBACK_MS = 300_000  # how far back queries find a series (Prometheus, --query.lookback-delta)
FILE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the state file holds of an alert beside its labels."""

    group: str  # RuleGroupSpec.key
    rule: int  # position in the group, from 0
    annotations: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Run:
    """The last unbroken run of a series. Times in Unix milliseconds."""

    first_ms: int
    last_ms: int
    value: float  # the last one
    ended_ms: int | None  # of the staleness marker, if the run was ended


def last_run(timestamps_ms: NDArray[np.int64], values: NDArray[np.float64]) -> Run | None:
    """The run that the samples end with, or that their last staleness marker ended; None if there is none."""
    present = ~is_absent(values)
    times, kept = timestamps_ms[present], values[present]
    stale = np.flatnonzero(is_stale(kept))
    ended_ms = None
    while len(stale) and len(kept) and stale[-1] == len(kept) - 1:
        ended_ms = int(times[-1])
        times, kept, stale = times[:-1], kept[:-1], stale[:-1]
    if not len(kept):
        return None
    first = int(stale[-1]) + 1 if len(stale) else 0
    return Run(int(times[first]), int(times[-1]), float(kept[-1]), ended_ms)


def _runs(source: SeriesSource, matchers: Sequence[Matcher], min_ms: int, max_ms: int) -> Iterator[tuple[Labels, Run]]:
    for block in source.select(matchers, min_ms=min_ms, max_ms=max_ms):
        for labels, values in zip(block.labels, block.values, strict=True):
            run = last_run(block.timestamps_ms, values)
            if run is not None:
                kept = {name: value for name, value in labels if name not in (METRIC_NAME, ALERT_STATE)}
                yield labels_of(kept), run


def read_alerts(source: SeriesSource, now_ms: int) -> list[ActiveAlert]:
    """
    The alerts that the store knows: pending or firing ones not older than the outage tolerance, and those that resolved
    within the retention. Annotations are empty and values NaN.
    """
    since_ms = now_ms - OUTAGE_TOLERANCE_MS
    named = Matcher(METRIC_NAME, MatchOp.EQUAL, ALERTS_FOR_STATE)
    states = {labels: run for labels, run in _runs(source, [named], since_ms, now_ms) if run.ended_ms is None}
    # An alert may have begun to fire long before; its series goes back to then.
    begun_ms = min([since_ms, *(int(run.value) * 1000 for run in states.values())])
    firing_matchers = [Matcher(METRIC_NAME, MatchOp.EQUAL, ALERTS), Matcher(ALERT_STATE, MatchOp.EQUAL, "firing")]
    firing = dict(_runs(source, firing_matchers, begun_ms, now_ms))
    alerts = []
    for labels, state in states.items():
        alert = ActiveAlert(labels, (), math.nan, int(state.value) * 1000, unseen_since_ms=state.last_ms)
        run = firing.get(labels)
        if run is not None and run.ended_ms is None:
            alert.state, alert.fired_at_ms = AlertState.FIRING, run.first_ms
        alerts.append(alert)
    for labels, run in firing.items():
        if labels not in states and run.ended_ms is not None and now_ms - run.ended_ms <= RESOLVED_RETENTION_MS:
            alerts.append(
                ActiveAlert(labels, (), run.value, run.first_ms, AlertState.INACTIVE, run.first_ms, run.ended_ms)
            )
    return alerts


def restore(groups: Iterable[RuleGroup], source: SeriesSource, path: Path, *, now_ms: int, doubt_until_ms: int) -> int:
    """Give the groups' rules their alerts back. Returns how many were restored."""
    remembered = read_file(path)
    rules: Candidates = {}
    owned: dict[int, tuple[EvaluatedAlerting, list[ActiveAlert]]] = {}
    by_key = {group.spec.key: group for group in groups}
    for group in by_key.values():
        for position, one in enumerate(group.rules):
            if isinstance(one, EvaluatedAlerting):
                rules.setdefault(one.rule.name, []).append((group, position, one))
    count = 0
    for alert in read_alerts(source, now_ms):
        memory = remembered.get(alert.labels)
        owner = _owner(alert, memory, rules)
        if owner is None:
            continue  # its rule is gone
        group, rule = owner
        if memory is not None:
            alert.annotations, alert.value = memory.annotations, memory.value
        else:
            alert.annotations = rule.annotations_for(alert.labels, alert.value, group.context(now_ms))
        owned.setdefault(id(rule), (rule, []))[1].append(alert)
        count += 1
    for rule, alerts in owned.values():
        rule.table.restore(alerts, doubt_until_ms=doubt_until_ms)
        rule.written = frozenset().union(*(rule.series_of(alert) for alert in alerts if alert.resolved_at_ms is None))
    for group in by_key.values():
        _restore_recorded(group, source, now_ms)
    return count


def _restore_recorded(group: RuleGroup, source: SeriesSource, now_ms: int) -> None:
    """
    What recording rules wrote last, so that what is gone since is marked as gone.

    Otherwise a value from before the restart would be looked back to for minutes, and could fire an alert.
    """
    for rule in group.rules:
        if isinstance(rule, EvaluatedRecording):
            named = [Matcher(METRIC_NAME, MatchOp.EQUAL, rule.rule.name)]
            rule.written = frozenset(
                labels
                for block in source.select(named, min_ms=now_ms - LOOKBACK_MS, max_ms=now_ms)
                for labels, values in zip(block.labels, block.values, strict=True)
                if (run := last_run(block.timestamps_ms, values)) and run.ended_ms is None and rule.may_own(labels)
            )


Candidates = dict[str, list[tuple[RuleGroup, int, EvaluatedAlerting]]]  # by alert name, with positions in the group


def _owner(
    alert: ActiveAlert, memory: Remembered | None, rules: Candidates
) -> tuple[RuleGroup, EvaluatedAlerting] | None:
    name = dict(alert.labels).get(ALERT_NAME, "")
    candidates = [one for one in rules.get(name, []) if one[2].may_own(alert.labels)]
    if memory is not None:
        # The remembered rule comes first, then others of its group.
        candidates.sort(key=lambda one: (one[0].spec.key != memory.group, one[1] != memory.rule))
    return next(((group, rule) for group, _, rule in candidates), None)


def read_file(path: Path) -> dict[Labels, Remembered]:
    """What the file remembers, by alert labels; nothing if it is missing or unreadable, which is logged."""
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != FILE_VERSION:
            raise ValueError(f"version {document['version']} is not {FILE_VERSION}")
        return {
            labels_of(item["labels"]): Remembered(
                item["group"], item["rule"], tuple(item["annotations"].items()), float(item["value"])
            )
            for item in document["alerts"]
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("alert state file %s is left aside: %r", path, error)
        return {}


def file_content(groups: Iterable[RuleGroup]) -> bytes:
    alerts = [
        {
            "group": group.spec.key,
            "rule": position,
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "value": repr(alert.value),
        }
        for group in groups
        for position, rule in enumerate(group.rules)
        if isinstance(rule, EvaluatedAlerting)
        for alert in rule.notable()
    ]
    return json.dumps({"version": FILE_VERSION, "alerts": alerts}).encode()
