"""When to start again what died: the first time at once, then ever later, anew after a good run."""

from __future__ import annotations

FIRST_DELAY_S = 0.5  # after the second early death in a row; then doubled
LONGEST_DELAY_S = 10.0  # what keeps dying is tried six times a minute
GOOD_RUN_S = 30.0  # who ran this long has left its earlier deaths behind


def early_deaths(before: int, ran_s: float) -> int:
    """Deaths in a row, this one included; `before` is what the last call said, 0 at first."""
    return 1 if ran_s >= GOOD_RUN_S else before + 1


def delay_s(deaths: int) -> float:
    """How long to wait after the `deaths`-th early death in a row (1 is the first): 0, 0.5, 1, 2, 4, 8, 10, 10, …"""
    if deaths <= 1:
        return 0.0
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(deaths - 2, 10))
