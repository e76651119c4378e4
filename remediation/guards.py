"""Guards: what an action must pass before it is done. Pure; whatever is not known refuses."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

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


def check_history(guards: Guards, history: TargetHistory, *, service: str, now_unix_ms: int) -> Refusal | None:
    """Refuse by what was done before, from the most serious reason to the least."""
    if history.last_escalation is not None:
        run_id, at_unix_ms = history.last_escalation
        left_s = guards.escalation_hold_off - (now_unix_ms - at_unix_ms) / 1000
        if left_s > 0:
            reason = f"{service} was escalated by {run_id}; people have it, no action for another {left_s:.0f} s"
            return Refusal("escalation", reason)
    since_unix_ms = now_unix_ms - guards.breaker.within * 1000
    repairs = sum(at_unix_ms > since_unix_ms for at_unix_ms in history.repairs_unix_ms)
    if repairs >= guards.breaker.repairs:
        limit, within_s = guards.breaker.repairs, guards.breaker.within
        reason = (
            f"{service} was repaired {repairs} times within {within_s:g} s, limit {limit}: a repair that is needed so "
            "often hides a fault"
        )
        return Refusal("breaker", reason)
    if history.last_action_unix_ms is not None:
        left_s = guards.cooldown - (now_unix_ms - history.last_action_unix_ms) / 1000
        if left_s > 0:
            reason = f"another run acted on {service} less than {guards.cooldown:g} s ago; {left_s:.1f} s left"
            return Refusal("cooldown", reason)
    return check_rate(guards, history, service=service)


def check_rate(guards: Guards, history: TargetHistory, *, service: str) -> Refusal | None:
    if history.actions_last_hour >= guards.max_actions_per_hour:
        limit = guards.max_actions_per_hour
        return Refusal(
            "rate_limit", f"{service} was acted on {history.actions_last_hour} times in an hour, limit {limit}"
        )
    return None


def check_fleet(
    limits: Limits, guards: Guards, fleet: FleetHistory, *, service: str, services: int, now_unix_ms: int
) -> Refusal | None:
    """
    Refuse by what is done elsewhere, from the most serious reason to the least.

    Args:
        services: How many the scaler holds; the blast radius is a share of them.
    """
    if (stopped := check_kill_switch(fleet.kill_switch)) is not None:
        return stopped
    if (freeze := limits.frozen_by(dt.datetime.fromtimestamp(now_unix_ms / 1000, dt.UTC))) is not None:
        return Refusal("freeze", f"nothing is changed during {freeze.name!r}")
    for count, limit, whose in (
        (fleet.actions_last_hour, limits.max_actions_per_hour, "all policies"),
        (fleet.policy_actions_last_hour, guards.policy_max_actions_per_hour, "this policy"),
    ):
        if limit is not None and count >= limit:
            return Refusal("rate_limit", f"{whose} acted {count} times in an hour, limit {limit}")
    if fleet.other_runs_acting >= limits.max_concurrent:
        reason = f"{fleet.other_runs_acting} other runs have acted and are not over, limit {limits.max_concurrent}"
        return Refusal("concurrency", reason)
    radius = limits.blast_radius
    allowed = max(1, math.floor(services * radius.services))
    touched = len(fleet.other_services_acted_on | {service})
    if touched > allowed:
        others = ", ".join(sorted(fleet.other_services_acted_on))
        reason = (
            f"{service} would be service {touched} of {services} acted on within {radius.within:g} s, limit {allowed}"
        )
        return Refusal("blast_radius", f"{reason} ({others})")
    return None


def check_kill_switch(switch: KillSwitch | None) -> Refusal | None:
    if switch is None:
        return None
    at = dt.datetime.fromtimestamp(switch.at_unix_ms / 1000, dt.UTC).isoformat(timespec="seconds")
    return Refusal("kill_switch", f"{switch.by} has stopped every automatic action since {at}: {switch.reason}")


def target_replicas(scale: Scale, guards: Guards, *, wanted: float | None, replicas: Replicas) -> Target | Refusal:
    """
    The absolute number to ask for.

    Args:
        wanted: What the policy's query returned; None if it returned nothing that can be acted on.
    """
    service, current = replicas.service, replicas.desired
    if wanted is None or not math.isfinite(wanted) or wanted < 0:
        return Refusal("telemetry", f"the query for the replicas of {service} returned no single finite number")
    maximum = min(replicas.maximum, guards.maximum_replicas or replicas.maximum)
    asked = max(math.ceil(wanted), current + scale.at_least_add)
    to = min(asked, current + scale.maximum_step, maximum)
    if current >= maximum and asked > current:
        return Refusal("maximum", f"{service} has {current} replicas already, maximum {maximum}; {asked} wanted")
    if to <= current:
        return Refusal("not_needed", f"{service} has {current} replicas and the load wants {math.ceil(wanted)}")
    limits = "" if to == asked else f", bounded from {asked} by maximum {maximum} and step {scale.maximum_step}"
    return Target(current, to, wanted, f"the load wants {wanted:.2f} replicas, {current} desired now{limits}")
