"""What a decision of an autoscaler must pass before it is done. Pure; whatever is not known refuses."""

from __future__ import annotations

import math
from collections.abc import Iterator

from remediation.guards import Passed, Refusal, check_freeze, check_kill_switch
from remediation.policy.autoscaler import AutoscalerGuards
from remediation.policy.limits import Limits
from remediation.store.record import FleetHistory, ScalingHistory


def scaling_verdicts(
    limits: Limits,
    guards: AutoscalerGuards,
    fleet: FleetHistory,
    history: ScalingHistory,
    *,
    kind: str,
    service: str,
    services: int,
    now_unix_ms: int,
) -> Iterator[Refusal | Passed]:
    """
    What each guard says; all of them, also after one that refuses. Adding is held up by less than taking away.

    Args:
        kind: `out` or `in`.
        services: How many the scaler holds; the blast radius is a share of them.
    """
    yield check_kill_switch(fleet.kill_switch) or Passed("kill_switch", "off")
    yield check_freeze(limits, now_unix_ms) or Passed("freeze", f"none of {len(limits.freezes)} is in force")
    yield _rate(fleet.actions_last_hour, limits.max_actions_per_hour, "all policies and autoscalers acted")
    yield _rate(history.actions_last_hour, guards.max_actions_per_hour, f"{service} was scaled")
    if kind != "in":
        return
    run_id, at_unix_ms = history.last_escalation or ("", 0)
    left_s = guards.escalation_hold_off - (now_unix_ms - at_unix_ms) / 1000 if run_id else 0.0
    if left_s > 0:
        reason = (
            f"{service} was escalated by {run_id}; people have it, nothing is taken away for another {left_s:.0f} s"
        )
        yield Refusal("escalation", reason)
    else:
        yield Passed("escalation", f"no escalation of {service} within {guards.escalation_hold_off:g} s")
    radius = limits.blast_radius
    allowed = max(1, math.floor(services * radius.services))
    touched = fleet.services_taken_from | fleet.other_services_acted_on | {service}
    told = f"{service} would be service {len(touched)} of {services} within {radius.within:g} s, limit {allowed}"
    if len(touched) > allowed:
        yield Refusal("blast_radius", f"{told} ({', '.join(sorted(touched - {service}))})")
    else:
        yield Passed("blast_radius", told)


def _rate(count: int, limit: int, what: str) -> Refusal | Passed:
    told = f"{what} {count} times in an hour, limit {limit}"
    return Refusal("rate_limit", told) if count >= limit else Passed("rate_limit", told)
