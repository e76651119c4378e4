import pytest
from guard_oracle import MINUTE_MS, Changed, Rules
from guard_world import world_of


@pytest.fixture
def world():
    with world_of(Rules.tight("freezes")) as made:
        yield made


def ended(world):
    """State and outcome of the autoscaler's own record."""
    (record,) = [one for one in world.store.records(state=None, service="cart", limit=9) if "scaling" in one["id"]]
    return record["state"], record["outcome"]


def decided(died):
    return ("scale", "cart", "out", False, False, died)


@pytest.mark.parametrize("died", ["before", "after"])
def test_decision_that_a_worker_died_in_is_done_once(world, died):
    world.go([("wait", 1), decided(died), ("crash",), ("wait", 5000), ("settle",)])
    assert [(one.was, one.to) for one in world.history if isinstance(one, Changed)] == [(2, 3)]
    assert ended(world) == ("resolved", "2 → 3: finished after the worker that had intended it was gone")


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (("until", "freeze"), "freeze: nothing is changed during 'launch'"),
        (("wait", MINUTE_MS + 1), "it was decided 60 s ago, and nobody decides on what telemetry said then"),
        (("alert", "cart"), "has begun a run of its own, which takes the service over"),
    ],
)
def test_decision_that_does_not_hold_any_more_is_not_done_and_told_as_found(world, meanwhile, why):
    world.go([("until", "freeze", -1), ("wait", -2 * MINUTE_MS), decided("before"), meanwhile, ("settle",)])
    assert not [one for one in world.history if isinstance(one, Changed)]
    state, outcome = ended(world)
    assert why in outcome
    assert state == ("resolved" if meanwhile[0] == "alert" else "failed")


def test_decision_that_does_not_hold_any_more_but_was_done_is_told_as_done(world):
    world.go([decided("after"), ("wait", 2 * MINUTE_MS), ("settle",)])
    assert [(one.was, one.to) for one in world.history if isinstance(one, Changed)] == [(2, 3)]
    assert ended(world)[0] == "resolved"


def test_nothing_is_finished_while_the_kill_switch_is_on_and_it_is_when_it_is_off(world):
    world.go([decided("before"), ("turn", True), ("settle",)])
    assert world.refusals == ["kill_switch: it waits"]
    world.go([("turn", False), ("settle",)])
    assert [(one.was, one.to) for one in world.history if isinstance(one, Changed)] == [(2, 3)]
