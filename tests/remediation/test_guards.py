import dataclasses
import math

import pytest

from remediation.guards import Refusal, Target, check_fleet, check_history, target_replicas, undone_lately
from remediation.policy.limits import Limits
from remediation.policy.policy import Guards, Scale
from remediation.scalers.scaler import Replicas
from remediation.store.record import FleetHistory, KillSwitch, TargetHistory

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
        last_action_unix_ms=None if last_out_ago_s is None else int(NOW - last_out_ago_s * 1000),
        actions_last_hour=outs,
        last_escalation=None if escalated_ago_s is None else ("run-1", NOW - escalated_ago_s * 1000),
    )
    refusal = check_history(GUARDS, history, service="catalog", now_unix_ms=NOW)
    assert (refusal.guard if refusal else None) == guard
    if refusal:
        assert "catalog" in refusal.reason


@pytest.mark.parametrize(
    ("repairs_ago_s", "guard"), [([10, 20], None), ([10, 20, 30], "breaker"), ([10, 20, 3601], None)]
)
def test_repair_that_is_needed_too_often_trips_the_breaker(repairs_ago_s, guard):
    guards = Guards(breaker={"repairs": 3, "within": "1h"})
    ended = tuple(sorted(NOW - ago * 1000 for ago in repairs_ago_s))
    history = TargetHistory(last_action_unix_ms=None, actions_last_hour=0, last_escalation=None, repairs_unix_ms=ended)
    refusal = check_history(guards, history, service="catalog", now_unix_ms=NOW)
    assert (refusal.guard if refusal else None) == guard


def fleet(**changed):
    nothing = FleetHistory(
        kill_switch=None,
        actions_last_hour=0,
        policy_actions_last_hour=0,
        other_runs_acting=0,
        other_services_acted_on=frozenset(),
    )
    return dataclasses.replace(nothing, **changed)


LIMITS = Limits(
    max_actions_per_hour=10,
    max_concurrent=3,
    blast_radius={"services": 0.5},
    freezes=[{"name": "launch", "start": "1970-01-12T00:00:00Z", "end": "1970-01-12T12:00:00Z"}],
)


@pytest.mark.parametrize(
    ("seen", "services", "guard", "told"),
    [
        ({}, 6, None, ""),
        ({"kill_switch": KillSwitch(reason="migration", by="ada", at_unix_ms=0)}, 6, "kill_switch", "ada has stopped"),
        ({"actions_last_hour": 9}, 6, None, ""),
        ({"actions_last_hour": 10}, 6, "rate_limit", "all policies acted 10 times in an hour, limit 10"),
        ({"policy_actions_last_hour": 5}, 6, "rate_limit", "this policy acted 5 times in an hour, limit 5"),
        ({"other_runs_acting": 3}, 6, "concurrency", "3 other runs"),
        ({"other_services_acted_on": frozenset({"cart", "payment"})}, 6, None, ""),
        ({"other_services_acted_on": frozenset({"cart", "payment", "inventory"})}, 6, "blast_radius", "service 4 of 6"),
        ({"other_services_acted_on": frozenset({"catalog", "cart", "payment"})}, 6, None, ""),  # it was one of them
        ({}, 1, None, ""),  # half of one service is none: one is always allowed
        ({}, 0, None, ""),
    ],
)
def test_limits_over_everything_refuse_with_their_reason(seen, services, guard, told):
    guards = Guards(policy_max_actions_per_hour=5)
    refusal = check_fleet(LIMITS, guards, fleet(**seen), service="catalog", services=services, now_unix_ms=NOW * 2)
    assert (refusal.guard if refusal else None) == guard
    assert told in (refusal.reason if refusal else "")


def test_freeze_refuses_while_it_lasts():
    day = 86_400_000
    assert check_fleet(LIMITS, Guards(), fleet(), service="x", services=6, now_unix_ms=11 * day).guard == "freeze"
    assert check_fleet(LIMITS, Guards(), fleet(), service="x", services=6, now_unix_ms=11 * day + day // 2) is None


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


def undo_of(tried, ago_s):
    last = None if ago_s is None else (NOW - ago_s * 1000, tried)
    return TargetHistory(last_action_unix_ms=None, actions_last_hour=0, last_escalation=None, last_undo=last)


@pytest.mark.parametrize(
    ("undone_ago_s", "wanted", "to"),
    [
        (None, 0.5, 3),  # one more is tried
        (601, 0.5, 3),  # long ago
        (599, 0.5, None),  # it has just been shown not to help
        (599, 3.2, 4),  # the load itself asks for it
    ],
)
def test_after_an_undo_only_the_load_itself_brings_more_replicas(undone_ago_s, wanted, to):
    undone = undone_lately(Guards(), undo_of(3, undone_ago_s), NOW)
    decision = target_replicas(Scale(replicas="x"), Guards(), wanted=wanted, replicas=replicas(2), undone=undone)
    if to is None:
        assert isinstance(decision, Refusal)
        assert decision.reason.endswith("more did not help when it was tried, and taken back 599 s ago")
    else:
        assert isinstance(decision, Target)
        assert decision.to == to


@pytest.mark.parametrize(
    ("undone_ago_s", "asked", "to"),
    [
        (None, 3, 3),
        (601, 3, 3),
        (599, 3, None),  # as far above its threshold as at that time: the same again
        (599, 4, 4),  # further above it: more than was tried
        (599, 9, 5),
    ],
)
def test_after_an_undo_step_scaling_does_not_try_the_same_again(undone_ago_s, asked, to):
    steps = [{"to": 1, "add": 1}, {"from": 1, "add": 2}]
    scale = Scale(value="x", threshold=0.5, steps=steps, maximum_step=3)
    undone = undone_lately(Guards(), undo_of(3, undone_ago_s), NOW)
    decision = target_replicas(scale, Guards(), wanted=float(asked), replicas=replicas(2), undone=undone)
    if to is None:
        assert isinstance(decision, Refusal)
        assert decision.reason == (
            "catalog has 2 replicas and would have 3; more did not help when it was tried, and taken back 599 s ago"
        )
    else:
        assert isinstance(decision, Target)
        assert decision.to == to


def test_guards_look_back_as_far_as_the_longest_of_them():
    assert Guards().looking_back_ms == 3_600_000
    assert Guards(cooldown="2d").looking_back_ms == 2 * 86_400_000
    assert Guards(breaker={"repairs": 3, "within": "7d"}).looking_back_ms == 7 * 86_400_000
    assert Guards(escalation_hold_off="3h", undo_hold_off="4h").looking_back_ms == 4 * 3_600_000
