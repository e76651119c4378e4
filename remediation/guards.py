"""Guards: what an action must pass before it is done. Pure; whatever is not known refuses."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from remediation import wording
from remediation.policy.limits import Limits
from remediation.policy.policy import Guards, Scale
from remediation.scalers.scaler import Replicas
from remediation.store.record import FleetHistory, KillSwitch, TargetHistory


@dataclass(frozen=True, slots=True)
class Refusal:
    # kill_switch, freeze, escalation, breaker, cooldown, rate_limit, concurrency, blast_radius,
    # telemetry, maximum, not_needed, scaler, unreachable
    guard: str
    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """Scale from `before` to `to`; `to` > `before`."""

    before: int
    to: int
    wanted: float  # what the load wants, before bounds
    reason: str


@dataclass(frozen=True, slots=True)
class Passed:
    """What a guard found that lets the action through."""

    guard: str
    reason: str


Verdict: TypeAlias = "Refusal | Passed"


def first_refusal(verdicts: Iterable[Verdict]) -> Refusal | None:
    return next((verdict for verdict in verdicts if isinstance(verdict, Refusal)), None)


def check_history(guards: Guards, history: TargetHistory, *, service: str, now_unix_ms: int) -> Refusal | None:
    """Refuse by what was done before, from the most serious reason to the least."""
    return first_refusal(history_verdicts(guards, history, service=service, now_unix_ms=now_unix_ms))


def history_verdicts(
    guards: Guards, history: TargetHistory, *, service: str, now_unix_ms: int
) -> Iterator[Refusal | Passed]:
    """What each guard says to what was done to this target before; all of them, also after one that refuses."""
    run_id, at_unix_ms = history.last_escalation or ("", 0)
    left_s = guards.escalation_hold_off - (now_unix_ms - at_unix_ms) / 1000 if run_id else 0.0
    if left_s > 0:
        reason = f"{service} was escalated by {run_id}; people have it, no action for another {left_s:.0f} s"
        yield Refusal("escalation", reason)
    else:
        yield Passed("escalation", f"no escalation of {service} within {guards.escalation_hold_off:g} s")
    since_unix_ms = now_unix_ms - guards.breaker.within * 1000
    repairs = sum(at_unix_ms > since_unix_ms for at_unix_ms in history.repairs_unix_ms)
    limit, within_s = guards.breaker.repairs, guards.breaker.within
    told = f"{service} was repaired {repairs} times within {within_s:g} s, limit {limit}"
    if repairs >= limit:
        yield Refusal("breaker", f"{told}: a repair that is needed so often hides a fault")
    else:
        yield Passed("breaker", told)
    last = history.last_action_unix_ms
    left_s = guards.cooldown - (now_unix_ms - last) / 1000 if last is not None else 0.0
    if left_s > 0:
        reason = f"another run acted on {service} less than {guards.cooldown:g} s ago; {left_s:.1f} s left"
        yield Refusal("cooldown", reason)
    else:
        yield Passed("cooldown", f"no other run acted on {service} within {guards.cooldown:g} s")
    yield _rate(history.actions_last_hour, guards.max_actions_per_hour, f"{service} was acted on")


def check_rate(guards: Guards, history: TargetHistory, *, service: str) -> Refusal | None:
    return first_refusal([_rate(history.actions_last_hour, guards.max_actions_per_hour, f"{service} was acted on")])


def _rate(count: int, limit: int, what: str) -> Refusal | Passed:
    told = f"{what} {count} times in an hour, limit {limit}"
    return Refusal("rate_limit", told) if count >= limit else Passed("rate_limit", told)


def check_fleet(
    limits: Limits, guards: Guards, fleet: FleetHistory, *, service: str, services: int, now_unix_ms: int
) -> Refusal | None:
    """
    Refuse by what is done elsewhere, from the most serious reason to the least.

    Args:
        services: How many the scaler holds; the blast radius is a share of them.
    """
    return first_refusal(
        fleet_verdicts(limits, guards, fleet, service=service, services=services, now_unix_ms=now_unix_ms)
    )


def fleet_verdicts(
    limits: Limits, guards: Guards, fleet: FleetHistory, *, service: str, services: int, now_unix_ms: int
) -> Iterator[Refusal | Passed]:
    """What each limit over everything says; all of them, also after one that refuses."""
    yield check_kill_switch(fleet.kill_switch) or Passed("kill_switch", "off")
    yield check_freeze(limits, now_unix_ms) or Passed("freeze", f"none of {len(limits.freezes)} is in force")
    yield _rate(fleet.actions_last_hour, limits.max_actions_per_hour, "all policies acted")
    if guards.policy_max_actions_per_hour is not None:
        yield _rate(fleet.policy_actions_last_hour, guards.policy_max_actions_per_hour, "this policy acted")
    told = f"{fleet.other_runs_acting} other runs have acted and are not over, limit {limits.max_concurrent}"
    full = fleet.other_runs_acting >= limits.max_concurrent
    yield Refusal("concurrency", told) if full else Passed("concurrency", told)
    radius = limits.blast_radius
    allowed = max(1, math.floor(services * radius.services))
    touched = len(fleet.other_services_acted_on | {service})
    told = f"{service} would be service {touched} of {services} acted on within {radius.within:g} s, limit {allowed}"
    if touched > allowed:
        others = ", ".join(sorted(fleet.other_services_acted_on))
        yield Refusal("blast_radius", f"{told} ({others})")
    else:
        yield Passed("blast_radius", told)


def check_kill_switch(switch: KillSwitch | None) -> Refusal | None:
    if switch is None:
        return None
    at = dt.datetime.fromtimestamp(switch.at_unix_ms / 1000, dt.UTC).isoformat(timespec="seconds")
    return Refusal("kill_switch", f"{switch.by} has stopped every automatic action since {at}: {switch.reason}")


def check_freeze(limits: Limits, now_unix_ms: int) -> Refusal | None:
    freeze = limits.frozen_by(dt.datetime.fromtimestamp(now_unix_ms / 1000, dt.UTC))
    return None if freeze is None else Refusal("freeze", f"nothing is changed during {freeze.name!r}")


@dataclass(frozen=True, slots=True)
class Undone:
    """A scale-out that did not help, and was taken back."""

    ago_s: float
    tried: int  # replicas that were not enough, if replicas are what is missing


def undone_lately(guards: Guards, history: TargetHistory, now_unix_ms: int) -> Undone | None:
    """The last of this target, if it is so late that nothing of it is tried again."""
    if history.last_undo is None:
        return None
    at_unix_ms, tried = history.last_undo
    ago_s = (now_unix_ms - at_unix_ms) / 1000
    return Undone(ago_s, tried) if ago_s < guards.undo_hold_off else None


def target_replicas(
    scale: Scale, guards: Guards, *, wanted: float | None, replicas: Replicas, undone: Undone | None = None
) -> Target | Refusal:
    """
    The absolute number to ask for.

    Args:
        wanted: What the policy's query returned; None if it returned nothing that can be acted on.
        undone: As `undone_lately`; then only the load itself may ask for more, or an alert that is further above its
            threshold than at that time for more than was tried.
    """
    service, current = replicas.service, replicas.desired
    if wanted is None or not math.isfinite(wanted) or wanted < 0:
        return Refusal("telemetry", f"the query for the replicas of {service} returned no single finite number")
    maximum = min(replicas.maximum, guards.maximum_replicas or replicas.maximum)
    asked = max(math.ceil(wanted), current + (scale.at_least_add if undone is None else 0))
    to = min(asked, current + scale.maximum_step, maximum)
    if current >= maximum and asked > current:
        return Refusal(
            "maximum", f"{service} has {wording.replicas(current)} already, maximum {maximum}; {asked} wanted"
        )
    if to <= current:
        told = f"{service} has {wording.replicas(current)} and the load wants {math.ceil(wanted)}"
        return Refusal("not_needed", told + _tried(undone))
    if undone is not None and scale.replicas is None and to <= undone.tried:
        return Refusal("not_needed", f"{service} has {wording.replicas(current)} and would have {to}{_tried(undone)}")
    limits = "" if to == asked else f", bounded from {asked} by maximum {maximum} and step {scale.maximum_step}"
    more = "" if asked == math.ceil(wanted) else f"; the alert asks for {asked - current} more"
    return Target(current, to, wanted, f"the load wants {wanted:.2f} replicas, {current} desired now{more}{limits}")


def _tried(undone: Undone | None) -> str:
    if undone is None:
        return ""
    return f"; more did not help when it was tried, and taken back {undone.ago_s:.0f} s ago"
