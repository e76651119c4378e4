"""
When replicas are added and taken away: the decision over time, without a clock or a connection of its own.

Fast out and slow in. What is remembered here lives as long as the process: after a restart the windows fill anew,
which makes it wait longer before it takes anything away, never shorter. What was done is read from the store.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from remediation.policy.autoscaler import Autoscaler, Tracking
from remediation.scalers.scaler import Replicas
from remediation.scaling.recommendation import Recommendation, Told, by_average, by_replica
from remediation.store.record import ScalingHistory

Kind = Literal["out", "in", "hold"]

# How long less must have been enough grows with each time that what was taken away had to be given back.
LONGEST_STABILISATION_S = 3600.0
# Observations further apart leave open what was wanted between them.
LARGEST_GAP_S, LARGEST_GAP_TURNS = 30.0, 3


@dataclass(frozen=True, slots=True)
class Floor:
    """A minimum that holds now, and why: a schedule, a forecast."""

    replicas: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    replicas: Replicas
    # By metric, in the order of the autoscaler's `tracking`: samples by replica, one average, None if nobody knows.
    utilisations: Sequence[Mapping[str, float] | float | None]
    floors: Sequence[Floor] = ()
    history: ScalingHistory


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """`to` differs from `before` unless it holds."""

    kind: Kind
    before: int
    to: int
    reason: str
    wanted: int | None = None  # what telemetry asks for, before windows, steps and bounds; None if unknown
    floor: int = 0


@dataclass(slots=True)
class Controller:
    """Of one service."""

    autoscaler: Autoscaler
    _first_told_s: list[dict[str, float]] = field(default_factory=list)  # by metric, then by replica
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)  # after bounds; from when on
    _observed_s: float = 0.0  # the last observation

    def observe(self, now_s: float, seen: Seen) -> ScalingDecision:
        """
        Remember what is seen, and say what is to be done about it now.

        Args:
            now_s: Unix seconds; going backwards makes the windows begin anew.
        """
        current = seen.replicas.desired
        if current == 0:
            self._wanted.clear()
            return ScalingDecision("hold", 0, 0, "0 replicas are wanted: it is switched off")
        self._begin_anew_after_a_gap(now_s)
        found = [self._recommended(now_s, n, metric, seen) for n, metric in enumerate(self.autoscaler.tracking)]
        wanted, reason = _highest(found, current)
        steady = all(one.replicas is not None and one.steady for one in found)
        minimum, maximum = self._bounds(seen.replicas)
        floor, why_floor = self._floor(seen.floors, minimum, maximum)
        bounded = min(max(current if wanted is None else wanted, floor), maximum)
        if wanted is not None and wanted > maximum:
            reason += f"; {maximum} is the maximum"
        if not steady and bounded <= current:
            # Not remembered: a moment is passed over, and a longer time is a gap, after which the window begins anew.
            reason += "" if wanted is None else "; nothing is taken away on that"
            return ScalingDecision("hold", current, current, reason, wanted, floor)
        self._remember(now_s, bounded)
        made = self._decided(now_s, seen, bounded, floor=floor, why_floor=why_floor, reason=reason)
        return ScalingDecision(made[0], current, made[1], made[2], wanted, floor)

    def _recommended(self, now_s: float, number: int, metric: Tracking, seen: Seen) -> Recommendation:
        told, replicas = seen.utilisations[number], seen.replicas
        while len(self._first_told_s) <= number:
            self._first_told_s.append({})
        if told is None:
            self._first_told_s[number] = {}
            return Recommendation(None, None, "telemetry says nothing of the utilisation")
        if isinstance(told, Mapping):
            before = self._first_told_s[number]
            since = {name: before.get(name, now_s) for name in told}
            self._first_told_s[number] = since
            warm = frozenset(name for name, first_s in since.items() if now_s - first_s >= metric.warm_up)
            return by_replica(metric, Told(told, warm, replicas.ready, replicas.desired))
        changed_ms = seen.history.last_change_unix_ms
        settled = changed_ms is None or now_s - changed_ms / 1000 >= metric.warm_up
        return by_average(metric, told, ready=replicas.ready, desired=replicas.desired, settled=settled)

    def _bounds(self, replicas: Replicas) -> tuple[int, int]:
        maximum = min(replicas.maximum, self.autoscaler.maximum or replicas.maximum)
        return min(max(replicas.minimum, self.autoscaler.minimum), maximum), maximum

    def _floor(self, floors: Sequence[Floor], minimum: int, maximum: int) -> tuple[int, str]:
        highest = max(floors, key=lambda one: one.replicas, default=None)
        if highest is None or highest.replicas <= minimum:
            return minimum, f"the minimum is {minimum}"
        bounded = f", bounded by maximum {maximum}" if highest.replicas > maximum else ""
        return min(highest.replicas, maximum), f"{highest.reason}{bounded}"

    def _decided(
        self, now_s: float, seen: Seen, bounded: int, *, floor: int, why_floor: str, reason: str
    ) -> tuple[Kind, int, str]:
        current, out = seen.replicas.desired, self.autoscaler.scale_out
        if bounded > current:
            lasting = self._extreme(now_s, out.stabilisation, highest=False)
            to = current if lasting is None else min(lasting, current + out.maximum_step)
            if floor > current and to <= floor:
                return "out", floor, why_floor  # at once: it is known and bounded
            if to <= current:
                return "hold", current, f"{reason}; more is wanted, but not for {out.stabilisation:g} s yet"
            return "out", to, reason + (f"; {to} at once" if to < bounded else "")
        if bounded < current:
            return self._inwards(now_s, seen, floor=floor, why_floor=why_floor, reason=reason)
        return "hold", current, reason if current > floor else f"{reason}; {why_floor}"

    def _inwards(self, now_s: float, seen: Seen, *, floor: int, why_floor: str, reason: str) -> tuple[Kind, int, str]:
        rules, current, history = self.autoscaler.scale_in, seen.replicas.desired, seen.history
        window_s = self._stabilisation(history)
        why = f"{window_s:g} s" + (
            f", longer since {history.given_back} times it was too little" * bool(history.given_back)
        )
        highest = self._extreme(now_s, window_s, highest=True)
        if highest is None:
            return "hold", current, f"{reason}; less is not known to have been enough for {why}"
        if highest >= current:
            return "hold", current, f"{reason}; {highest} were wanted within {why}"
        changed_ms = history.last_change_unix_ms
        if changed_ms is not None and now_s - changed_ms / 1000 < rules.cooldown:
            return "hold", current, f"{reason}; the replicas were changed less than {rules.cooldown:g} s ago"
        radius = self.autoscaler.guards.blast_radius
        peak = max(history.peak_in_window, current)
        left = peak - max(1, math.floor(peak * radius.replicas))
        to = max(highest, floor, current - rules.maximum_step, left)
        if to >= current:
            return "hold", current, f"{reason}; {peak - current} of {peak} were taken away within {radius.within:g} s"
        kept = f"; {why_floor}" if to == floor else ""
        return "in", to, f"{reason}; at most {highest} were wanted for {why}{kept}"

    # The window

    def _stabilisation(self, history: ScalingHistory) -> float:
        stated = self.autoscaler.scale_in.stabilisation
        return max(stated, min(stated * 2.0 ** min(history.given_back, 32), LONGEST_STABILISATION_S))

    def _remember(self, now_s: float, wanted: int) -> None:
        self._observed_s = now_s
        if not self._wanted or self._wanted[-1][1] != wanted:
            self._wanted.append((now_s, wanted))
        longest_s = max(LONGEST_STABILISATION_S, self.autoscaler.scale_in.stabilisation)
        longest_s = max(longest_s, self.autoscaler.scale_out.stabilisation)
        # The one that held when the longest window began is kept.
        while len(self._wanted) > 1 and now_s - self._wanted[1][0] >= longest_s:
            self._wanted.popleft()

    def _extreme(self, now_s: float, window_s: float, *, highest: bool) -> int | None:
        """Of what was wanted in the window; None if nobody looked when the window began."""
        if now_s - self._wanted[0][0] < window_s:
            return None
        values = [self._wanted[-1][1]]
        for (_, wanted), (until_s, _) in zip(list(self._wanted)[-2::-1], list(self._wanted)[:0:-1], strict=True):
            if now_s - until_s >= window_s:
                break
            values.append(wanted)
        return max(values) if highest else min(values)

    def _begin_anew_after_a_gap(self, now_s: float) -> None:
        gap_s = now_s - self._observed_s
        if gap_s < 0:  # the clock was set back
            self._first_told_s.clear()
        if not 0 <= gap_s <= max(LARGEST_GAP_S, LARGEST_GAP_TURNS * self.autoscaler.every):
            self._wanted.clear()


def _highest(found: Sequence[Recommendation], current: int) -> tuple[int | None, str]:
    """The metric that wants most decides; where one is unknown, the others can only add."""
    known = [(one.replicas, one.reason) for one in found if one.replicas is not None]
    unknown = next((one for one in found if one.replicas is None), None)
    if not known:
        return None, unknown.reason if unknown else "nothing is tracked"
    wanted, reason = max(known, key=lambda one: one[0])
    if unknown is not None and wanted < current:
        return current, f"{reason}, but {unknown.reason}"
    return wanted, reason
