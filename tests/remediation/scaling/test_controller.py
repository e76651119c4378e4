from dataclasses import replace

import pytest

from remediation.policy.autoscaler import Autoscaler
from remediation.scalers.scaler import Replicas
from remediation.scaling.controller import Controller, Floor, Seen
from remediation.store.record import ScalingHistory

CALM = ScalingHistory(last_change_unix_ms=None, peak_in_window=0)


def autoscaler(**changed):
    given = {
        "name": "catalog",
        "services": ["catalog"],
        "tracking": [{"utilisation": "x", "per": "instance", "target": 0.5, "warm_up": "0s"}],
        "scale_in": {"stabilisation": "60s", "cooldown": "0s"},
    }
    return Autoscaler.model_validate(given | changed)


def seen(utilisation, *, desired, ready=None, minimum=1, maximum=9, floors=(), history=CALM):
    """`utilisation` of each replica that is ready; a tuple where there are several metrics."""
    ready = desired if ready is None else ready
    several = utilisation if isinstance(utilisation, tuple) else (utilisation,)
    told = [None if one is None else {f"r{number}": one for number in range(ready)} for one in several]
    replicas = Replicas(service="catalog", desired=desired, ready=ready, minimum=minimum, maximum=maximum)
    return Seen(replicas=replicas, utilisations=told, floors=floors, history=history)


def after(controller, seconds, what, *, every=5):
    """The same for so long, then the decision."""
    for second in range(0, seconds, every):
        controller.observe(second, what)
    return controller.observe(seconds, what)


def test_more_is_added_at_once_and_in_bounded_steps():
    decision = Controller(autoscaler()).observe(0, seen(1.4, desired=2))
    assert (decision.kind, decision.before, decision.to, decision.wanted) == ("out", 2, 6, 6)
    decision = Controller(autoscaler()).observe(0, seen(2.0, desired=2, maximum=20))
    assert (decision.to, decision.wanted) == (6, 8)
    assert decision.reason.endswith("8 replicas; 6 at once")


def test_less_is_taken_away_only_when_it_was_enough_for_the_whole_window():
    controller = Controller(autoscaler())
    for second in range(0, 60, 5):
        decision = controller.observe(second, seen(0.1, desired=4))
        assert decision.kind == "hold"
    assert "not known to have been enough for 60 s" in decision.reason
    decision = controller.observe(60, seen(0.1, desired=4))
    assert (decision.kind, decision.to) == ("in", 3)
    assert "at most 1 were wanted for 60 s" in decision.reason


def test_highest_of_the_window_counts():
    controller = Controller(autoscaler())
    assert after(controller, 25, seen(0.1, desired=4)).kind == "hold"
    controller.observe(30, seen(0.45, desired=4))  # within tolerance: all four
    assert "4 were wanted within 60 s" in after_from(controller, 35, 65, seen(0.1, desired=4)).reason
    assert after_from(controller, 70, 100, seen(0.1, desired=4)).kind == "in"


def after_from(controller, start, end, what):
    for second in range(start, end, 5):
        decision = controller.observe(second, what)
    return decision


def test_moment_in_which_nobody_knows_is_passed_over_and_a_longer_one_begins_the_window_anew():
    controller = Controller(autoscaler())
    assert after(controller, 55, seen(0.1, desired=4)).kind == "hold"
    unknown = controller.observe(60, seen(None, desired=4))
    assert (unknown.kind, unknown.wanted) == ("hold", None)
    assert "telemetry says nothing" in unknown.reason
    assert controller.observe(65, seen(0.1, desired=4)).kind == "in"
    for second in range(70, 110, 5):
        assert controller.observe(second, seen(None, desired=4)).kind == "hold"
    assert after_from(controller, 110, 170, seen(0.1, desired=4)).kind == "hold"
    assert controller.observe(170, seen(0.1, desired=4)).kind == "in"


def test_replicas_that_are_silent_or_starting_are_never_taken_for_idle():
    controller = Controller(autoscaler(scale_in={"stabilisation": "60s", "cooldown": "0s", "maximum_step": 9}))
    silent = seen(0.01, desired=8)
    silent = replace(silent, utilisations=[{"r0": 0.01, "r1": 0.01}])  # six say nothing
    assert after(controller, 60, silent).to == 7
    assert after(Controller(autoscaler()), 60, seen(0.01, desired=4, ready=1)).kind == "hold"


def test_nothing_is_taken_away_while_somebody_lingers_in_telemetry():
    lingering = replace(seen(0.1, desired=2), utilisations=[{f"r{n}": 0.1 for n in range(4)}])
    decision = after(Controller(autoscaler()), 90, lingering)
    assert (decision.kind, decision.wanted) == ("hold", 1)
    assert "2 going" in decision.reason


def test_of_several_metrics_the_highest_counts_and_an_unknown_one_keeps_replicas():
    both = [
        {"utilisation": "x", "per": "instance", "target": 0.5, "warm_up": "0s"},
        {"utilisation": "y", "per": "instance", "target": 100, "warm_up": "0s"},
    ]
    assert Controller(autoscaler(tracking=both)).observe(0, seen((0.1, 200), desired=2)).to == 4
    assert Controller(autoscaler(tracking=both)).observe(0, seen((None, 200), desired=2)).to == 4
    held = after(Controller(autoscaler(tracking=both)), 90, seen((None, 10), desired=2))
    assert held.kind == "hold"
    assert after(Controller(autoscaler(tracking=both)), 90, seen((0.1, 10), desired=2)).kind == "in"


def test_new_replicas_are_not_counted_until_they_are_warm():
    warm = [{"utilisation": "x", "per": "instance", "target": 0.5, "warm_up": "20s"}]
    controller = Controller(autoscaler(tracking=warm))
    assert controller.observe(0, seen(1.0, desired=2)).reason == "no replica has told of its utilisation for 20 s"
    assert controller.observe(20, seen(1.0, desired=2)).to == 4
    # Four are wanted, two serve; the two new ones have begun to tell, and tell of everything but load.
    assert controller.observe(25, seen(1.0, desired=4, ready=2)).kind == "hold"
    assert controller.observe(30, seen(1.0, desired=4)).kind == "hold"
    assert controller.observe(50, seen(1.0, desired=4)).to == 8  # warm, and it is still too much


@pytest.mark.parametrize(
    ("desired", "floors", "to", "told"),
    [
        (2, [Floor(4, "schedule office hours wants 4")], 4, "schedule office hours wants 4"),
        (2, [Floor(3, "a"), Floor(8, "b")], 8, "b"),
        (2, [Floor(12, "schedule x wants 12")], 9, "bounded by maximum 9"),
        (1, [], 2, "the minimum is 2"),
    ],
)
def test_floor_is_taken_at_once_also_without_telemetry(desired, floors, to, told):
    decision = Controller(autoscaler(minimum=2)).observe(0, seen(None, desired=desired, floors=floors))
    assert (decision.kind, decision.to) == ("out", to)
    assert told in decision.reason


def test_telemetry_may_want_more_than_the_floor():
    decision = Controller(autoscaler()).observe(0, seen(1.5, desired=2, floors=[Floor(3, "x")]))
    assert decision.to == 6


def test_nothing_is_taken_below_the_floor():
    controller = Controller(autoscaler(scale_in={"stabilisation": "60s", "cooldown": "0s", "maximum_step": 9}))
    decision = after(controller, 60, seen(0.01, desired=6, floors=[Floor(4, "schedule night wants 4")]))
    assert (decision.kind, decision.to) == ("in", 4)
    assert decision.reason.endswith("schedule night wants 4")


def test_share_that_was_taken_away_in_the_window_is_bounded():
    wide = autoscaler(scale_in={"stabilisation": "60s", "cooldown": "0s", "maximum_step": 9})
    assert after(Controller(wide), 60, seen(0.01, desired=8)).to == 4
    taken = ScalingHistory(last_change_unix_ms=None, peak_in_window=8)
    decision = after(Controller(wide), 60, seen(0.01, desired=4, history=taken))
    assert decision.kind == "hold"
    assert "4 of 8 were taken away within 600 s" in decision.reason


def test_change_by_whomever_begins_the_cooldown_of_scaling_in():
    rules = {"stabilisation": "60s", "cooldown": "30s"}
    changed = ScalingHistory(last_change_unix_ms=31_000, peak_in_window=0)
    controller = Controller(autoscaler(scale_in=rules))
    assert "changed less than 30 s ago" in after(controller, 60, seen(0.1, desired=4, history=changed)).reason
    assert controller.observe(61, seen(0.1, desired=4, history=changed)).kind == "in"


def test_service_that_is_switched_off_stays_off():
    decision = Controller(autoscaler()).observe(0, seen(1.0, desired=0, minimum=0, floors=[Floor(3, "x")]))
    assert (decision.kind, decision.to) == ("hold", 0)


def test_more_than_the_maximum_goes_home_slowly():
    controller = Controller(autoscaler(maximum=4))
    assert after(controller, 55, seen(1.0, desired=6)).kind == "hold"
    assert controller.observe(60, seen(1.0, desired=6)).to == 5


def test_clock_that_is_set_back_makes_it_wait_anew():
    controller = Controller(autoscaler())
    after(controller, 55, seen(0.1, desired=4))
    assert controller.observe(20, seen(0.1, desired=4)).kind == "hold"
    assert after_from(controller, 25, 80, seen(0.1, desired=4)).kind == "hold"
    assert controller.observe(80, seen(0.1, desired=4)).kind == "in"


def test_time_in_which_nobody_looked_does_not_count():
    controller = Controller(autoscaler())
    after(controller, 30, seen(0.1, desired=4))
    assert controller.observe(90, seen(0.1, desired=4)).kind == "hold"
    assert after_from(controller, 95, 155, seen(0.1, desired=4)).kind == "in"


@pytest.mark.parametrize(("given_back", "window"), [(0, 60), (1, 120), (3, 480), (9, 3600)])
def test_what_had_to_be_given_back_is_taken_away_more_slowly(given_back, window):
    history = ScalingHistory(last_change_unix_ms=None, peak_in_window=0, given_back=given_back)
    controller = Controller(autoscaler())
    assert after(controller, window - 5, seen(0.1, desired=4, history=history)).kind == "hold"
    assert controller.observe(window, seen(0.1, desired=4, history=history)).kind == "in"
