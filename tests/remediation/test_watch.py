import pytest

from remediation.policy.policy import ScaleIn
from remediation.watch import LOST_NOTIFICATION_S, Condition, Hold, Observation, ScaleInWatch

POLICY = ScaleIn(replicas="x", stabilisation="10s", settle="5s", maximum_step=2, give_up_after="1h")


def seen(wanted=1.0, *, condition=Condition.OVER, active=False, allowed=True):
    return Observation(condition=condition, alert_active=active, wanted=wanted, allowed=allowed)


def watching(current=5, floor=1, **more):
    return ScaleInWatch(policy=POLICY, current=current, floor=floor, started_s=0.0, relapse_s=3.0, **more)


def first_decision(watch, observations):
    """Observations a second apart; the second and the decision of the first that decides."""
    for second, observation in enumerate(observations):
        decision = watch.observe(float(second), observation)
        if decision is not None:
            return second, decision
    return None


def test_hold_needs_every_observation_good_for_the_whole_time():
    hold = Hold(3.0)
    assert [hold.observe(t, good) for t, good in [(0, True), (2, True), (2.5, False), (3, True), (5.9, True)]] == [
        False
    ] * 5
    assert hold.observe(6.0, True)


def test_replicas_go_home_after_the_stabilisation_window_in_bounded_steps():
    second, decision = first_decision(watching(), [seen()] * 30)
    assert second == 10
    assert (decision.kind, decision.to) == ("scale_in", 3)


def test_highest_wanted_in_the_window_counts():
    observations = [seen(4.2) if second == 4 else seen(1.0) for second in range(60)]
    second, decision = first_decision(watching(current=6), observations)
    assert (second, decision.to) == (10, 5)
    _, later = first_decision(watching(current=5), observations)
    assert later.to == 3


def test_never_below_the_floor():
    _, decision = first_decision(watching(current=3, floor=2), [seen(0.0)] * 30)
    assert decision.to == 2


def test_nothing_is_scaled_in_while_the_alert_is_active():
    assert first_decision(watching(), [seen(active=True)] * 40) is None


def test_window_begins_when_the_alert_resolves():
    second, _ = first_decision(watching(), [seen(active=True)] * 8 + [seen()] * 30)
    assert second == 18


@pytest.mark.parametrize("blind", [seen(None), seen(allowed=False), seen(condition=Condition.UNKNOWN)])
def test_window_begins_anew_where_nobody_knows_or_the_policy_forbids(blind):
    second, _ = first_decision(watching(), [seen()] * 9 + [blind] + [seen()] * 30)
    assert second == 20


def test_alert_whose_resolution_was_never_told_counts_as_over_when_long_quiet():
    second, decision = first_decision(watching(current=1), [seen(active=True)] * 100)
    assert second == LOST_NOTIFICATION_S
    assert decision.kind == "finish"


def test_relapse_asks_for_more_and_a_blip_does_not():
    firing = seen(condition=Condition.FIRING, active=True)
    assert first_decision(watching(), [firing] * 3 + [seen(active=True)] * 5) is None
    second, decision = first_decision(watching(), [seen(active=True), firing, firing, firing, firing])
    assert (second, decision.kind) == (4, "scale_out")


def test_relapse_after_a_step_down_goes_back_to_what_ran_before():
    firing = seen(condition=Condition.FIRING)
    second, decision = first_decision(watching(current=3, previous=5), [seen(), firing, firing, firing, firing])
    assert (second, decision.kind, decision.to) == (4, "go_back", 5)


def test_run_that_is_home_is_finished_only_after_it_has_settled():
    second, decision = first_decision(watching(current=1, previous=3), [seen()] * 20)
    assert (second, decision.kind) == (5, "finish")


def test_run_ends_when_the_load_stays():
    watch = watching(current=5)
    assert watch.observe(3599.0, seen(5.0)) is None
    decision = watch.observe(3600.0, seen(5.0))
    assert decision.kind == "finish"
    assert "still wants 5 replicas" in decision.reason


def test_without_a_way_home_the_run_ends_with_the_alert():
    watch = ScaleInWatch(policy=None, current=5, floor=1, started_s=0.0, relapse_s=3.0)
    assert watch.observe(0.0, seen(active=True)) is None
    assert watch.observe(1.0, seen()).kind == "finish"
