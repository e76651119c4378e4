"""
Lives of a worker, made up. In each some limits are near, and what happens comes in episodes of one service, so that it
has a chance to come near them; between any two moves of an episode something else may happen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
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
dies = st.sampled_from(["before", "before", "after"])
end = st.sampled_from([*[State.RESOLVED] * 3, State.ESCALATED])
rarely = st.sampled_from([False] * 7 + [True])
direction = st.sampled_from(["out", "in"])
window = st.sampled_from(["cooldown", "hour", "radius", "undone", "escalation", "breaker", *["freeze"] * 3, "thaw"])
pause = st.sampled_from([1, 20_000, 20_000, 2 * MINUTE_MS, 2 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS])


def move(name: str, *arguments: st.SearchStrategy[Any]) -> Moves:
    return st.tuples(st.just(name), *arguments)


def alert(service: st.SearchStrategy[str]) -> Moves:
    return move("alert", service, rarely.map(lambda unlabelled: not unlabelled))


def after_death(service: str) -> Moves:
    """What is likely to make a difference to the worker that comes next."""
    return st.one_of(
        st.just(("until", "freeze", 0)),
        st.just(("turn", True)),
        move("wait", pause),
        move("meddle", st.just(service), st.integers(1, 6)),
        alert(st.just(service)),
        move("act", st.sampled_from(SERVICES), seen),
    )


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
    return st.one_of(*[st.just(())] * 3, st.tuples(happens))


def episode(service: str) -> st.SearchStrategy[list[Move]]:
    this = st.just(service)

    def acting(dying: st.SearchStrategy[str]) -> list[Moves]:
        return [move("plan", this, seen, rarely), move("carry_out", this, at_the_door, rarely, dying)]

    plain = st.tuples(*acting(st.just("")))
    died = st.tuples(*acting(dies), after_death(service), move("resume", this, at_the_door))
    begins = st.one_of(plain, died, st.tuples(alert(this)).flatmap(lambda first: plain.map(lambda rest: first + rest)))
    further = st.tuples(move("further", this, seen, die), move("resume", this))
    goes_on = st.one_of(
        plain, died, further, further, st.tuples(move("undo", this, die), after_death(service), move("resume", this))
    )
    ends = st.tuples(move("resume", this), move("end", this, end))
    run = st.builds(
        lambda first, then, last: [*first, *itertools.chain(*then), *last],
        begins,
        st.lists(goes_on, max_size=3),
        st.one_of(ends, ends, ends, st.just(())),  # some go on while others begin
    )
    repair = st.tuples(move("repair", this, end, seen, st.booleans()))
    repairs = st.lists(move("repair", this, end, seen), min_size=2, max_size=4)
    scaled = st.lists(move("scale", this, direction, rarely, rarely), min_size=1, max_size=3)
    left_over = st.tuples(move("scale", this, direction, rarely, rarely, dies), after_death(service), move("settle"))
    kinds = st.one_of(run, run, run, repair, repairs, scaled, left_over)
    return kinds.flatmap(lambda moves: _disturbed(service, moves))


def _disturbed(service: str, moves: Sequence[Move]) -> st.SearchStrategy[list[Move]]:
    return st.tuples(*[something_else(service).map(lambda other, one=one: (*other, one)) for one in moves]).map(
        lambda parts: _let_go(itertools.chain(*parts))
    )


def _let_go(moves: Iterable[Move]) -> list[Move]:
    """What stops everything ends with the episode: meanwhile no other limit is tried."""
    told = list(moves)
    switch = [("turn", False)] if ("turn", True) in told else []
    return [*told, *switch, *([("until", "thaw", 0)] if any(one[:2] == ("until", "freeze") for one in told) else [])]


rules = st.tuples(
    st.lists(st.sampled_from(sorted(set(TIGHT) - {"freezes"})), min_size=1, max_size=4, unique=True), st.booleans()
).map(lambda drawn: Rules.tight(*drawn[0], *["freezes"] * drawn[1]))
# What is done again and again comes near the limits of one target, and what goes round near those over all.
episodes = st.sampled_from([*["cart"] * 5, *SERVICES]).flatmap(episode)
LIVES = st.builds(
    Life,
    rules,
    st.lists(episodes, min_size=5, max_size=12).map(lambda parts: [*itertools.chain(*parts)]),
)
