"""Counts as the rows that are kept beside the spans, and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.model.labels import Labels
from collector.pipeline.connectors.histograms import Cells, Histograms
from collector.pipeline.connectors.texts import Places
from collector.storage.traces.derived import CELL, FAMILIES
from collector.storage.traces.derived import Cells as StoredCells


class Counted(NamedTuple):
    family: str
    histogram: int  # which of those that a series has
    cells: Cells
    at_ms: int | NDArray[np.int64]  # of all cells or of each


def all_counted(family: str, histogram: int, histograms: Histograms) -> Counted:
    """All that a histogram holds; the sum of a series stands at its first bucket that is not empty."""
    series, bucket = np.nonzero(histograms.counts)
    sums = np.zeros(len(series))
    number, first = np.unique(series, return_index=True)
    sums[first] = histograms.sums_nano[number]
    cells = Cells(series, bucket, histograms.counts[series, bucket], sums, bucket)
    return Counted(family, histogram, cells, histograms.touched_ms[series])


def stored_cells(parts: Sequence[Counted]) -> StoredCells:
    out = np.empty(sum(len(part.cells) for part in parts), CELL)
    end = 0
    for part in parts:
        begin, end = end, end + len(part.cells)
        here = out[begin:end]
        here["family"], here["histogram"] = FAMILIES.index(part.family), part.histogram
        here["series"], here["bucket"] = part.cells.series, part.cells.bucket
        here["spans"], here["sum"], here["at_ms"] = part.cells.count, part.cells.sum_nano, part.at_ms
    return out


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


def restored(cells: StoredCells, family: str, series: Mapping[int, int]) -> Iterator[tuple[int, Cells, Places]]:
    """
    What was read of a family: histograms, their cells, and when each was last added to.

    Args:
        series: The numbers that series have now, by those that they had.
    """
    number_of = np.zeros(max(series, default=-1) + 1, np.int64)
    number_of[list(series)] = list(series.values())
    own = cells[cells["family"] == FAMILIES.index(family)]
    for histogram in np.unique(own["histogram"]).tolist():
        here = own[own["histogram"] == histogram]
        found = Cells(
            number_of[here["series"]],
            here["bucket"].astype(np.int64),
            here["spans"].astype(np.int64),
            here["sum"],
            np.zeros(len(here), np.int64),
        )
        yield histogram, found, here["at_ms"]


def labels_of_text(text: str) -> Labels:
    return tuple((name, value) for name, value in json.loads(text))
