"""The answer of an instant query whose expression is a range: the samples inside the window, as they are stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collector.model.histogram import HistogramSeries
from collector.model.series import Block
from collector.query.promql.native_windows import HistogramWindows
from collector.query.promql.over_time import RangeSamples
from collector.query.promql.values import RangeVector
from collector.query.promql.windows import Windows


def range_answer(samples: RangeSamples) -> RangeVector:
    """Of windows at one step."""
    blocks = [block for windows in samples.floats for block in _blocks(windows)]
    histograms = [] if samples.histograms is None else list(_histograms(samples.histograms))
    return RangeVector(tuple(blocks), tuple(histograms))


def _blocks(windows: Windows) -> Iterator[Block]:
    low, high = np.atleast_2d(windows.low), np.atleast_2d(windows.high)
    if windows.values.ndim == 2:
        part = slice(int(low[0, 0]), int(high[0, 0]))
        if part.stop > part.start:
            yield Block(windows.labels, windows.timestamps_ms[part], np.ascontiguousarray(windows.values[:, part]))
        return
    for row, labels in enumerate(windows.labels):
        part = slice(int(low[row, 0]), int(high[row, 0]))
        if part.stop > part.start:
            yield Block((labels,), windows.timestamps_ms[part], windows.values[None, part])


def _histograms(windows: HistogramWindows) -> Iterator[HistogramSeries]:
    for row, labels in enumerate(windows.labels):
        part = np.arange(int(windows.low[row, 0]), int(windows.high[row, 0]))
        if len(part):
            values = tuple(windows.table.take(part).to_values())
            yield HistogramSeries(labels, windows.timestamps_ms[part], values)
