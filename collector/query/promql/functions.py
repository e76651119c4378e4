"""Functions over instant vectors and scalars, value by value (prometheus/promql/functions.go)."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from collector.model.series import Labels
from collector.query.promql.values import Floats, Frame, Times

_RUNS = re.compile(r"[0-9]+|[^0-9]+")

# One argument, value by value. The metric name is dropped.
ELEMENTWISE: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sgn": lambda values: np.where(values < 0, -1.0, np.where(values > 0, 1.0, values)),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "deg": lambda values: values * 180 / np.pi,
    "rad": lambda values: values * np.pi / 180,
}


def larger(left: Floats, right: Floats) -> Floats:
    """As Go's math.Max: infinity wins over NaN."""
    return np.where(np.isposinf(left) | np.isposinf(right), np.inf, np.maximum(left, right))


def smaller(left: Floats, right: Floats) -> Floats:
    return np.where(np.isneginf(left) | np.isneginf(right), -np.inf, np.minimum(left, right))


def clamp(frame: Frame, low: Floats, high: Floats) -> Frame:
    """Nothing at the steps where `high` is below `low`."""
    clamped = frame.with_values(larger(low, smaller(high, frame.values)))
    return clamped.where(clamped.present & ~(high < low)).without_names()


def clamp_min(frame: Frame, low: Floats) -> Frame:
    return frame.with_values(larger(low, frame.values)).without_names()


def clamp_max(frame: Frame, high: Floats) -> Frame:
    return frame.with_values(smaller(high, frame.values)).without_names()


def round_(frame: Frame, nearest: Floats) -> Frame:
    """Halves go up."""
    inverse = 1.0 / nearest
    return frame.with_values(np.floor(frame.values * inverse + 0.5) / inverse).without_names()


def to_scalar(frame: Frame) -> Floats:
    """The value at the steps that have exactly one, else NaN; [k]."""
    only = np.where(frame.present, frame.values, 0.0).sum(axis=0)
    nan_only = np.where(frame.present, np.isnan(frame.values), False).any(axis=0)
    return np.where((frame.present.sum(axis=0) == 1) & ~nan_only, only, np.nan)


def sort(frame: Frame, *, descending: bool) -> Frame:
    """Order the series by their first step, NaN last; what a range query answers is sorted by labels again."""
    frame = frame.floats()
    if frame.values.shape[1] != 1:
        return frame
    values = frame.values[:, 0]
    return frame.take(np.lexsort((-values if descending else values, np.isnan(values))))


def sort_by_label(frame: Frame, names: list[str], *, descending: bool) -> Frame:
    """Order the series by these labels, numbers inside of them as numbers, then by all labels."""

    def key(row: int) -> tuple[list[tuple[list[tuple[int, int, str]], str]], Labels]:
        values = dict(frame.labels[row])
        return [(_natural(values.get(name, "")), values.get(name, "")) for name in names], frame.labels[row]

    return frame.take(sorted(range(len(frame.labels)), key=key, reverse=descending))


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Runs of digits compare as numbers, and before other text."""
    return [(0, int(run), "") if run.isdecimal() else (1, 0, run) for run in _RUNS.findall(text)]


def timestamps_s(times_ms: Times) -> Floats:
    return times_ms / 1000


def _dates(seconds: Floats) -> NDArray[np.datetime64]:
    return np.where(np.abs(seconds) < _SECONDS_END, np.trunc(seconds), 0.0).astype(np.int64).astype("datetime64[s]")


def _unit(seconds: Floats, fine: str, coarse: str) -> Floats:
    """How many `fine` units since the last full `coarse` one."""
    dates = _dates(seconds)
    since: NDArray[np.timedelta64] = dates.astype(f"datetime64[{fine}]") - dates.astype(f"datetime64[{coarse}]")
    return since.astype(np.float64)


def _months(seconds: Floats) -> NDArray[np.datetime64]:
    return _dates(seconds).astype("datetime64[M]")


def _days_in_month(seconds: Floats) -> Floats:
    months = _months(seconds)
    length: NDArray[np.timedelta64] = (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    return length.astype(np.float64)


_SECONDS_END = 2.0**63
# What Go (on amd64) makes of NaN, infinities and other seconds that no int64 holds: it takes the lowest int64.
_NO_TIME = {
    "minute": 30.0,
    "hour": 15.0,
    "day_of_month": 4.0,
    "day_of_year": 339.0,
    "day_of_week": 0.0,
    "days_in_month": 31.0,
    "month": 12.0,
    "year": 292277026596.0,
}
_OF_TIME: dict[str, Callable[[Floats], Floats]] = {
    "minute": lambda s: _unit(s, "m", "h"),
    "hour": lambda s: _unit(s, "h", "D"),
    "day_of_month": lambda s: _unit(s, "D", "M") + 1,
    "day_of_year": lambda s: _unit(s, "D", "Y") + 1,
    # 1970-01-01 was a Thursday, and Sunday is 0.
    "day_of_week": lambda s: (_dates(s).astype("datetime64[D]").astype(np.float64) + 4) % 7,
    "days_in_month": _days_in_month,
    "month": lambda s: _unit(s, "M", "Y") + 1,
    "year": lambda s: _dates(s).astype("datetime64[Y]").astype(np.float64) + 1970,
}


def calendar(name: str, seconds: Floats) -> Floats:
    """Of times in seconds since 1970, UTC: what `minute`, `year` and their kin say."""
    return np.where(np.abs(seconds) < _SECONDS_END, _OF_TIME[name](seconds), _NO_TIME[name])


CALENDAR = frozenset(_OF_TIME)
