"""The planning core, without a process in sight."""

from __future__ import annotations

import pytest

from steersman.errors import OutOfBoundsError, UnknownInstanceError
from steersman.orchestrator import plan
from steersman.orchestrator.plan import Drain, Kill, Register, Start, Stop, decide
from steersman.orchestrator.service import Phase, Service, ServiceSpec


def service(*, desired: int = 1, minimum: int = 1, maximum: int = 6) -> Service:
    spec = ServiceSpec(
        name="catalog", command=("true",), minimum=minimum, maximum=maximum, desired=desired, public=True
    )
    return Service.fresh(spec)


def brief(actions: tuple[plan.Action, ...]) -> list[str]:
    return [f"{type(a).__name__} {a.instance.id if isinstance(a, Start) else a.instance_id}" for a in actions]


def settle(state: Service, now_s: float = 0.0) -> Service:
    """Everything that starts gets ready, everything that drains and stops is gone."""
    for _ in range(50):
        state, _ = decide(state, now_s)
        before = state
        for instance in state.instances:
            if instance.phase is Phase.STARTING:
                state = plan.on_ready(state, instance.id)
            elif instance.phase is Phase.DRAINING:
                state = plan.on_drained(state, instance.id)
            elif instance.phase is Phase.STOPPING:
                state = plan.on_exit(state, instance.id, now_s)
        if state == before:
            return state
    raise AssertionError("never settles")


def ids(state: Service) -> list[str]:
    return [instance.id for instance in state.instances]


def test_fresh_service_starts_its_desired_replicas():
    state, actions = decide(service(desired=3), 0.0)
    assert brief(actions) == ["Start catalog-1", "Start catalog-2", "Start catalog-3"]
    assert decide(state, 1.0) == (state, ())


def test_ready_replica_is_registered_once():
    state, _ = decide(service(), 0.0)
    state, actions = decide(plan.on_ready(state, "catalog-1"), 1.0)
    assert actions == (Register("catalog-1"),)
    assert [i.id for i in state.serving] == ["catalog-1"]
    assert decide(plan.on_ready(state, "catalog-1"), 1.0).actions == ()


def test_scale_out_starts_only_what_lacks():
    state = settle(service(desired=2))
    _, actions = decide(plan.set_desired(state, 4), 1.0)
    assert brief(actions) == ["Start catalog-3", "Start catalog-4"]


def test_setting_the_same_desired_twice_changes_nothing():
    state = decide(plan.set_desired(settle(service()), 3), 1.0).service
    assert decide(plan.set_desired(state, 3), 1.0) == (state, ())


@pytest.mark.parametrize("desired", [0, 7, -1, 10**9])
def test_desired_out_of_bounds_is_refused(desired: int):
    with pytest.raises(OutOfBoundsError, match=f"desired {desired} of catalog is outside 1..6"):
        plan.set_desired(service(), desired)


def test_scale_in_drains_newest_first_then_stops_then_forgets():
    state = plan.set_desired(settle(service(desired=4)), 2)
    state, actions = decide(state, 1.0)
    assert actions == (Drain("catalog-4", "scale in"), Drain("catalog-3", "scale in"))
    assert [i.id for i in state.serving] == ["catalog-1", "catalog-2"]
    state, actions = decide(plan.on_drained(state, "catalog-4"), 1.5)
    assert actions == (Stop("catalog-4"),)
    state = plan.on_exit(state, "catalog-4", 2.0)
    assert "catalog-4" not in ids(state)
    assert "catalog-3" in ids(state)


def test_scale_in_takes_the_unhealthy_before_the_newest():
    state = plan.on_probe(settle(service(desired=3)), "catalog-1", False)
    _, actions = decide(plan.set_desired(state, 2), 1.0)
    assert actions == (Drain("catalog-1", "scale in"),)


def test_scale_in_takes_what_does_not_serve_yet_first_and_needs_no_draining():
    state = decide(plan.set_desired(settle(service(desired=2)), 3), 1.0).service
    _, actions = decide(plan.set_desired(state, 2), 1.1)
    assert actions == (Stop("catalog-3"),)


def test_scale_out_during_scale_in_starts_new_ones_and_lets_the_draining_go():
    state = decide(plan.set_desired(settle(service(desired=2)), 1), 1.0).service
    state, actions = decide(plan.set_desired(state, 2), 1.1)
    assert brief(actions) == ["Start catalog-3"]
    assert ids(settle(state)) == ["catalog-1", "catalog-3"]


def test_dead_replica_is_replaced_at_once_under_a_new_id():
    state = plan.on_exit(settle(service()), "catalog-1", 5.0)
    assert state.serving == ()
    state, actions = decide(state, 5.0)
    assert brief(actions) == ["Start catalog-2"]
    assert state.instances[0].restarts == 1


def test_what_keeps_dying_waits_ever_longer_and_is_visibly_failed():
    state, now, waits = service(), 0.0, []
    for _ in range(8):
        state, actions = decide(state, now)
        assert len(actions) == 1
        died = now = now + 1.0
        state = plan.on_exit(state, state.instances[-1].id, now)
        while not any(isinstance(a, Start) for a in decide(state, now).actions):
            assert [i.phase.state for i in state.instances] == ["failed"]
            now += 0.25
        waits.append(now - died)
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_back_off_starts_anew_after_a_good_run():
    state, _ = decide(service(), 0.0)
    for now in (1.0, 2.0, 5.0):
        state, _ = decide(plan.on_exit(state, state.instances[-1].id, now), now + 10.0)
    long_after = state.instances[-1].started_s + 31.0
    state = plan.on_exit(state, state.instances[-1].id, long_after)
    assert brief(decide(state, long_after).actions) == ["Start catalog-5"]


def test_failed_replica_is_dropped_without_a_word_when_it_is_no_longer_wanted():
    state = settle(service(desired=2))
    for now in (1.0, 2.0):
        state = plan.on_exit(state, state.instances[-1].id, now)
        state, _ = decide(state, now)
    assert state.instances[-1].phase is Phase.FAILED
    state, actions = decide(plan.set_desired(state, 1), 2.0)
    assert actions == ()
    assert ids(state) == ["catalog-1"]


def test_replica_that_never_gets_ready_is_killed_and_replaced():
    state, _ = decide(service(), 0.0)
    assert decide(state, plan.START_TIMEOUT_S).actions == ()
    state, actions = decide(state, plan.START_TIMEOUT_S + 0.1)
    assert isinstance(actions[0], Kill)
    assert brief(actions) == ["Kill catalog-1", "Start catalog-2"]
    assert plan.on_exit(state, "catalog-1", 99.0) == state


def test_three_failed_probes_in_a_row_replace_a_replica_and_two_do_not():
    state = settle(service(desired=2))
    for healthy in (False, False, True, False, False):
        state = plan.on_probe(state, "catalog-2", healthy)
    assert decide(state, 1.0).actions == ()
    state, actions = decide(plan.on_probe(state, "catalog-2", False), 40.0)
    assert brief(actions) == ["Kill catalog-2", "Start catalog-3"]
    assert [i.id for i in state.serving] == ["catalog-1"]


def test_restart_serves_the_replacement_before_it_drains_the_old():
    state = plan.request_restart(settle(service()), "catalog-1")
    state, actions = decide(state, 1.0)
    assert brief(actions) == ["Start catalog-2"]
    assert [i.id for i in state.serving] == ["catalog-1"]
    state, actions = decide(plan.on_ready(state, "catalog-2"), 2.0)
    assert actions == (Register("catalog-2"), Drain("catalog-1", "restart"))
    assert ids(settle(state)) == ["catalog-2"]


def test_restart_of_all_goes_one_by_one_and_never_serves_less_than_desired():
    state = plan.request_restart(settle(service(desired=3)), None)
    replaced = 0
    for _ in range(100):
        state, actions = decide(state, 1.0)
        replaced += sum(isinstance(action, Drain) for action in actions)
        assert len(state.serving) >= 3
        assert sum(i.phase in (Phase.STARTING, Phase.READY, Phase.SERVING) for i in state.instances) <= 4
        for instance in state.instances:
            if instance.phase is Phase.STARTING:
                state = plan.on_ready(state, instance.id)
            elif instance.phase is Phase.DRAINING:
                state = plan.on_drained(state, instance.id)
            elif instance.phase is Phase.STOPPING:
                state = plan.on_exit(state, instance.id, 1.0)
    assert replaced == 3
    assert ids(state) == ["catalog-4", "catalog-5", "catalog-6"]


def test_restart_of_an_unknown_instance_is_refused():
    with pytest.raises(UnknownInstanceError, match="catalog-9"):
        plan.request_restart(settle(service()), "catalog-9")


def test_restart_of_one_that_only_starts_begins_anew():
    state, _ = decide(service(), 0.0)
    _, actions = decide(plan.request_restart(state, "catalog-1"), 1.0)
    assert "Stop catalog-1" in brief(actions)
    assert any(isinstance(action, Start) for action in actions)


@pytest.mark.parametrize("event", [plan.on_ready, plan.on_drained, lambda s, i: plan.on_exit(s, i, 1.0)])
def test_events_of_an_instance_long_gone_change_nothing(event):
    state = settle(service())
    assert event(state, "catalog-77") == state
