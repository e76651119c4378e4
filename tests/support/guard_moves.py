"""
Lives of a worker, made up. In each some limits are near, and what happens comes in episodes of one service, so that it
has a chance to come near them; between any two moves of an episode something else may happen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from guard_oracle import HOUR_MS, MINUTE_MS, SERVICES, TIGHT, Rules
from guard_world import WELL, Telemetry, wants
from hypothesis import strategies as st

from remediation.store.record import State

Move: TypeAlias = "tuple[Any, ...]"
Moves: TypeAlias = "st.SearchStrategy[Move]"


class Life(NamedTuple):
    rules: Rules
    moves: list[Move]


# Mostly all is well: where nothing can be done anyway, no limit is tried. Each fault by itself must stop it.
FAULTS = [
    Telemetry(fresh=None),
    Telemetry(fresh=math.nan),
    Telemetry(away=True),
    Telemetry(rule=False, wanted=5.0),
    *map(wants, (None, math.nan, math.inf, -1.0)),
]
seen = st.sampled_from([WELL, wants(1.0), wants(4.0), wants(6.0), wants(9.0)] * 5 + FAULTS)
at_the_door = st.sampled_from([WELL] * 6 + [Telemetry(fresh=None), Telemetry(away=True)])
die = st.sampled_from(["", "", "", "before", "after"])
end = st.sampled_from([State.RESOLVED, State.RESOLVED, State.ESCALATED, State.REFUSED])
rarely = st.sampled_from([False] * 7 + [True])
direction = st.sampled_from(["out", "in"])
window = st.sampled_from(["cooldown", "hour", "radius", "undone", "escalation", "breaker", *["freeze"] * 3, "thaw"])
pause = st.sampled_from([1, 20_000, 2 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS])


def move(name: str, *arguments: st.SearchStrategy[Any]) -> Moves:
    return st.tuples(st.just(name), *arguments)


def alert(service: st.SearchStrategy[str]) -> Moves:
    return move("alert", service, rarely.map(lambda unlabelled: not unlabelled))


def something_else(service: str) -> st.SearchStrategy[tuple[Move, ...]]:
    this = st.just(service)
    happens = st.one_of(
        move("turn", st.booleans()),
        *[move("until", window, st.sampled_from([-1, 0, 0, 1]))] * 3,
        move("wait", pause),
        move("wait", st.integers(-20 * MINUTE_MS, 0)),  # the clock is set back
        move("meddle", this, st.integers(1, 6)),
        move("crash"),
        alert(this),
        move("act", st.sampled_from(SERVICES), seen),
        move("scale", st.sampled_from(SERVICES), direction),
    )
    return st.one_of(st.just(()), st.tuples(happens))


def episode(service: str) -> st.SearchStrategy[list[Move]]:
    this = st.just(service)
    dying = st.tuples(move("act", this, seen, die), move("resume", this, at_the_door))
    planned = st.tuples(move("plan", this, seen, rarely), move("carry_out", this, at_the_door, rarely, die))
    scaled = st.tuples(move("scale", this, direction, rarely, rarely, die), move("settle"))
    begins = st.one_of(
        dying,
        planned,
        st.tuples(move("act", this, seen)),
        st.tuples(alert(this), move("act", this, seen)),
    )
    goes_on = st.one_of(
        dying,
        st.tuples(move("further", this, seen, die)),
        st.tuples(move("undo", this, die), move("resume", this)),
    )
    ends = st.tuples(move("resume", this), move("end", this, end))
    repair = st.tuples(move("repair", this, end, seen, st.booleans()))
    run = st.builds(lambda *parts: [*itertools.chain(*parts)], begins, st.one_of(st.just(()), goes_on, goes_on), ends)
    kinds = st.one_of(run, run, repair, repair, repair, scaled, scaled, st.tuples(move("act", this, seen)))
    return kinds.flatmap(lambda moves: _disturbed(service, moves))


def _disturbed(service: str, moves: Sequence[Move]) -> st.SearchStrategy[list[Move]]:
    return st.tuples(*[something_else(service).map(lambda other, one=one: (*other, one)) for one in moves]).map(
        lambda parts: [*itertools.chain(*parts)]
    )


rules = st.lists(st.sampled_from(sorted(TIGHT)), min_size=2, max_size=5, unique=True)
# What is done again and again comes near the limits of one target, and what goes round near those over all.
episodes = st.sampled_from([*["cart"] * 5, *SERVICES]).flatmap(episode)
LIVES = st.builds(
    Life,
    rules.map(lambda names: Rules.tight(*names)),
    st.lists(episodes, min_size=3, max_size=9).map(lambda parts: [*itertools.chain(*parts)]),
)
