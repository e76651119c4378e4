"""
Range vectors of native histograms, and what functions make of them.

Source: prometheus/promql/functions.go, histogramRate, instantValue and the aggregations over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collector.model.histogram import HistogramSeries
from collector.model.series import Labels
from collector.query.promql.annotations import Annotations
from collector.query.promql.arrays import Floats, Mask, Rows, Times
from collector.query.promql.native import Histograms, combined, concatenated, equal, resets, summed, table_of
from collector.query.promql.range_functions import extrapolation
from collector.query.promql.values import Frame, name_of
from collector.query.promql.windows import first_inside


@dataclass(frozen=True, slots=True)
class HistogramWindows:
    """The samples of all series one after another; stale markers are left out."""

    labels: tuple[Labels, ...]  # s of them
    timestamps_ms: Times  # [m]
    table: Histograms  # m of them
    series_of: NDArray[np.int64]  # [m]
    low: Rows  # [s, k]: index of a window's first sample
    high: Rows  # [s, k]: one past its last sample
    starts_ms: Times  # [k], excluded from the window
    ends_ms: Times  # [k], included

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.labels), len(self.ends_ms)

    @property
    def counts(self) -> Rows:
        return self.high - self.low

    def at(self, index: Rows, cells: Mask) -> Histograms:
        """The samples at sample indexes, [s, k], of the cells that are asked for."""
        return self.table.take(index[cells])

    def where(self, cells: Mask) -> HistogramWindows:
        """Other cells have empty windows."""
        return replace(self, high=np.where(cells, self.high, self.low))


def histogram_windows(series: Sequence[HistogramSeries], ends_ms: Times, range_ms: int) -> HistogramWindows:
    kept = [[number for number, one in enumerate(each.histograms) if not one.stale] for each in series]
    times = [each.timestamps_ms[inside] for each, inside in zip(series, kept, strict=True)]
    values = [each.histograms[number] for each, inside in zip(series, kept, strict=True) for number in inside]
    starts = ends_ms - range_ms
    before = np.concatenate([[0], np.cumsum([len(one) for one in times])]).astype(np.intp)
    low = [begin + first_inside(one, starts) for begin, one in zip(before, times, strict=False)]
    high = [begin + np.searchsorted(one, ends_ms, side="right") for begin, one in zip(before, times, strict=False)]
    shape = (len(series), len(ends_ms))
    lows, highs = np.array(low, dtype=np.intp).reshape(shape), np.array(high, dtype=np.intp).reshape(shape)
    return HistogramWindows(
        tuple(each.labels for each in series),
        np.concatenate([*times, np.empty(0, np.int64)]),
        table_of(values),
        np.repeat(np.arange(len(series)), [len(one) for one in times]),
        lows,
        np.maximum(lows, highs),
        starts,
        ends_ms,
    )


def _frame(windows: HistogramWindows, cells: Mask, table: Histograms) -> Frame:
    rows, steps = np.nonzero(cells)
    return Frame(windows.labels, np.zeros(windows.shape), cells).with_histograms(rows, steps, table)


def _floats(windows: HistogramWindows, values: Floats) -> Frame:
    return Frame(windows.labels, np.broadcast_to(values, windows.shape), windows.counts > 0)


def _marked(windows: HistogramWindows, marks: Mask) -> NDArray[np.int64]:
    """How many samples of each window but its first are marked, [s, k]; `marks` [m]."""
    before = np.concatenate([[0], np.cumsum(marks)])
    return np.asarray(before[windows.high] - before[np.minimum(windows.low + 1, windows.high)])


def _pairs(windows: HistogramWindows) -> tuple[Rows, Histograms, Histograms]:
    """Each sample that has one before it in its series: its index, the one before, itself."""
    index = np.flatnonzero(windows.series_of[1:] == windows.series_of[:-1]) + 1
    return index, windows.table.take(index - 1), windows.table.take(index)


def _reset_marks(windows: HistogramWindows) -> Mask:
    marks = np.zeros(len(windows.table), dtype=np.bool_)
    index, previous, current = _pairs(windows)
    marks[index] = resets(previous, current)
    return marks


def rate(windows: HistogramWindows, notes: Annotations, start: int, *, counter: bool, per_second: bool) -> Frame:
    """rate, increase and delta: of windows with two samples at least."""
    cells = windows.counts >= 2
    if not cells.any():
        return _frame(windows, cells, windows.table.take(np.empty(0, np.intp)))
    _note_kinds(windows, cells, notes, start, counter=counter)
    first, last = windows.at(windows.low, cells), windows.at(windows.high - 1, cells)
    change = combined(last, first, -1.0)
    if counter:
        change = _with_resets(windows, cells, change).reduced(np.minimum(change.schema, _coarsest(windows, cells)))
    first_ms, last_ms = windows.timestamps_ms[windows.low[cells]], windows.timestamps_ms[windows.high[cells] - 1]
    steps = np.nonzero(cells)[1]
    to_zero = np.where((change.count > 0) & (first.count >= 0), first.count / change.count, np.inf)
    factor = extrapolation(
        first_ms,
        last_ms,
        windows.counts[cells] - 1,
        (windows.starts_ms[steps], windows.ends_ms[steps]),
        to_zero if counter else None,
    )
    if per_second:
        factor = factor / ((windows.ends_ms - windows.starts_ms)[steps] / 1000)
    return _frame(windows, cells, change.scaled(factor).as_gauges())


def _coarsest(windows: HistogramWindows, cells: Mask) -> NDArray[np.int64]:
    """The coarsest schema inside each window that is asked for; none of them is empty."""
    schemas = np.append(windows.table.schema, 0)  # a window may end where the samples end
    bounds = np.stack([windows.low[cells], windows.high[cells]], axis=-1).reshape(-1)
    return np.asarray(np.minimum.reduceat(schemas, bounds)[::2])


def _with_resets(windows: HistogramWindows, cells: Mask, change: Histograms) -> Histograms:
    """Add what each counter had counted when it was reset: the sample before each reset inside the window."""
    reset = np.flatnonzero(_reset_marks(windows))
    if not len(reset):
        return change
    low = np.searchsorted(reset, windows.low[cells] + 1)
    high = np.searchsorted(reset, windows.high[cells])
    number = np.maximum(high - low, 0)
    if not number.any():
        return change
    group_of = np.repeat(np.arange(len(number)), number)
    within = np.arange(len(group_of)) - np.repeat(np.cumsum(number) - number, number)
    lost = windows.table.take(reset[np.repeat(low, number) + within] - 1)
    affected = np.flatnonzero(number)
    sums = summed(lost, np.searchsorted(affected, group_of), len(affected))
    kept = np.flatnonzero(number == 0)
    joined = concatenated([change.take(kept), combined(change.take(affected), sums, 1.0)])
    return joined.take(np.argsort(np.concatenate([kept, affected]), kind="stable"))


def _note_kinds(windows: HistogramWindows, cells: Mask, notes: Annotations, start: int, *, counter: bool) -> None:
    gauges = np.concatenate([[0], np.cumsum(windows.table.gauge)])
    inside = gauges[windows.high] - gauges[windows.low]
    if counter:
        wrong = (cells & (inside > 0)).any(axis=1)
    else:
        edges = windows.table.gauge
        last = np.clip(windows.high - 1, 0, None)
        both = edges[np.clip(windows.low, 0, len(edges) - 1)] & edges[last]
        wrong = (cells & ~both).any(axis=1)
    for row in np.flatnonzero(wrong).tolist():
        metric = name_of(windows.labels[row])
        (notes.not_counter if counter else notes.not_gauge)(metric, start)


def instant_change(windows: HistogramWindows, notes: Annotations, start: int, *, counter: bool) -> Frame:
    """irate and idelta: of the last two samples."""
    cells = windows.counts >= 2
    if not cells.any():
        return _frame(windows, cells, windows.table.take(np.empty(0, np.intp)))
    index = np.where(cells, windows.high - 2, windows.low)
    _note_kinds(replace(windows, low=np.maximum(windows.low, index)), cells, notes, start, counter=counter)
    previous, last = windows.at(index, cells), windows.at(index + 1, cells)
    change = combined(last, previous, -1.0)
    if counter:
        reset = resets(previous, last)
        kept, whole = np.flatnonzero(~reset), np.flatnonzero(reset)
        joined = concatenated([change.take(kept), last.take(whole)])
        change = joined.take(np.argsort(np.concatenate([kept, whole]), kind="stable"))
        seconds = (windows.timestamps_ms[index + 1] - windows.timestamps_ms[index])[cells] / 1000
        change = change.divided(seconds)
    return _frame(windows, cells, change.as_gauges())


def total(windows: HistogramWindows, *, mean: bool) -> Frame:
    """sum_over_time and avg_over_time."""
    cells = windows.counts > 0
    number = windows.counts[cells]
    group_of = np.repeat(np.arange(len(number)), number)
    within = np.arange(len(group_of)) - np.repeat(np.cumsum(number) - number, number)
    sums = summed(windows.table.take(np.repeat(windows.low[cells], number) + within), group_of, len(number))
    return _frame(windows, cells, sums.divided(number.astype(np.float64)) if mean else sums)


def edge(windows: HistogramWindows, *, last: bool) -> Frame:
    """last_over_time and first_over_time."""
    cells = windows.counts > 0
    return _frame(windows, cells, windows.at(windows.high - 1 if last else windows.low, cells))


def edge_time(windows: HistogramWindows, *, last: bool) -> Frame:
    index = np.clip(windows.high - 1 if last else windows.low, 0, max(0, len(windows.timestamps_ms) - 1))
    return _floats(windows, windows.timestamps_ms[index] / 1000)


def count(windows: HistogramWindows) -> Frame:
    return _floats(windows, windows.counts.astype(np.float64))


def present(windows: HistogramWindows) -> Frame:
    return _floats(windows, np.ones(windows.shape))


def reset_count(windows: HistogramWindows) -> Frame:
    return _floats(windows, _marked(windows, _reset_marks(windows)).astype(np.float64))


def change_count(windows: HistogramWindows) -> Frame:
    marks = np.zeros(len(windows.table), dtype=np.bool_)
    index, previous, current = _pairs(windows)
    marks[index] = ~equal(previous, current)
    return _floats(windows, _marked(windows, marks).astype(np.float64))
