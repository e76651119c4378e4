"""The steady state before the injection: whether all of it has held together for long enough, and why not."""

from __future__ import annotations

from collections.abc import Iterable

from remediation.drills import capacity
from remediation.drills.bounds import number
from remediation.drills.checks import AnyCheck
from remediation.drills.definition import Definition
from remediation.drills.facts import Facts
from remediation.drills.telemetry_checks import ChangeOf, PromQL
from remediation.drills.tracker import Watch


class Steadiness:
    """
    Pure: times are seconds of the engine's clock.

    Args:
        later: The checks of all expectations: what these count from must be known when the injection begins.
    """

    def __init__(self, definition: Definition, later: Iterable[AnyCheck]) -> None:
        self._limits = definition.steady_state
        self._watches = tuple(Watch(each) for each in self._limits.conditions)
        later = tuple(later)
        sized = (each.load.service for each in definition.inject if each.load and each.load.service)
        uses = any(isinstance(each, PromQL) and "$capacity" in each.promql for each in later)
        # The services whose capacity must be known: `$capacity`, and what the loads are sized by.
        self.services = tuple(dict.fromkeys((*((definition.service,) if uses else ()), *sized)))
        self._changing = [each.promql for each in later if isinstance(each, ChangeOf)]
        self._capacities: dict[str, float | None] = {}
        self._began = 0.0
        self._since: float | None = None

    @property
    def checks(self) -> list[AnyCheck]:
        return [watch.check for watch in self._watches]

    @property
    def queries(self) -> list[str]:
        """What the observations must carry beside what the checks ask for."""
        return [*map(capacity.replica_capacity_query, self.services), *self._changing]

    def begin(self, now: float) -> None:
        self._began = now

    def observe(self, facts: Facts, now: float) -> dict[str, float] | None:
        """The capacities, by service, once all has held together for `hold`; None until then."""
        holding = [watch.observe(facts, now) for watch in self._watches]  # all, so that each knows what it saw
        self._capacities = {name: capacity.of(name, facts.now) for name in self.services}
        # What a change is counted from must be known: unread, it would pass for "there was none".
        known = all(query in facts.now.samples for query in self._changing)
        if not (all(holding) and all(self._capacities.values()) and known):
            self._since = None
            return None
        self._since = now if self._since is None else self._since
        if now - self._since < self._limits.hold:
            return None
        return {name: value for name, value in self._capacities.items() if value}

    def given_up(self, now: float) -> list[str]:
        """Why the drill cannot begin, once the time for it is over; nothing before."""
        waited = now - self._began
        if waited <= self._limits.within + self._limits.hold:
            return []
        reasons = [
            f'the steady state does not hold: "{watch.condition.name}": '
            f"wanted {watch.check.wanted}, got {watch.last.got} after {waited:.1f}s"
            for watch in self._watches
            if watch.last.holds is not True
        ]
        unknown = (name for name, value in self._capacities.items() if not value)
        reasons += [f"the steady state does not hold: the capacity of {name} is not in telemetry" for name in unknown]
        return reasons or [f"the steady state never held for {number(self._limits.hold)}s together"]

    def waiting_for(self) -> list[str]:
        """What does not hold, one line each, for whoever watches."""
        return [f"{each.condition.name}: {each.last.got}" for each in self._watches if each.last.holds is not True]
