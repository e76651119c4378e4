"""How many journeys of each kind begin in a second, now and when a time-limited change is over. No clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

KINDS = ("browse", "recommend", "cart", "buy")
HIGHEST_TOTAL = 500.0  # arrivals a second; one process of Locust serves about as many
LONGEST_TTL_S = 3600.0


class RateError(ValueError):
    """A rate or its time to live is out of bounds; the message names it, its value and the limit."""


def checked_rates(given: Mapping[str, Any]) -> dict[str, float]:
    """
    Raises:
        RateError: an unknown kind, or a rate that is not a number from 0 to HIGHEST_TOTAL.
    """
    rates = {}
    for kind, rate in given.items():
        if kind not in KINDS:
            raise RateError(f"unknown kind of journey {kind!r}; there are {', '.join(KINDS)}")
        rates[kind] = _number(kind, rate, 0.0, HIGHEST_TOTAL)
    return rates


def _number(name: str, value: Any, lowest: float, highest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RateError(f"{name} must be a number, got {str(value)[:80]!r}")
    if not lowest <= value <= highest:
        raise RateError(f"{name} must be from {lowest:g} to {highest:g}, got {value:g}")
    return float(value)


class RateBook:
    """The rates in force. Moments are seconds of one clock, whichever the caller uses."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        """
        Raises:
            RateError: see `checked_rates`; or all together are above HIGHEST_TOTAL.
        """
        self._base = _bounded_total(dict.fromkeys(KINDS, 0.0) | checked_rates(base))
        self._for_a_time: dict[str, float] | None = None
        self._until = 0.0

    def current(self, now: float) -> dict[str, float]:
        if self._for_a_time is not None and now >= self._until:
            self._for_a_time = None
        return self._base if self._for_a_time is None else self._for_a_time

    def ends_in(self, now: float) -> float | None:
        """Seconds until the former rates return; None if the current ones stay."""
        self.current(now)
        return None if self._for_a_time is None else self._until - now

    def put(self, body: Mapping[str, Any], now: float) -> None:
        """
        Change the rates that `body` names; others stay as they are now.

        Args:
            body: Kinds and rates, and `ttl_s` (1 to LONGEST_TTL_S) if the lasting rates shall return by themselves.
                Without it the change lasts, and what was set for a time is over.

        Raises:
            RateError: nothing was changed.
        """
        changes = {key: value for key, value in body.items() if key != "ttl_s"}
        if not changes:
            raise RateError(f"no rate given; name one of {', '.join(KINDS)}")
        wanted = _bounded_total(self.current(now) | checked_rates(changes))
        if body.get("ttl_s") is None:
            self._base, self._for_a_time = wanted, None
        else:
            self._until = now + _number("ttl_s", body["ttl_s"], 1.0, LONGEST_TTL_S)
            self._for_a_time = wanted


def _bounded_total(rates: dict[str, float]) -> dict[str, float]:
    total = sum(rates.values())
    if total > HIGHEST_TOTAL:
        raise RateError(f"all rates together must be at most {HIGHEST_TOTAL:g} a second, got {total:g}")
    return rates
