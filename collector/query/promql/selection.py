"""Instant vectors: the latest sample of each series at each step."""

from __future__ import annotations

import numpy as np

from collector.model.series import Block, is_absent, is_stale
from collector.query.promql.values import Frame, Times
from collector.query.promql.windows import first_inside


def latest(block: Block, ends_ms: Times, lookback_ms: int, *, timestamps: bool = False) -> Frame:
    """
    Look up each series at each step: its latest sample in (end - lookback_ms, end].

    A stale marker there, or nothing there, means that the series is not present at that step. With `timestamps` the
    values are the samples' times in seconds instead.
    """
    shape = (len(block.labels), len(ends_ms))
    if not len(block.timestamps_ms):
        return Frame(block.labels, np.zeros(shape), np.zeros(shape, dtype=np.bool_))
    low = first_inside(block.timestamps_ms, ends_ms - lookback_ms)
    last = np.searchsorted(block.timestamps_ms, ends_ms, side="right") - 1
    absent, stale = is_absent(block.values), is_stale(block.values)
    if absent.any():
        columns = np.arange(len(block.timestamps_ms))
        latest_sample = np.maximum.accumulate(np.where(absent, -1, columns), axis=1)
        index = np.where(last < 0, -1, latest_sample[:, np.maximum(last, 0)])  # [s, k]
        present = index >= low
        index = np.maximum(index, 0)
        values = np.take_along_axis(block.values, index, axis=1)
        if stale.any():
            present &= ~np.take_along_axis(stale, index, axis=1)
        seconds = block.timestamps_ms[index] / 1000
    else:
        index = np.maximum(last, 0)  # [k]
        present = np.broadcast_to(last >= low, shape)
        values = block.values[:, index]
        if stale.any():
            present = present & ~stale[:, index]
        seconds = np.broadcast_to(block.timestamps_ms[index] / 1000, shape)
    return Frame(block.labels, seconds if timestamps else values, present)
