"""changes and resets over series that have both floats and native histograms: a change of kind counts as either."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collector.query.promql import native
from collector.query.promql.arrays import Mask
from collector.query.promql.native_windows import HistogramWindows
from collector.query.promql.values import Frame
from collector.query.promql.windows import Windows, first_inside


def count_marks(name: str, floats: Sequence[Windows], histograms: HistogramWindows, rows: Sequence[int]) -> Frame:
    """`changes` or `resets` of those series of `histograms` that `rows` names, each of which has floats too."""
    place_of = {labels: (part, row) for part in floats for row, labels in enumerate(part.labels)}
    labels = tuple(histograms.labels[row] for row in rows)
    shape = (len(rows), len(histograms.ends_ms))
    values, present = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    for target, row in enumerate(rows):
        part, float_row = place_of[labels[target]]
        times, marks = _marked(name, part, float_row, histograms, row)
        low = first_inside(times, histograms.starts_ms)
        high = np.maximum(low, np.searchsorted(times, histograms.ends_ms, side="right"))
        before = np.concatenate([[0], np.cumsum(marks)])
        values[target] = before[high] - before[np.minimum(low + 1, high)]
        present[target] = high > low
    return Frame(labels, values, present)


def _marked(
    name: str, part: Windows, row: int, histograms: HistogramWindows, histogram_row: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Mask]:
    """When the series has samples, and which of them change (or reset) what the one before was."""
    low, high = (np.broadcast_to(bound, part.shape)[row] for bound in (part.low, part.high))
    inside = slice(int(low.min()), int(high.max()))
    float_times = part.timestamps_ms[inside]
    float_values = part.values[inside] if part.values.ndim == 1 else part.values[row, inside]
    found = np.arange(int(histograms.low[histogram_row].min()), int(histograms.high[histogram_row].max()))
    times = np.concatenate([float_times, histograms.timestamps_ms[found]])
    order = np.argsort(times, kind="stable")
    is_histogram = np.concatenate([np.zeros(len(float_times), np.bool_), np.ones(len(found), np.bool_)])[order]
    index = np.concatenate([np.arange(len(float_times)), found])[order]
    marks = np.zeros(len(times), dtype=np.bool_)
    marks[1:] = is_histogram[1:] != is_histogram[:-1]
    floats = np.flatnonzero(~is_histogram[1:] & ~is_histogram[:-1]) + 1
    previous, current = float_values[index[floats - 1]], float_values[index[floats]]
    differs = (current != previous) & ~(np.isnan(current) & np.isnan(previous))
    marks[floats] = differs if name == "changes" else current < previous
    pairs = np.flatnonzero(is_histogram[1:] & is_histogram[:-1]) + 1
    before, now = histograms.table.take(index[pairs - 1]), histograms.table.take(index[pairs])
    marks[pairs] = ~native.equal(before, now) if name == "changes" else native.resets(before, now)
    return times[order], marks
