"""What a check may look at, and what it says of it. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from remediation.drills.observation import Observation, Remediation, Service


class Judgement(NamedTuple):
    holds: bool | None  # None: what was needed could not be read this time
    got: str  # what was seen, for the reader
    value: float | None = None  # the number behind `got`, where there is one


UNREAD = Judgement(None, "no answer")


@dataclass(frozen=True, slots=True)
class Baseline:
    """How things stood just before the injection."""

    desired: Mapping[str, int] = field(default_factory=dict)  # by service
    remediation_ids: frozenset[str] = frozenset()
    variables: Mapping[str, float] = field(default_factory=dict)  # for PromQL, by name without the dollar
    pids: Mapping[str, int] = field(default_factory=dict)  # by process
    values: Mapping[str, float] = field(default_factory=dict)  # by PromQL text


class Mark(NamedTuple):
    """How far a service's actions had come at an event."""

    actions: int
    desired: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a check may look at."""

    now: Observation
    baseline: Baseline
    scale_outs: Mapping[str, int] = field(default_factory=dict)  # since the injection, by service
    mark: Mapping[str, Mark] = field(default_factory=dict)  # at the expectation's `after` event, by service

    def begun(self, service: str) -> list[Remediation] | None:
        """The service's remediations that began since the injection; None if they could not be read."""
        if self.now.remediations is None:
            return None
        known = self.baseline.remediation_ids
        return [each for each in self.now.remediations if each.service == service and each.id not in known]

    def service(self, name: str) -> Service | None:
        return None if self.now.services is None else self.now.services.get(name)


def mark(facts: Facts) -> dict[str, Mark]:
    """How far the actions on each service have come. Empty if this observation cannot tell."""
    if facts.now.services is None or facts.now.remediations is None:
        return {}
    return {
        name: Mark(sum(len(each.actions) for each in facts.begun(name) or ()), service.desired)
        for name, service in facts.now.services.items()
    }
