"""
What the load's history says it will be: the same time of former seasons, as a median and as a high quantile.

Simple on purpose: it needs no fit, cannot diverge, and a wrong day in the history moves a median little. What it cannot
know is a trend; the forecast is a floor only, and target tracking adds what it did not foresee.
"""

from __future__ import annotations

import datetime as dt
import math
import warnings
import zoneinfo
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from remediation.policy.autoscaler import Forecast

Floats = npt.NDArray[np.float64]

NEIGHBOURS = 1  # steps before and after that count as the same time: loads do not keep time to the minute
MINIMUM_SEASONS = 2  # of which something is known; less is no season


@dataclass(frozen=True, slots=True)
class History:
    """The load at `start_s + n * step_s`, Unix seconds; NaN where nothing is known."""

    start_s: float
    step_s: float
    values: Floats

    @property
    def end_s(self) -> float:
        """Of the last value."""
        return self.start_s + (len(self.values) - 1) * self.step_s


@dataclass(frozen=True, slots=True)
class Prediction:
    """At `at_s`, Unix seconds: all float64[n], NaN where less than two seasons are known."""

    at_s: Floats
    expected: Floats  # the median
    high: Floats  # the quantile asked for


@dataclass(frozen=True, slots=True)
class Accuracy:
    """
    How the method would have done over the last season, each moment predicted from what came before it only.

    Errors are shares of all the load that came (weighted absolute percentage errors), so 0.1 is a tenth.
    """

    points: int
    error: float  # of `expected`
    error_of_last_season: float  # had it been predicted to be what it was one season ago
    error_of_now: float  # had it been predicted to stay as it was `ahead` before
    covered: float  # share of the moments at which no more came than `high`
    spare: float  # of the load that came, by how much `high` exceeded it on average


def history_of(samples: list[tuple[float, float]], *, start_s: float, end_s: float, step_s: float) -> History:
    """
    On a grid from `start_s` to `end_s`, inclusive.

    Args:
        samples: (Unix seconds, value), each on the grid; what is not there is NaN.
    """
    values = np.full(round((end_s - start_s) / step_s) + 1, np.nan)
    if samples:
        given = np.array(samples)
        places = np.rint((given[:, 0] - start_s) / step_s).astype(np.int64)
        inside = (places >= 0) & (places < len(values))
        values[places[inside]] = np.where(np.isfinite(given[inside, 1]), given[inside, 1], np.nan)
    return History(start_s, step_s, values)


def predict(forecast: Forecast, history: History, at_s: Floats, *, known_until_s: float | None = None) -> Prediction:
    """
    At each moment from the seasons before it.

    Args:
        known_until_s: Nothing later is looked at; the history's end without it.
    """
    until_s = history.end_s if known_until_s is None else known_until_s
    zone = zoneinfo.ZoneInfo(forecast.location)
    seasons = math.ceil((float(at_s.max()) - history.start_s) / forecast.season) if len(at_s) else 0
    found: list[Floats] = []
    for number in range(1, seasons + 1):
        back_s = at_s - number * forecast.season + _clock_shift(zone, at_s, number * forecast.season)
        near = range(-NEIGHBOURS, NEIGHBOURS + 1)
        found += [_values_at(history, back_s + step * history.step_s, until_s) for step in near]
    if not found:
        nothing = np.full(len(at_s), np.nan)
        return Prediction(at_s, nothing, nothing)
    known = np.array(found)  # [season and neighbour, moment]
    by_season = known.reshape(seasons, 2 * NEIGHBOURS + 1, len(at_s))
    enough = np.isfinite(by_season).any(axis=1).sum(axis=0) >= MINIMUM_SEASONS
    with warnings.catch_warnings():  # a moment of which nothing is known is NaN, as wanted
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.where(enough, np.nanmedian(known, axis=0), np.nan)
        high = np.where(enough, np.nanquantile(known, forecast.quantile, axis=0), np.nan)
    return Prediction(at_s, expected, high)


def measure(forecast: Forecast, history: History) -> Accuracy | None:
    """Over the last season of the history; None if no moment of it could have been predicted."""
    steps = int(forecast.season / history.step_s)
    first = max(0, len(history.values) - steps)
    at_s = history.start_s + np.arange(first, len(history.values), dtype=np.float64) * history.step_s
    # A season is longer than `ahead`, so whatever is looked at was known `ahead` before; but for the neighbours.
    predicted = predict(forecast, history, at_s)
    came = history.values[first:]
    last = _values_at(history, at_s - forecast.season, history.end_s)
    before = _values_at(history, at_s - forecast.ahead, history.end_s)
    both = np.isfinite(predicted.expected) & np.isfinite(came) & np.isfinite(last) & np.isfinite(before)
    total = float(came[both].sum())
    if not both.any() or total <= 0:
        return None

    def error(prediction: Floats) -> float:
        return float(np.abs(prediction[both] - came[both]).sum()) / total

    return Accuracy(
        points=int(both.sum()),
        error=error(predicted.expected),
        error_of_last_season=error(last),
        error_of_now=error(before),
        covered=float((came[both] <= predicted.high[both]).mean()),
        spare=float(np.clip(predicted.high[both] - came[both], 0, None).sum()) / total,
    )


def moments_ahead(forecast: Forecast, now_s: float) -> Floats:
    """From the step that `now_s` is in to `ahead` after it, both inclusive."""
    first = math.floor(now_s / forecast.step) * forecast.step
    return first + np.arange(math.ceil(forecast.ahead / forecast.step) + 1, dtype=np.float64) * forecast.step


def floor_of(prediction: Prediction, per_replica: float) -> int | None:
    """Replicas for the highest load that is to be expected; None if nothing is known of any moment."""
    highest = prediction.high[np.isfinite(prediction.high)]
    if not len(highest) or not math.isfinite(per_replica) or per_replica <= 0:
        return None
    return max(1, math.ceil(float(highest.max()) / per_replica - 1e-9))


def _values_at(history: History, at_s: Floats, until_s: float) -> Floats:
    """Of the nearest step; NaN outside of the history, and after `until_s`."""
    places = np.rint((at_s - history.start_s) / history.step_s).astype(np.int64)
    inside = (places >= 0) & (places < len(history.values)) & (at_s <= until_s)
    return np.where(inside, history.values[np.clip(places, 0, len(history.values) - 1)], np.nan)


def _clock_shift(zone: zoneinfo.ZoneInfo, at_s: Floats, back_s: float) -> Floats:
    """Seconds by which the same time on the wall lay later in UTC, `back_s` before each moment."""
    if not len(at_s):
        return np.zeros(0)
    # The clock is moved at most twice a year: the ends say whether it was moved, single moments only where they differ.
    ends = {_shift(zone, float(at_s[0]), back_s), _shift(zone, float(at_s[-1]), back_s)}
    if len(ends) == 1:
        return np.full(len(at_s), ends.pop())
    return np.array([_shift(zone, float(one), back_s) for one in at_s])


def _shift(zone: zoneinfo.ZoneInfo, at_s: float, back_s: float) -> float:
    now = dt.datetime.fromtimestamp(at_s, zone).utcoffset() or dt.timedelta()
    then = dt.datetime.fromtimestamp(at_s - back_s, zone).utcoffset() or dt.timedelta()
    return (now - then).total_seconds()
