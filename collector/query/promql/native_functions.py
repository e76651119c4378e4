"""Functions that turn native histograms into floats and leave floats out: histogram_count and its kin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from collector.query.promql import native_statistics
from collector.query.promql.native import Histograms
from collector.query.promql.values import Floats, Frame, empty_frame

Statistic = Callable[[Histograms], Floats]
BY_NAME: dict[str, Statistic] = {
    "histogram_count": lambda table: table.count,
    "histogram_sum": lambda table: table.sum,
    "histogram_avg": lambda table: table.sum / table.count,
    "histogram_stddev": lambda table: np.sqrt(native_statistics.variance(table)),
    "histogram_stdvar": native_statistics.variance,
}


def apply(statistic: Statistic, frame: Frame) -> Frame:
    if frame.cells is None:
        return empty_frame(frame.steps)
    rows, steps, table = frame.histograms()
    values = np.zeros(frame.values.shape)
    values[rows, steps] = statistic(table)
    return Frame(frame.labels, values, frame.is_histogram).without_names()
