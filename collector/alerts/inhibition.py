"""
Which firing alerts keep others from being told.

Source: alertmanager/inhibit/inhibit.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from collector.alerts.matchers import Predicate, matches_all
from collector.alerts.route_config import InhibitRule
from collector.model.alert import Alert
from collector.model.series import Labels

_EqualValues = tuple[str, ...]


class _Rule:
    """One rule with its source alerts, by their values of the labels that must be equal."""

    def __init__(self, rule: InhibitRule) -> None:
        self.is_source: Predicate = matches_all(rule.source)
        self.is_target: Predicate = matches_all(rule.target)
        self._equal = rule.equal
        self._sources: dict[_EqualValues, dict[Labels, Alert]] = {}

    def observe(self, alert: Alert, pairs: Mapping[str, str]) -> None:
        if self.is_source(pairs):
            self._sources.setdefault(self._key(pairs), {})[alert.labels] = alert

    def forget(self, labels: Labels, pairs: Mapping[str, str]) -> None:
        key = self._key(pairs)
        if (sources := self._sources.get(key)) is not None:
            sources.pop(labels, None)
            if not sources:
                del self._sources[key]

    def inhibiting(self, pairs: Mapping[str, str], now_ms: int) -> Iterable[Alert]:
        """The firing sources; for a target that is a source itself, those that are targets do not count."""
        if not self.is_target(pairs):
            return
        two_sided = self.is_source(pairs)
        for source in self._sources.get(self._key(pairs), {}).values():
            if not source.resolved_at(now_ms) and not (two_sided and self.is_target(dict(source.labels))):
                yield source

    def _key(self, pairs: Mapping[str, str]) -> _EqualValues:
        return tuple(pairs.get(name, "") for name in self._equal)


class Inhibitor:
    """Told of every alert that is taken or forgotten, it answers from an index, whatever the number of alerts."""

    def __init__(self, rules: Iterable[InhibitRule]) -> None:
        self._rules = [_Rule(rule) for rule in rules]

    def observe(self, alert: Alert) -> None:
        if self._rules:
            pairs = dict(alert.labels)
            for rule in self._rules:
                rule.observe(alert, pairs)

    def forget(self, labels: Labels) -> None:
        if self._rules:
            pairs = dict(labels)
            for rule in self._rules:
                rule.forget(labels, pairs)

    def inhibited_by(self, labels: Labels, now_ms: int) -> list[str]:
        """Fingerprints of the alerts that inhibit one of these labels; empty: it is not inhibited."""
        pairs = dict(labels)
        sources = {source.labels: source for rule in self._rules for source in rule.inhibiting(pairs, now_ms)}
        return [source.fingerprint for source in sources.values()]
