"""Back to the last version that served well: which one that is, and when a rollback is no answer at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from remediation.errors import TemporaryScalerError
from remediation.guards import Refusal
from remediation.levers.lever import Controls, Move
from remediation.policy.levers import Rollback
from remediation.policy.policy import Step
from remediation.workflow.case import Case

# Who deployed, as the history has it. What this worker left was no good, what it went back to is not left again.
BY = "remediation"
SCRAPE_MS = 1000  # when the next version was asked for, a scrape of the old one may have been this old


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One deploy of the history; moments in Unix milliseconds."""

    version: str
    by: str
    at_unix_ms: int
    serving_unix_ms: int | None
    left_unix_ms: int | None

    @classmethod
    def of(cls, entry: Any) -> Served:
        return cls(**{name: entry[name] for name in cls.__slots__})

    @property
    def served_s(self) -> float:
        """How long it served before another was deployed."""
        if self.serving_unix_ms is None or self.left_unix_ms is None:
            return 0.0
        return (self.left_unix_ms - self.serving_unix_ms) / 1000


def suspected(
    history: Sequence[Served], rollback: Rollback, *, service: str, alert_unix_ms: int | None, now_unix_ms: int
) -> Refusal | None:
    """
    Why the version in force is not what ails the service; None if it may be.

    Args:
        history: Newest first, not empty.
        alert_unix_ms: When the alert began, if anybody said.
    """
    current = history[0]
    ago_s = (now_unix_ms - current.at_unix_ms) / 1000
    if len(history) == 1:
        return Refusal("recent_deploy", f"{service} has had no version but {current.version}")
    if current.by == BY:
        return Refusal("recent_deploy", f"{service} was brought back to {current.version} already, {ago_s:.0f} s ago")
    if ago_s > rollback.deployed_within:
        told = f"{service} has {current.version} for {ago_s:.0f} s, limit {rollback.deployed_within:g} s"
        return Refusal("recent_deploy", f"{told}: what has served for so long is not what ails it")
    if alert_unix_ms is not None and alert_unix_ms < current.at_unix_ms:
        return Refusal("recent_deploy", f"the alert fired before {current.version} of {service} was deployed")
    return None


def candidates(history: Sequence[Served], rollback: Rollback) -> Iterator[Served]:
    """Earlier versions, the latest first, that served for long enough and were not left by this worker."""
    left_for_good = {one.version for later, one in itertools.pairwise(history) if later.by == BY}
    seen = {history[0].version}
    for one in history[1:]:
        if one.version in seen or one.version in left_for_good or one.served_s < rollback.served_for:
            continue
        seen.add(one.version)
        yield one


def last_good(
    history: Sequence[Served], rollback: Rollback, served_well: Callable[[Served], bool], *, service: str
) -> Served | Refusal:
    tried = []
    for one in candidates(history, rollback):
        if served_well(one):
            return one
        tried.append(one.version)
    told = f", and telemetry does not say that {', '.join(tried)} served well" if tried else ""
    reason = f"no earlier version of {service} served for {rollback.served_for:g} s and was left by somebody else"
    return Refusal("no_good_version", reason + told)


class RollbackLever:
    reversible = True

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def aim(self, case: Case, step: Step, now_unix_ms: int) -> Move | Refusal:
        rollback, service = step.rollback, case.run.service
        if rollback is None:
            raise ValueError(f"step {step.name!r} does not roll back")
        history = self._history(service)
        alert_unix_ms = case.alert_started_unix_ms
        refusal = suspected(history, rollback, service=service, alert_unix_ms=alert_unix_ms, now_unix_ms=now_unix_ms)
        if refusal is not None:
            return refusal

        def served_well(one: Served) -> bool:
            at_unix_ms = (one.left_unix_ms or now_unix_ms) - SCRAPE_MS
            return case.condition_held(rollback.served_well, at_unix_ms / 1000)

        good = last_good(history, rollback, served_well, service=service)
        if isinstance(good, Refusal):
            return good
        current = history[0].version
        ago_s = (now_unix_ms - history[0].at_unix_ms) / 1000
        reason = f"{current} was deployed {ago_s:.0f} s ago; {good.version} served well for {good.served_s:.0f} s"
        return Move(before=current, after=good.version, was=current, becomes=good.version, reason=reason)

    def _history(self, service: str) -> list[Served]:
        answer = self._controls.control(service, "version")
        try:
            history = [Served.of(entry) for entry in answer["history"]]
        except (KeyError, TypeError) as error:
            raise TemporaryScalerError(f"versions of {service}: unexpected answer: {error!r}") from error
        if not history:
            raise TemporaryScalerError(f"versions of {service}: the history is empty")
        return history

    def pull(self, service: str, move: Move, now_unix_ms: int) -> None:
        body = {"version": move.after, "expected": move.before, "by": BY, "reason": move.reason[:1000]}
        self._controls.set_control(service, "version", body)
