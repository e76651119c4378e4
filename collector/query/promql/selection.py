"""Instant vectors: the latest sample of each series at each step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collector.model.histogram import HistogramSeries
from collector.model.series import ABSENT_BITS, Block, Labels, LatestVector, is_absent, is_stale
from collector.query.promql import windows
from collector.query.promql.arrays import Rows
from collector.query.promql.native import table_of
from collector.query.promql.values import Cells, Floats, Frame, Mask, Times, merged, stacked
from collector.query.promql.windows import first_inside

_NEVER = np.iinfo(np.int64).min


def latest(blocks: Sequence[Block], ends_ms: Times, lookback_ms: int, *, timestamps: bool = False) -> Frame:
    """
    Look up each series at each step: its latest sample in (end - lookback_ms, end].

    A stale marker there, or nothing there, means that the series is not present at that step. Series that are at no
    step are left out. With `timestamps` the values are the samples' times in seconds instead.
    """
    sizes = [len(block.labels) for block in blocks]
    shape = (sum(sizes), len(ends_ms))
    values, present = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    starts_ms = ends_ms - lookback_ms
    row = 0
    for block, size in zip(blocks, sizes, strict=True):
        part = slice(row, row + size)
        row += size
        if not len(block.timestamps_ms):
            continue
        last = block.timestamps_ms.searchsorted(ends_ms, side="right") - 1  # -1: none, though clipped to the first
        times = block.timestamps_ms.take(last, mode="clip")
        if _has_marker(block):
            _with_markers(block, last, starts_ms, values[part], present[part])
            times = _sample_times(block, last) if timestamps else times
        else:
            block.values.take(last, axis=1, mode="clip", out=values[part])
            present[part] = (times >= starts_ms + windows.LEFT_OPEN) & (last >= 0)
        if timestamps:
            values[part] = times / 1000
    labels = tuple(labels for block in blocks for labels in block.labels)
    frame = Frame(labels, values, present)
    seen = present.any(axis=1)
    return frame if seen.all() else frame.take(np.flatnonzero(seen))


def last_frame(known: LatestVector) -> Frame:
    """A source's last samples, at the only step of a query."""
    frame = Frame(known.labels, known.values[:, None], ~is_stale(known.values)[:, None])
    return frame if frame.present.all() else frame.take(np.flatnonzero(frame.present[:, 0]))


def _has_marker(block: Block) -> bool:
    """A stale marker or an absent sample: their bits differ in the last one only."""
    return bool(((block.values.view(np.uint64) | np.uint64(1)) == ABSENT_BITS).any())


def _latest_given(block: Block, last: Rows) -> Rows:
    """The index of each series' latest sample or stale marker at or before column `last` [k]: [s, k], -1 for none."""
    columns = np.arange(len(block.timestamps_ms))
    given = np.maximum.accumulate(np.where(is_absent(block.values), -1, columns), axis=1)
    return np.where(last < 0, -1, given[:, np.maximum(last, 0)])


def _with_markers(block: Block, last: Rows, starts_ms: Times, values: Floats, present: Mask) -> None:
    """Fill [s, k]: values and whether they are there."""
    index = _latest_given(block, last)
    found = np.maximum(index, 0)
    values[:] = np.take_along_axis(block.values, found, axis=1)
    present[:] = (index >= first_inside(block.timestamps_ms, starts_ms)) & ~is_stale(values)


def _sample_times(block: Block, last: Rows) -> Times:
    return block.timestamps_ms[np.maximum(_latest_given(block, last), 0)]


def latest_histograms(
    series: Sequence[HistogramSeries], ends_ms: Times, lookback_ms: int, *, timestamps: bool = False
) -> tuple[Frame, Times]:
    """
    The same of series of native histograms.

    Returns:
        the frame, and when each cell's sample was, [s, k]: a stale one too, a very early time where there is none.
    """
    shape = (len(series), len(ends_ms))
    index, present = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
    when = np.full(shape, _NEVER, dtype=np.int64)
    before = 0
    for row, one in enumerate(series):
        low = first_inside(one.timestamps_ms, ends_ms - lookback_ms)
        last = np.searchsorted(one.timestamps_ms, ends_ms, side="right") - 1
        inside = last >= low
        stale: Mask = np.array([each.stale for each in one.histograms], dtype=np.bool_)
        last = np.maximum(last, 0)
        when[row] = np.where(inside, one.timestamps_ms[last], _NEVER)
        present[row] = inside & ~stale[last]
        index[row] = np.where(present[row], last + before, -1)
        before += len(one.histograms)
    labels = tuple(one.labels for one in series)
    if timestamps:
        return Frame(labels, when / 1000, present), when
    table = table_of([each for one in series for each in one.histograms])
    return Frame(labels, np.zeros(shape), present, Cells(table, index)), when


def joined(floats: Frame, histograms: Frame, when: Times, blocks: Sequence[Block], ends_ms: Times) -> Frame:
    """One row for each series: where it has samples of both kinds, the later one counts."""
    shared = set(histograms.labels) & {labels for block in blocks for labels in block.labels}
    if shared:
        float_when = _latest_times(blocks, shared, ends_ms)
        rows = [row for row, labels in enumerate(histograms.labels) if labels in shared]
        earlier = {histograms.labels[row]: float_when[histograms.labels[row]] > when[row] for row in rows}
        histograms = histograms.where(_masked(histograms, {labels: ~one for labels, one in earlier.items()}))
        floats = floats.where(_masked(floats, earlier))
    return merged(stacked([floats, histograms], len(ends_ms)))


def _masked(frame: Frame, allowed: dict[Labels, Mask]) -> Mask:
    present = frame.present.copy()
    for row, labels in enumerate(frame.labels):
        if labels in allowed:
            present[row] &= allowed[labels]
    return present


def _latest_times(blocks: Sequence[Block], wanted: set[Labels], ends_ms: Times) -> dict[Labels, Times]:
    """When the latest sample of each series was, a stale marker too."""
    found: dict[Labels, Times] = {}
    for block in blocks:
        for row, labels in enumerate(block.labels):
            if labels in wanted:
                times = block.timestamps_ms[~is_absent(block.values[row])]
                last = np.searchsorted(times, ends_ms, side="right") - 1
                found[labels] = np.where(last >= 0, times[np.maximum(last, 0)] if len(times) else 0, _NEVER)
    return found
