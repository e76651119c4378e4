"""Colours: a palette for series, Grafana's names for thresholds, and which threshold a value has passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Ours; told apart by people who see red and green alike, on light and on dark.
PALETTE = (
    "#4c8dff", "#ff9830", "#4bbf9b", "#f2637e", "#a97bff", "#e3c438", "#38b6d8", "#c98a5c",
    "#8bc34a", "#e879c7", "#7f8ea3", "#f26b3a",
)  # fmt: skip
_NAMED = {
    "green": "#4cae6e",
    "dark-green": "#2f8f56",
    "semi-dark-green": "#3f9f62",
    "light-green": "#86d39c",
    "super-light-green": "#b7e6c4",
    "red": "#e5484d",
    "dark-red": "#b3262b",
    "semi-dark-red": "#cf3b41",
    "light-red": "#f28589",
    "orange": "#f5902f",
    "dark-orange": "#cf6a0c",
    "semi-dark-orange": "#e27d1e",
    "light-orange": "#ffb866",
    "yellow": "#e3c438",
    "dark-yellow": "#b99a12",
    "semi-dark-yellow": "#cfb028",
    "light-yellow": "#f2df85",
    "blue": "#4c8dff",
    "dark-blue": "#2563d9",
    "semi-dark-blue": "#3a78ec",
    "light-blue": "#8cb6ff",
    "purple": "#a97bff",
    "dark-purple": "#7d4fd6",
    "semi-dark-purple": "#9365eb",
    "light-purple": "#cbb0ff",
    "text": "inherit",
    "transparent": "transparent",
}
THRESHOLDS_DEFAULT: tuple[tuple[float, str], ...] = ((float("-inf"), "green"), (80.0, "red"))


def colour(name: str) -> str:
    """A CSS colour; names that are none of Grafana's are taken as CSS."""
    return _NAMED.get(name, name)


def of_series(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def steps_of(defaults: Mapping[str, Any]) -> list[tuple[float, str]]:
    """The thresholds of a field configuration: from which value on, which colour; the first has no lower end."""
    thresholds = defaults.get("thresholds")
    steps = thresholds.get("steps") if isinstance(thresholds, dict) else None
    if not isinstance(steps, list) or not steps:
        return []
    found = []
    for step in steps:
        if isinstance(step, dict):
            value = step.get("value")
            at = float("-inf") if not isinstance(value, int | float) else float(value)
            found.append((at, colour(str(step.get("color") or "green"))))
    return sorted(found, key=lambda step: step[0])


def threshold_colour(value: float | None, steps: Sequence[tuple[float, str]]) -> str:
    """The colour of the highest threshold passed; `inherit` without thresholds or value."""
    if value is None:
        return "inherit"
    passed = [shade for at, shade in steps if value >= at]
    return passed[-1] if passed else "inherit"
