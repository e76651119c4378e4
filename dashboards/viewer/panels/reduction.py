"""One number of a series: the calculations that stats, gauges and legends ask for, by Grafana's ids."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

NAMES = {
    "lastNotNull": "Last",
    "last": "Last",
    "firstNotNull": "First",
    "first": "First",
    "max": "Max",
    "min": "Min",
    "mean": "Mean",
    "sum": "Total",
    "count": "Count",
    "range": "Range",
    "diff": "Difference",
    "delta": "Delta",
    "median": "Median",
    "stdDev": "StdDev",
}


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


_CALCULATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "lastNotNull": lambda values: values[-1],
    "last": lambda values: values[-1],
    "firstNotNull": lambda values: values[0],
    "first": lambda values: values[0],
    "max": max,
    "min": min,
    "mean": lambda values: sum(values) / len(values),
    "sum": sum,
    "count": lambda values: float(len(values)),
    "range": lambda values: max(values) - min(values),
    "diff": lambda values: values[-1] - values[0],
    "delta": lambda values: values[-1] - values[0],
    "median": _median,
    "stdDev": _deviation,
}


def reduced(points: Sequence[tuple[float, float]], calculation: str) -> float | None:
    """None without a sample, or for a calculation that nobody knows. NaN is no sample."""
    values = [value for _, value in points if not math.isnan(value)]
    calculate = _CALCULATIONS.get(calculation)
    return calculate(values) if values and calculate else None


def wanted(options: object, default: str = "lastNotNull") -> str:
    """The calculation that a panel's `reduceOptions` name."""
    calculations = options.get("calcs") if isinstance(options, dict) else None
    return str(calculations[0]) if isinstance(calculations, list) and calculations else default
