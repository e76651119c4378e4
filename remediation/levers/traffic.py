"""Traffic away from a zone that ails, and customers' requests held off at the edge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from remediation.errors import TemporaryScalerError
from remediation.guards import Refusal
from remediation.levers.lever import Controls, Move
from remediation.policy.levers import ShiftTraffic
from remediation.policy.policy import Step
from remediation.workflow.case import Case

WHOLE = 100  # the weight of a zone that nothing is taken from


def shifted(shift: ShiftTraffic, zone: str, ready: Mapping[str, int], *, service: str) -> dict[str, int] | Refusal:
    """
    Weights by zone.

    Args:
        ready: Serving replicas by zone.
    """
    if zone not in ready:
        known = ", ".join(ready) or "none"
        return Refusal("zone", f"{service} has no zone {zone!r}; there are: {known}")
    total, leaving = sum(ready.values()), ready[zone]
    if total == leaving:
        return Refusal("blast_radius", f"no other zone of {service} than {zone} has a replica that serves")
    share = leaving / total * (WHOLE - shift.weight) / WHOLE
    if share > shift.largest_share:
        told = f"{zone} has {leaving} of {total} replicas of {service}: taking {share:.0%} of the capacity away"
        return Refusal("blast_radius", f"{told} is over the limit of {shift.largest_share:.0%}")
    return {name: shift.weight if name == zone else WHOLE for name in ready}


class TrafficLever:
    reversible = True

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def aim(self, case: Case, step: Step, now_unix_ms: int) -> Move | Refusal:
        shift, service = step.shift_traffic, case.run.service
        if shift is None:
            raise ValueError(f"step {step.name!r} does not shift traffic")
        now, zone = self._controls.control(service, "traffic"), case.told(shift.away_from)
        try:
            before = dict(now["weights"])
            ready = {str(name): int(count) for name, count in now["zones"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TemporaryScalerError(f"traffic of {service}: unexpected answer: {error!r}") from error
        weights = shifted(shift, zone, ready, service=service)
        if isinstance(weights, Refusal):
            return weights
        if weights == before:
            return Refusal("not_needed", f"the weights of {service} are {_words(before)} already")
        after = {"weights": weights, "until_unix_ms": now_unix_ms + round(shift.for_ * 1000)}
        reason = f"away from {zone}, for {shift.for_:g} s; replicas that serve: {_words(ready)}"
        return Move(
            before={"weights": before, "until_unix_ms": now.get("until_unix_ms")},
            after=after,
            was=_words(before),
            becomes=_words(weights),
            reason=reason,
        )

    def pull(self, service: str, move: Move, now_unix_ms: int) -> None:
        self._controls.set_control(service, "traffic", {**move.after, "expected": move.before["weights"]})


class ShedLever:
    reversible = True

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def aim(self, case: Case, step: Step, now_unix_ms: int) -> Move | Refusal:
        shed, service = step.shed_load, case.run.service
        if shed is None:
            raise ValueError(f"step {step.name!r} sheds no load")
        wanted = case.number(shed.requests_per_second)
        if wanted is None or not math.isfinite(wanted) or wanted <= 0:
            return Refusal("telemetry", f"the query for the rate of {service} returned no single number above 0")
        rate = round(max(wanted, shed.at_least), 1)
        now = self._controls.control(service, "shedding")
        before = _number(now.get("requests_per_s"))
        if before is not None and before <= rate:
            return Refusal("not_needed", f"customers' requests to {service} are held at {before:g}/s already")
        reason = f"customers may make {rate:g} requests a second of {service} together, for {shed.for_:g} s"
        return Move(
            before={"requests_per_s": before, "until_unix_ms": now.get("until_unix_ms")},
            after={"requests_per_s": rate, "until_unix_ms": now_unix_ms + round(shed.for_ * 1000)},
            was=_rate(before),
            becomes=_rate(rate),
            reason=reason,
        )

    def pull(self, service: str, move: Move, now_unix_ms: int) -> None:
        self._controls.set_control(service, "shedding", {**move.after, "expected": move.before["requests_per_s"]})


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _rate(rate: float | None) -> str:
    return "all" if rate is None else f"{rate:g}/s"


def _words(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items()) or "even"
