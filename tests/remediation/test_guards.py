import math

import pytest

from remediation.guards import Refusal, Target, check_history, target_replicas
from remediation.policy.policy import Guards, Scale
from remediation.scalers.scaler import Replicas
from remediation.store.record import TargetHistory

NOW = 1_000_000_000
GUARDS = Guards(cooldown="30s", max_actions_per_hour=5, escalation_hold_off="10m")


def replicas(desired, *, minimum=1, maximum=6):
    return Replicas(service="catalog", desired=desired, ready=desired, minimum=minimum, maximum=maximum)


@pytest.mark.parametrize(
    ("last_out_ago_s", "outs", "escalated_ago_s", "guard"),
    [
        (None, 0, None, None),
        (30, 0, None, None),
        (29.9, 0, None, "cooldown"),
        (None, 4, None, None),
        (None, 5, None, "rate_limit"),
        (None, 0, 600, None),
        (None, 0, 599, "escalation"),
        (1, 9, 1, "escalation"),  # the most serious reason is told
    ],
)
def test_history_refuses_with_its_reason(last_out_ago_s, outs, escalated_ago_s, guard):
    history = TargetHistory(
        last_scale_out_unix_ms=None if last_out_ago_s is None else int(NOW - last_out_ago_s * 1000),
        scale_outs_last_hour=outs,
        last_escalation=None if escalated_ago_s is None else ("run-1", NOW - escalated_ago_s * 1000),
    )
    refusal = check_history(GUARDS, history, service="catalog", now_unix_ms=NOW)
    assert (refusal.guard if refusal else None) == guard
    if refusal:
        assert "catalog" in refusal.reason


@pytest.mark.parametrize(
    ("wanted", "current", "to"),
    [
        (4.3, 1, 5),  # rounded up
        (3.0, 1, 3),
        (0.2, 1, 2),  # one at least
        (9.0, 1, 5),  # four at once
        (6.0, 4, 6),
        (9.0, 4, 6),  # the maximum
    ],
)
def test_target_is_absolute_and_bounded(wanted, current, to):
    decision = target_replicas(Scale(replicas="x"), Guards(), wanted=wanted, replicas=replicas(current))
    assert isinstance(decision, Target)
    assert (decision.before, decision.to) == (current, to)


@pytest.mark.parametrize(
    ("scale", "guards", "wanted", "current", "guard"),
    [
        ({}, {}, None, 1, "telemetry"),
        ({}, {}, math.nan, 1, "telemetry"),
        ({}, {}, math.inf, 1, "telemetry"),
        ({}, {}, -1.0, 1, "telemetry"),
        ({}, {}, 8.0, 6, "maximum"),
        ({}, {"maximum_replicas": 3}, 8.0, 3, "maximum"),
        ({"at_least_add": 0}, {}, 2.0, 3, "not_needed"),
    ],
)
def test_what_cannot_be_justified_is_refused(scale, guards, wanted, current, guard):
    decision = target_replicas(
        Scale(replicas="x", **scale), Guards(**guards), wanted=wanted, replicas=replicas(current)
    )
    assert isinstance(decision, Refusal)
    assert decision.guard == guard
