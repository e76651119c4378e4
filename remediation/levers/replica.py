"""One replica is replaced: the one that the alert's labels name, or the worst by a query."""

from __future__ import annotations

import math
from collections.abc import Callable

from remediation.guards import Refusal
from remediation.levers.lever import Move
from remediation.policy.limits import BlastRadius
from remediation.policy.policy import Step
from remediation.scalers.scaler import Scaler
from remediation.workflow.case import Case


class ReplaceLever:
    """
    Args:
        replaced: How many replicas of a service were replaced since a moment, Unix milliseconds.
    """

    reversible = False

    def __init__(self, scaler: Scaler, radius: BlastRadius, replaced: Callable[[str, float], int]) -> None:
        self._scaler = scaler
        self._radius = radius
        self._replaced = replaced

    def aim(self, case: Case, step: Step, now_unix_ms: int) -> Move | Refusal:
        chosen, service = step.replace, case.run.service
        if chosen is None:
            raise ValueError(f"step {step.name!r} replaces no replica")
        replica = case.told(chosen.replica) if chosen.replica else case.worst(chosen.worst or "", chosen.label)
        if not replica:
            return Refusal("telemetry", f"no sample with a label {chosen.label} names the worst replica of {service}")
        ready = self._scaler.get(service).ready
        within_s = self._radius.within
        before = self._replaced(service, now_unix_ms - within_s * 1000)
        allowed = max(1, math.floor(ready * self._radius.replicas))
        if before + 1 > allowed:
            told = f"{replica} would be replica {before + 1} of {ready} replaced within {within_s:g} s"
            return Refusal("blast_radius", f"{told}, limit {allowed}")
        return Move(
            before=replica,
            after=None,
            was=replica,
            becomes="another",
            reason=f"{replica} is replaced; {self._meanwhile(ready)}",
            thing=replica,
        )

    def _meanwhile(self, ready: int) -> str:
        if self._scaler.surges:
            return "another serves before it goes"
        return f"another follows when it goes: of {ready} that are ready, {max(0, ready - 1)} serve meanwhile"

    def pull(self, service: str, move: Move, now_unix_ms: int) -> None:
        """One that started after the intention is another, even under the same name."""
        self._scaler.restart(service, now_unix_ms, move.thing)
