"""
Open arrivals: a Poisson process for each kind of journey, drawn as one process whose arrivals are then given a kind.

Open means that arrivals do not wait for answers: a shop that slows down gets the same load, as the world would give it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

# A process that was stopped for longer than this forgets what it missed, instead of sending it all at once.
LONGEST_CATCH_UP_S = 1.0


class PoissonArrivals:
    """Moments are seconds of one clock that does not go back."""

    def __init__(self, random: random.Random) -> None:
        self._random = random
        self._rates: dict[str, float] = {}
        self.next_at = math.inf  # when the next arrival is due; infinite if none ever is

    def due(self, rates: Mapping[str, float], now: float) -> list[str]:
        """
        The kinds that arrived since the last call, in their order, up to and including `now`.

        A change of `rates` counts from `now` on. What was drawn before it is drawn again, which the process, having no
        memory, does not notice.
        """
        if now - self.next_at > LONGEST_CATCH_UP_S:
            self.next_at = now
        arrived = []
        while self.next_at <= now:
            arrived.append(self._kind())
            self.next_at += self._wait()
        if rates != self._rates:
            self._rates = dict(rates)
            self.next_at = now + self._wait()
        return arrived

    def _wait(self) -> float:
        total = sum(self._rates.values())
        return self._random.expovariate(total) if total > 0 else math.inf

    def _kind(self) -> str:
        kinds = list(self._rates)
        return self._random.choices(kinds, weights=[self._rates[kind] for kind in kinds])[0]
