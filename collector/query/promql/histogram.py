"""Quantiles and fractions of histograms, classic and native (prometheus/promql/quantile.go)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from collector.model.series import METRIC_NAME, Labels, labels_of
from collector.query.promql import native_statistics
from collector.query.promql.annotations import Annotations
from collector.query.promql.arrays import Rows
from collector.query.promql.numerals import format_float, parse_float
from collector.query.promql.values import Floats, Frame, Mask, empty_frame, merged, name_of, stacked

# (bounds [b], counts [b, k], the steps [k]) to values [k]
BucketFunction = Callable[[Floats, Floats, Rows], Floats]

BUCKET_LABEL = "le"
# Counts that differ by less than this, relatively, are the same number after floating point arithmetic
# (prometheus/promql/quantile.go, smallDeltaTolerance).
SMALL_DELTA = 1e-12
_MIN_NORMAL = float(np.finfo(np.float64).smallest_normal)


class Starts(NamedTuple):
    """Where in the text the first argument is, and the vector."""

    first: int
    vector: int


def note_ratios(ratios: Floats, asked: Mask, notes: Annotations, start: int) -> None:
    wrong = asked & ~((ratios >= 0) & (ratios <= 1))
    for ratio in np.unique(ratios[wrong]).tolist():
        notes.invalid_quantile(ratio, start)


def histogram_quantile(ratios: Floats, frame: Frame, notes: Annotations, starts: Starts) -> Frame:
    """
    The quantile of each histogram, native or classic.

    Args:
        ratios: [k], one for each step.
        frame: classic buckets that differ in `le` only are one histogram; those without a numeric `le` are left out.
    """
    native, classic = _separated(frame, notes, starts.vector)
    answers = [_native_quantile(ratios, native, notes, starts.first)] if native is not None else []
    forced: list[bool] = []

    def of_buckets(bounds: Floats, counts: Floats, steps: Rows) -> Floats:
        result, changed = _quantile(ratios[steps], bounds, counts)
        forced.append(changed)
        return result

    answers.append(_of_classic(classic, frame.steps, of_buckets))
    if any(forced):
        notes.forced_monotonicity("", starts.vector)
    return merged(stacked(answers, frame.steps))


def histogram_quantiles(ratios: list[Floats], label: str, frame: Frame, notes: Annotations, starts: Starts) -> Frame:
    """Several quantiles, told apart by a label."""
    answers = []
    for values in ratios:
        answer = histogram_quantile(values, frame, notes, starts)
        for ratio in np.unique(values).tolist():
            labels = tuple(labels_of(dict(one) | {label: _openmetrics(ratio)}) for one in answer.labels)
            same = np.isnan(values) if np.isnan(ratio) else values == ratio
            answers.append(answer.relabelled(labels).where(answer.present & same))
    return merged(stacked(answers, frame.steps))


def histogram_fraction(bounds: tuple[Floats, Floats], frame: Frame, notes: Annotations, starts: Starts) -> Frame:
    """The fraction of observations between two bounds, each [k]."""
    native, classic = _separated(frame, notes, starts.vector)
    lower, upper = bounds
    answers = []
    if native is not None:
        rows, steps, table = native.histograms()
        values, nan_observed = native_statistics.fraction(table, lower[steps], upper[steps])
        for row in np.unique(rows[nan_observed]).tolist():
            metric = name_of(native.labels[row])
            consequence = "which are excluded from all fractions"
            notes.nan_observations("histogram_fraction", consequence, metric, starts.first)
        answers.append(_as_floats(native, rows, steps, values))

    def of_buckets(edges: Floats, counts: Floats, steps: Rows) -> Floats:
        return _fraction(lower[steps], upper[steps], edges, counts)

    answers.append(_of_classic(classic, frame.steps, of_buckets))
    return merged(stacked(answers, frame.steps))


def _native_quantile(ratios: Floats, native: Frame, notes: Annotations, start: int) -> Frame:
    rows, steps, table = native.histograms()
    values, undefined, skewed = native_statistics.quantile(table, ratios[steps])
    for cells, consequence in ((undefined, "result is NaN"), (skewed, "result is skewed higher")):
        for row in np.unique(rows[cells]).tolist():
            notes.nan_observations("histogram_quantile", consequence, name_of(native.labels[row]), start)
    return _as_floats(native, rows, steps, values)


def _as_floats(native: Frame, rows: Rows, steps: Rows, values: Floats) -> Frame:
    result = np.zeros(native.values.shape)
    result[rows, steps] = values
    return Frame(native.labels, result, native.is_histogram).without_names()


def _separated(frame: Frame, notes: Annotations, start: int) -> tuple[Frame | None, Frame]:
    """Native histograms, and classic buckets. Where both claim the same labels at a step, neither counts."""
    classic = frame.floats()
    if frame.cells is None or not frame.is_histogram.any():
        _note_bounds(classic, notes, start)
        return None, classic
    _note_bounds(classic, notes, start)
    native = frame.where(frame.is_histogram)
    key_of = [_key(labels) for labels in frame.labels]
    both: dict[Labels, list[int]] = {}
    for row, key in enumerate(key_of):
        both.setdefault(key, []).append(row)
    bad = np.zeros(frame.present.shape, dtype=np.bool_)
    numeric = np.array([_bound(labels) is not None for labels in frame.labels])
    for rows in both.values():
        clash = native.present[rows].any(axis=0) & (classic.present[rows] & numeric[rows][:, None]).any(axis=0)
        if clash.any():
            bad[rows] = clash
            named = next(row for row in rows if native.present[row].any())
            notes.mixed_classic_native(name_of(frame.labels[named]), start)
    return native.where(native.present & ~bad), classic.where(classic.present & ~bad)


def _note_bounds(classic: Frame, notes: Annotations, start: int) -> None:
    for row, labels in enumerate(classic.labels):
        if _bound(labels) is None and classic.present[row].any():
            notes.bad_bucket(name_of(labels), dict(labels).get(BUCKET_LABEL, ""), start)


def _bound(labels: Labels) -> float | None:
    return parse_float(next((value for name, value in labels if name == BUCKET_LABEL), ""))


def _key(labels: Labels) -> Labels:
    return tuple(pair for pair in labels if pair[0] not in (BUCKET_LABEL, METRIC_NAME))


def _of_classic(buckets: Frame, steps: int, function: BucketFunction) -> Frame:
    rows_of: dict[Labels, list[tuple[float, int]]] = {}
    for row, labels in enumerate(buckets.labels):
        bound = _bound(labels)
        if bound is not None:
            rows_of.setdefault(_key(labels), []).append((bound, row))
    if not rows_of:
        return empty_frame(steps)
    values = np.empty((len(rows_of), steps))
    present = np.empty((len(rows_of), steps), dtype=np.bool_)
    for index, bounded_rows in enumerate(rows_of.values()):
        bounded_rows.sort()
        rows = [row for _, row in bounded_rows]
        bounds = np.array([bound for bound, _ in bounded_rows])
        here = buckets.present[rows]
        present[index] = here.any(axis=0)
        values[index] = _by_pattern(function, bounds, buckets.values[rows], here)
    return Frame(tuple(rows_of), values, present)


def _by_pattern(function: BucketFunction, bounds: Floats, counts: Floats, present: Mask) -> Floats:
    """Evaluate the steps at which the same buckets are present together."""
    width = present.shape[1]
    if present.all():
        return function(bounds, counts, np.arange(width))
    result = np.full(width, np.nan)
    patterns, pattern_of = np.unique(present, axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        steps = np.flatnonzero(pattern_of.reshape(-1) == number)
        rows = patterns[:, number]
        if rows.any():
            result[steps] = function(bounds[rows], counts[rows][:, steps], steps)
    return result


def _quantile(ratios: Floats, bounds: Floats, counts: Floats) -> tuple[Floats, bool]:
    """Bounds [b] rising, counts [b, k] cumulative. The second says whether counts that fell were repaired."""
    result, forced = np.full(len(ratios), np.nan), False
    if np.isposinf(bounds[-1]):
        bounds, counts = _coalesced(bounds, counts)
        if len(bounds) >= 2:
            repaired, fell = _monotonic(counts)
            forced = bool((fell & (ratios >= 0) & (ratios <= 1) & (repaired[-1] != 0)).any())
            result = _interpolated(ratios, bounds, repaired)
    result = np.where(ratios < 0, -np.inf, np.where(ratios > 1, np.inf, result))
    return np.where(np.isnan(ratios), np.nan, result), forced


def _fraction(lower: Floats, upper: Floats, bounds: Floats, counts: Floats) -> Floats:
    if not np.isposinf(bounds[-1]):
        return np.full(len(lower), np.nan)
    bounds, counts = _coalesced(bounds, counts)
    total = counts[-1]
    result = (np.minimum(_rank(upper, bounds, counts), total) - np.minimum(_rank(lower, bounds, counts), total)) / total
    result = np.where(lower >= upper, 0.0, result)
    return np.where((total == 0) | np.isnan(lower) | np.isnan(upper), np.nan, result)


def _rank(limit: Floats, bounds: Floats, counts: Floats) -> Floats:
    """How many observations are below `limit`, [k]."""
    steps = np.arange(len(limit))
    bucket = np.searchsorted(bounds, limit, side="right")  # the bucket that `limit` is inside of
    inside = np.minimum(bucket, len(bounds) - 1)
    before = np.where(inside > 0, counts[np.maximum(inside - 1, 0), steps], 0.0)
    start = np.where(inside > 0, bounds[np.maximum(inside - 1, 0)], 0.0 if bounds[0] > 0 else -np.inf)
    share = (limit - start) / (bounds[inside] - start)
    part = np.where(limit == start, 0.0, (counts[inside, steps] - before) * share)
    result = before + np.where(np.isneginf(limit), 0.0, part)
    return np.where(bucket >= len(bounds), counts[-1], result)


def _coalesced(bounds: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Add up buckets of the same bound, written differently (`le="1"` and `le="1.0"`)."""
    unique, starts = np.unique(bounds, return_index=True)
    if len(unique) == len(bounds):
        return bounds, counts
    return unique, np.asarray(np.add.reduceat(counts, starts, axis=0))


def _monotonic(counts: Floats) -> tuple[Floats, Mask]:
    """
    Repair what scrapes and rates broke: cumulative counts never fall, and tiny differences are none.

    Returns:
        the counts, and the steps at which some fell, [k].
    """
    result = counts.copy()
    previous = result[0]
    fell = np.zeros(counts.shape[1], dtype=np.bool_)
    for row in result[1:]:
        total = np.abs(previous) + np.abs(row)
        difference = np.abs(previous - row)
        tiny = np.where(
            (previous == 0) | (row == 0) | (total < _MIN_NORMAL),
            difference < SMALL_DELTA * _MIN_NORMAL,
            difference / np.minimum(total, np.finfo(np.float64).max) < SMALL_DELTA,
        )
        fell |= (row < previous) & ~tiny
        np.copyto(row, previous, where=tiny | (row < previous))
        previous = row
    return result, fell


def _interpolated(ratios: Floats, bounds: Floats, counts: Floats) -> Floats:
    steps = np.arange(len(ratios))
    observations = counts[-1]
    rank = ratios * observations
    # the first bucket but the last whose count reaches the rank
    reached = counts[:-1] >= rank
    bucket = np.where(reached.any(axis=0), reached.argmax(axis=0), len(bounds) - 1)
    inside = np.minimum(bucket, len(bounds) - 2)
    before = np.maximum(inside - 1, 0)
    first = inside == 0
    start = np.where(first, 0.0, bounds[before])
    below = np.where(first, 0.0, counts[before, steps])
    fraction = (rank - below) / (counts[inside, steps] - below)
    result = start + (bounds[inside] - start) * fraction
    result = np.where(first & (bounds[0] <= 0), bounds[0], result)
    result = np.where(bucket == len(bounds) - 1, bounds[-2], result)
    return np.where(observations == 0, np.nan, result)


def _openmetrics(value: float) -> str:
    """A label's number as OpenMetrics writes it: `1.0`, `0.5`."""
    text = format_float(value)
    return text if any(symbol in text for symbol in ".NI") else f"{text}.0"
