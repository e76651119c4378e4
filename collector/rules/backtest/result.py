"""What a backtest found, for every rule: what it would have done, what today's rule did, what would have been done."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from collector.model.alert import rfc3339
from collector.model.series import Labels
from collector.rules.backtest.replay import Replayed, Window
from collector.rules.backtest.timeline import Episode, Summary, summary

JsonObject = dict[str, object]
# The name of the policy that answers an alert of these labels, if one does.
Answer = Callable[[Mapping[str, str]], str | None]


@dataclass(frozen=True, slots=True)
class Today:
    """What the rule that is compared with did in the same time."""

    source: str  # where that is known from
    episodes: tuple[Episode, ...]


@dataclass(frozen=True, slots=True)
class Result:
    replayed: Replayed
    window: Window
    today: Today | None
    policies: Mapping[Labels, str | None]  # of the alerts that would have fired

    @property
    def summary(self) -> Summary:
        return summary(self.replayed.episodes, self.window.from_ms, self.window.to_ms)

    @property
    def today_summary(self) -> Summary | None:
        return None if self.today is None else summary(self.today.episodes, self.window.from_ms, self.window.to_ms)

    @property
    def remediations(self) -> Counter[str]:
        """How many alerts each policy would have answered: one for every time that one fired."""
        return Counter(policy for episode in self.fired if (policy := self.policies.get(episode.labels)) is not None)

    @property
    def fired(self) -> list[Episode]:
        """Those that began to fire within the window."""
        from_ms = self.window.from_ms
        return [one for one in self.replayed.episodes if one.fired_at_ms is not None and one.fired_at_ms >= from_ms]

    @property
    def same_firings(self) -> tuple[int, int, int] | None:
        """How many firings both have (same labels, same evaluation), only this rule has, only today's has."""
        if self.today is None:
            return None
        ours = {(one.labels, one.fired_at_ms) for one in self.fired}
        theirs = {
            (one.labels, one.fired_at_ms)
            for one in self.today.episodes
            if one.fired_at_ms is not None and one.fired_at_ms >= self.window.from_ms
        }
        return len(ours & theirs), len(ours - theirs), len(theirs - ours)


def title(result: Result) -> str:
    """The rule's name with those of its labels that tell it from its namesakes."""
    rule = result.replayed.rule
    fixed = [pair for pair in rule.labels if pair[0] not in ("severity", "team") and "{{" not in pair[1]]
    labels = ", ".join(f"{name}={value}" for name, value in fixed)
    return f"{rule.name}{{{labels}}}" if labels else rule.name


def as_json(results: Sequence[Result], *, url: str, window: Window, notices: Sequence[str]) -> JsonObject:
    """Times are RFC 3339, durations seconds."""
    return {
        "url": url,
        "from": rfc3339(window.from_ms),
        "to": rfc3339(window.to_ms),
        "notices": list(notices),
        "rules": [_rule(result) for result in results],
    }


def _rule(result: Result) -> JsonObject:
    group, rule, from_ms = result.replayed.group, result.replayed.rule, result.window.from_ms
    same = result.same_firings
    today: JsonObject | None = None
    if result.today is not None and result.today_summary is not None and same is not None:
        today = {
            "source": result.today.source,
            "summary": _summary(result.today_summary),
            "sameFirings": same[0],
            "onlyHere": same[1],
            "onlyToday": same[2],
            "alerts": [_episode(one, None, from_ms) for one in result.today.episodes],
        }
    return {
        "name": rule.name,
        "file": group.file,
        "line": rule.line,
        "group": group.name,
        "query": rule.expr.strip(),
        "labels": dict(rule.labels),
        "for": rule.for_ms / 1000,
        "keepFiringFor": rule.keep_firing_for_ms / 1000,
        "interval": result.replayed.interval_ms / 1000,
        "evaluations": result.replayed.evaluations,
        "errors": [{"error": text, "evaluations": count} for text, count in result.replayed.errors],
        "summary": _summary(result.summary),
        "alerts": [_episode(one, result.policies.get(one.labels), from_ms) for one in result.replayed.episodes],
        "remediations": dict(result.remediations),
        "today": today,
    }


def _summary(one: Summary) -> JsonObject:
    return {
        "pending": one.pending,
        "fired": one.fired,
        "resolved": one.resolved,
        "neverFired": one.never_fired,
        "flaps": one.flaps,
        "firingSeconds": one.firing_ms / 1000,
        "longestSeconds": one.longest_ms / 1000,
    }


def _episode(one: Episode, policy: str | None, from_ms: int) -> JsonObject:
    """What began before the window did so at a time that is not known: the replay begins only just early enough."""
    active_before = one.active_at_ms < from_ms
    fired_before = one.fired_at_ms is not None and one.fired_at_ms < from_ms
    return {
        "labels": dict(one.labels),
        "activeBefore": active_before,
        "activeAt": None if active_before else rfc3339(one.active_at_ms),
        "firedBefore": fired_before,
        "firedAt": None if one.fired_at_ms is None or fired_before else rfc3339(one.fired_at_ms),
        "endedAt": None if one.ended_at_ms is None else rfc3339(one.ended_at_ms),
        "value": one.value if math.isfinite(one.value) else None,
        "policy": policy,
    }
