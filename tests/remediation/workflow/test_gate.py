import pytest
from guard_oracle import Changed, Rules
from guard_world import WELL, Telemetry, world_of

DIES_BEFORE = ("act", "cart", WELL, "before")
DIES_AFTER = ("act", "cart", WELL, "after")


@pytest.fixture
def world():
    with world_of(Rules.tight("freezes", "radius")) as made:
        yield made


def effects(world):
    return [(one.was, one.to) for one in world.history if isinstance(one, Changed)]


def told(world):
    """Status of the run's only action, and the last line of its timeline."""
    record = world.store.record("run-1")
    (action,) = record["actions"]
    return action["status"], record["timeline"][-1]["detail"]


@pytest.mark.parametrize("dies", [DIES_BEFORE, DIES_AFTER])
@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        ([("until", "freeze"), ("resume", "cart")], "freeze: nothing is changed during 'launch'"),
        ([("resume", "cart", Telemetry(fresh=None))], "telemetry: telemetry of cart is missing or stale"),
        ([("turn", True), ("resume", "cart")], "kill_switch: b has stopped every automatic action"),
    ],
)
def test_what_must_not_be_taken_up_is_not_done_again_and_nobody_claims_to_know(world, dies, meanwhile, why):
    world.go([dies])
    before = effects(world)
    world.go(meanwhile)
    assert effects(world) == before
    status, detail = told(world)
    assert status == "unknown"
    assert why in detail
    assert "whether it was done before the worker died is not known" in detail


@pytest.mark.parametrize("dies", [DIES_BEFORE, DIES_AFTER])
def test_what_was_let_in_is_taken_up_though_nobody_can_count_the_services_any_more(world, dies):
    world.go([dies, ("resume", "cart", WELL, True)])
    assert effects(world) == [(2, 3)]
    assert told(world)[0] == "done"


def test_first_action_is_not_let_in_while_nobody_can_count_the_services(world):
    world.go([("plan", "cart"), ("carry_out", "cart", WELL, True)])
    assert effects(world) == []
    assert world.refusals == ["unreachable: it does not answer"]


def test_what_was_concluded_is_neither_asked_about_nor_done_again(world):
    world.go([DIES_AFTER, ("resume", "cart")])
    world._interrupted["cart"] = world._runs["cart"].done[0]  # it died once more, before it had remembered
    world.go([("turn", True), ("resume", "cart")])
    assert effects(world) == [(2, 3)]
    assert told(world)[0] == "done"
