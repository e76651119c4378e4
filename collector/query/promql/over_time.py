"""
Functions over range vectors, of floats and of native histograms, and what becomes of series that have both.

Source: prometheus/promql/functions.go and engine.go (rangeEval over matrix selectors).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from collector.errors import UnsupportedError
from collector.model.series import Labels
from collector.query.promql import mixed_windows, native_windows, range_functions, spread, trend
from collector.query.promql.annotations import Annotations
from collector.query.promql.native_windows import HistogramWindows
from collector.query.promql.range_functions import Function
from collector.query.promql.values import Frame, Mask, merged, name_of, stacked
from collector.query.promql.windows import Windows

FLOAT_FUNCTIONS: dict[str, Function] = range_functions.BY_NAME | spread.BY_NAME | trend.BY_NAME
# Of one range vector and nothing else.
BY_NAME = frozenset(FLOAT_FUNCTIONS)
KEEPS_NAME = frozenset({"last_over_time", "first_over_time"})
# Histograms and floats in one window: no result, and a warning.
_EXCLUSIVE = frozenset({"rate", "increase", "delta", "irate", "idelta", "sum_over_time", "avg_over_time"})
# The same, but the floats count as if they were alone, with an info.
_FLOATS_ONLY = frozenset(
    {"min_over_time", "max_over_time", "stddev_over_time", "stdvar_over_time", "mad_over_time", "quantile_over_time"}
    | {"deriv", "predict_linear", "double_exponential_smoothing", "ts_of_max_over_time", "ts_of_min_over_time"}
)


@dataclass(frozen=True, slots=True)
class RangeSamples:
    """A range vector at every step: a series' floats are in `floats`, its histograms in `histograms`."""

    floats: Sequence[Windows]
    histograms: HistogramWindows | None
    steps: int  # that the windows have: 1 where `@` pins them
    start: int  # where in the text the range vector is


def apply(
    name: str,
    samples: RangeSamples,
    notes: Annotations,
    *,
    function: Function | None = None,
    check: Callable[[], None] = lambda: None,
) -> Frame:
    """
    One function over a range vector.

    Args:
        function: what to do with the floats, where it takes more than they are.
        check: called between parts; raises when the time is over.
    """
    of_floats = function or FLOAT_FUNCTIONS[name]
    histograms = samples.histograms
    if histograms is not None and name in {"changes", "resets"}:
        return _marks(name, samples, histograms)
    if histograms is not None and name in _EXCLUSIVE | _FLOATS_ONLY:
        samples = _without_mixtures(name, samples, histograms, notes)
        histograms = samples.histograms
    frames = []
    for windows in samples.floats:
        check()
        frames.append(range_functions.apply(of_floats, windows))
    if name in {"rate", "increase"}:
        for frame in frames:
            _note_names(frame, notes, samples.start)
    floats = stacked(frames, samples.steps)
    if histograms is None or name in _FLOATS_ONLY:
        return floats
    check()
    return _joined(name, floats, _of_histograms(name, histograms, notes, samples.start), samples)


def _note_names(frame: Frame, notes: Annotations, start: int) -> None:
    names: dict[str, None] = {}
    for row in np.flatnonzero(frame.present.any(axis=1)).tolist():
        names[name_of(frame.labels[row])] = None
    for name in names:
        notes.possible_non_counter(name, start)


def _of_histograms(name: str, windows: HistogramWindows, notes: Annotations, start: int) -> Frame:
    match name:
        case "rate" | "increase" | "delta":
            counter, per_second = name != "delta", name == "rate"
            return native_windows.rate(windows, notes, start, counter=counter, per_second=per_second)
        case "irate" | "idelta":
            return native_windows.instant_change(windows, notes, start, counter=name == "irate")
        case "sum_over_time" | "avg_over_time":
            return native_windows.total(windows, mean=name == "avg_over_time")
        case "last_over_time" | "first_over_time":
            return native_windows.edge(windows, last=name == "last_over_time")
        case "ts_of_first_over_time" | "ts_of_last_over_time":
            return native_windows.edge_time(windows, last=name == "ts_of_last_over_time")
        case "count_over_time":
            return native_windows.count(windows)
        case "present_over_time":
            return native_windows.present(windows)
    raise UnsupportedError(f'function "{name}" is not supported over native histograms')


def _marks(name: str, samples: RangeSamples, histograms: HistogramWindows) -> Frame:
    """changes and resets: of series of one kind by themselves, of those with both kinds together."""
    mixed = (_float_counts(samples, histograms) > 0).any(axis=1)
    rows = np.flatnonzero(mixed).tolist()
    together = {histograms.labels[row] for row in rows}
    frames = []
    for part in samples.floats:
        frame = range_functions.apply(FLOAT_FUNCTIONS[name], part)
        frames.append(frame.take([row for row, labels in enumerate(frame.labels) if labels not in together]))
    alone = native_windows.reset_count(histograms) if name == "resets" else native_windows.change_count(histograms)
    frames.append(alone.take(np.flatnonzero(~mixed)))
    frames.append(mixed_windows.count_marks(name, samples.floats, histograms, rows))
    return stacked(frames, samples.steps)


def _float_counts(samples: RangeSamples, windows: HistogramWindows) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """How many floats are in each window of the series that have histograms, [s, k]."""
    counts = np.zeros(windows.shape, dtype=np.int64)
    row_of = {labels: row for row, labels in enumerate(windows.labels)}
    for part in samples.floats:
        inside = np.broadcast_to(part.counts, part.shape)
        for row, labels in enumerate(part.labels):
            if (target := row_of.get(labels)) is not None:
                counts[target] += inside[row]
    return counts


def _without_mixtures(name: str, samples: RangeSamples, windows: HistogramWindows, notes: Annotations) -> RangeSamples:
    floats = _float_counts(samples, windows)
    mixed = np.asarray((floats > 0) & (windows.counts > 0))
    if not mixed.any():
        return samples
    for row in np.flatnonzero(mixed.any(axis=1)).tolist():
        metric = name_of(windows.labels[row])
        (notes.ignored_in_range if name in _FLOATS_ONLY else notes.mixed_kinds)(metric, samples.start)
    if name in _FLOATS_ONLY:
        return samples
    keep = {labels: ~mixed[row] for row, labels in enumerate(windows.labels)}
    parts = [part.where(_kept(part, keep)) for part in samples.floats]
    return RangeSamples(parts, windows.where(~mixed), samples.steps, samples.start)


def _kept(part: Windows, keep: dict[Labels, Mask]) -> Mask:
    everything = np.ones(part.shape[1], dtype=np.bool_)
    return np.stack([keep.get(labels, everything) for labels in part.labels])


def _joined(name: str, floats: Frame, histograms: Frame, samples: RangeSamples) -> Frame:
    """One row for each series: of a series with both kinds, what the function says of the two together."""
    if not set(floats.labels) & set(histograms.labels):
        return stacked([floats, histograms], samples.steps)
    row_of = {labels: row for row, labels in enumerate(floats.labels)}
    rows = [(row, row_of[labels]) for row, labels in enumerate(histograms.labels) if labels in row_of]
    here, there = np.array([row for row, _ in rows]), np.array([row for _, row in rows])
    both = np.asarray(histograms.present[here] & floats.present[there])
    float_wins = np.ones(both.shape, dtype=np.bool_)
    values = floats.values.copy()
    mine, theirs = histograms.values[here], floats.values[there]
    if name == "count_over_time":
        values[there] = np.where(both, mine + theirs, theirs)
    elif name in {"ts_of_first_over_time", "ts_of_last_over_time"}:
        values[there] = np.where(both, (np.minimum if "first" in name else np.maximum)(mine, theirs), theirs)
    elif name in {"first_over_time", "last_over_time"}:
        float_wins = _float_is_edge(name, samples, [histograms.labels[row] for row in here.tolist()])
    float_present, present = floats.present.copy(), histograms.present.copy()
    float_present[there] &= ~(both & ~float_wins)
    present[here] &= ~(both & float_wins)
    return merged(stacked([Frame(floats.labels, values, float_present), histograms.where(present)], samples.steps))


def _float_is_edge(name: str, samples: RangeSamples, labels: list[Labels]) -> Mask:
    """Whether the first or last sample of each window is a float, of series that have both kinds, [rows, k]."""
    timed = f"ts_of_{name}"
    frame = stacked([range_functions.apply(FLOAT_FUNCTIONS[timed], part) for part in samples.floats], samples.steps)
    if samples.histograms is None:
        raise TypeError("series of both kinds have histograms")
    other = native_windows.edge_time(samples.histograms, last=name == "last_over_time")
    times = dict(zip(frame.labels, frame.values, strict=True))
    others = dict(zip(other.labels, other.values, strict=True))
    earlier = np.stack([times[one] < others[one] for one in labels])
    return earlier if name == "first_over_time" else ~earlier
