"""Guards: what an action must pass before it is done. Pure; whatever is not known refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from remediation.policy.policy import Guards, Scale
from remediation.scalers.scaler import Replicas
from remediation.store.record import TargetHistory


@dataclass(frozen=True, slots=True)
class Refusal:
    guard: str  # cooldown, rate_limit, escalation, telemetry, maximum, not_needed, scaler, unreachable
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
    if history.last_scale_out_unix_ms is not None:
        left_s = guards.cooldown - (now_unix_ms - history.last_scale_out_unix_ms) / 1000
        if left_s > 0:
            reason = f"{service} was scaled out by another run less than {guards.cooldown:g} s ago; {left_s:.1f} s left"
            return Refusal("cooldown", reason)
    return check_rate(guards, history, service=service)


def check_rate(guards: Guards, history: TargetHistory, *, service: str) -> Refusal | None:
    if history.scale_outs_last_hour >= guards.max_actions_per_hour:
        limit = guards.max_actions_per_hour
        return Refusal(
            "rate_limit", f"{service} was scaled out {history.scale_outs_last_hour} times in an hour, limit {limit}"
        )
    return None


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
