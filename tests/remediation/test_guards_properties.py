"""
However alerts, times, outages and crashes fall, no limit is overrun, and what is not known widens nothing; and each
guard is needed for that: without it the oracle sees an overrun.
"""

from __future__ import annotations

import os

import pytest
from guard_moves import LIVES, Life
from guard_removals import GUARDS
from guard_world import world_of
from hypothesis import HealthCheck, example, given, settings

EXAMPLES = int(os.environ.get("STEERSMAN_GUARD_EXAMPLES", "12"))


def and_the_ways_to_each_limit(test):
    for guard in GUARDS.values():
        test = example(Life(guard.rules, list(guard.moves)))(test)
    return test


@and_the_ways_to_each_limit
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(LIVES)
def test_no_limit_is_ever_overrun(life):
    with world_of(life.rules) as world:
        world.go(life.moves)
        assert world.overruns == []


@pytest.mark.parametrize("name", GUARDS)
def test_each_guard_holds_and_without_it_its_limit_is_overrun(name):
    guard = GUARDS[name]
    with world_of(guard.rules) as world:
        world.go(guard.moves)
        assert world.overruns == []
        assert guard.told in (world.refusals[-1] if guard.told else ""), world.refusals
    with guard.patch(), world_of(guard.rules) as world:
        world.go(guard.moves)
        assert guard.overrun in {one.guard for one in world.overruns}, (world.refusals, world.history)
