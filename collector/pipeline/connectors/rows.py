"""Counts as the rows that are kept beside the spans, and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.model.labels import Labels
from collector.pipeline.connectors.histograms import Cells, Histograms
from collector.storage.traces.derived import DerivedCount


class Counted(NamedTuple):
    family: str
    histogram: int  # which of those that a series has
    cells: Cells
    at_ms: NDArray[np.int64]  # [cells]


def counted(family: str, histogram: int, cells: Cells, at_ms: int) -> Counted:
    return Counted(family, histogram, cells, np.full(len(cells), at_ms, np.int64))


def all_counted(family: str, histogram: int, histograms: Histograms) -> Counted:
    """All that a histogram holds; the sum of a series stands at its first bucket that is not empty."""
    series, bucket = np.nonzero(histograms.counts)
    sums = np.zeros(len(series))
    number, first = np.unique(series, return_index=True)
    sums[first] = histograms.sums_nano[number]
    cells = Cells(series, bucket, histograms.counts[series, bucket], sums, bucket)
    return Counted(family, histogram, cells, histograms.touched_ms[series])


def count_rows(parts: Sequence[Counted]) -> pa.Table:
    """As COUNT_COLUMNS."""

    def joined(column: str, kind: type[np.generic]) -> NDArray[np.generic]:
        return np.concatenate([getattr(part.cells, column) for part in parts]).astype(kind)

    sizes = [len(part.cells) for part in parts]
    return pa.table(
        {
            "family": [part.family for part, size in zip(parts, sizes, strict=True) for _ in range(size)],
            "series": joined("series", np.uint32),
            "histogram": np.repeat(np.array([part.histogram for part in parts], np.uint8), sizes),
            "bucket": joined("bucket", np.uint16),
            "count": joined("count", np.uint64),
            "sum": joined("sum_nano", np.float64),
            "at_ms": np.concatenate([part.at_ms for part in parts]),
        }
    )


def series_rows(labels: Mapping[str, Sequence[Labels]], after: Mapping[str, int]) -> pa.Table | None:
    """As SERIES_COLUMNS, those of each family whose number is at least `after`."""
    rows = [
        (family, number, json.dumps(pairs, ensure_ascii=False))
        for family, every in labels.items()
        for number, pairs in enumerate(every[after[family] :], start=after[family])
    ]
    if not rows:
        return None
    family, number, text = zip(*rows, strict=True)
    return pa.table({"family": family, "series": pa.array(number, pa.uint32()), "labels": text})


def restored(counts: Sequence[DerivedCount], series: Mapping[int, int]) -> list[tuple[int, Cells, NDArray[np.int64]]]:
    """
    What was read, by histogram: its cells, and when each was last added to.

    Args:
        series: The numbers that series have now, by those that they had.
    """
    found = []
    for histogram in sorted({each.histogram for each in counts}):
        rows = [each for each in counts if each.histogram == histogram]
        cells = Cells(
            np.array([series[row.series] for row in rows], np.int64),
            np.array([row.bucket for row in rows], np.int64),
            np.array([row.spans for row in rows], np.int64),
            np.array([row.sum for row in rows], np.float64),
            np.zeros(len(rows), np.int64),
        )
        found.append((histogram, cells, np.array([row.at_ms for row in rows], np.int64)))
    return found


def labels_of_text(text: str) -> Labels:
    return tuple((name, value) for name, value in json.loads(text))
