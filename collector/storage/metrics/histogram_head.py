"""The newest native histograms of one target, as they came."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from collector.model.histogram import NativeHistogram
from collector.storage.metrics.put import Put

_OBJECT_BYTES = 700  # of one NativeHistogram with four arrays, without their content (sys.getsizeof, added up)
_BUCKET_BYTES = 12


@dataclass(slots=True)
class HistogramRow:
    """One series: strictly increasing timestamps, and a histogram for each."""

    timestamps_ms: list[int] = field(default_factory=list)
    histograms: list[NativeHistogram] = field(default_factory=list)

    def between(self, min_ms: int, max_ms: int) -> HistogramRow:
        low, high = bisect_left(self.timestamps_ms, min_ms), bisect_right(self.timestamps_ms, max_ms)
        return HistogramRow(self.timestamps_ms[low:high], self.histograms[low:high])


class HistogramHead:
    """One writer; readers hold the store's lock. Takes samples in any order."""

    def __init__(self) -> None:
        self.rows: dict[int, HistogramRow] = {}  # by series id
        self.nbytes = 0

    def put(self, series: int, timestamp_ms: int, histogram: NativeHistogram) -> Put:
        row = self.rows.setdefault(series, HistogramRow())
        place = bisect_left(row.timestamps_ms, timestamp_ms)
        if place < len(row.timestamps_ms) and row.timestamps_ms[place] == timestamp_ms:
            if row.histograms[place].identical(histogram):
                return Put(repeated=1)
            return Put(conflicts=1, conflict=(0, timestamp_ms))
        row.timestamps_ms.insert(place, timestamp_ms)
        row.histograms.insert(place, histogram)
        self.nbytes += _size(histogram)
        return Put(stored=1)

    def up_to(self, through_ms: int) -> dict[int, HistogramRow]:
        found = {series: row.between(-(1 << 62), through_ms) for series, row in self.rows.items()}
        return {series: row for series, row in found.items() if row.timestamps_ms}

    def drop(self, through_ms: int) -> None:
        rest = {series: row.between(through_ms + 1, 1 << 62) for series, row in self.rows.items()}
        self.rows = {series: row for series, row in rest.items() if row.timestamps_ms}
        self.nbytes = sum(_size(each) for row in self.rows.values() for each in row.histograms)


def merged(rows: list[HistogramRow]) -> HistogramRow:
    """One row in the order of time. Of several histograms at one timestamp that of the first row stays."""
    rows = [row for row in rows if row.timestamps_ms]
    if len(rows) == 1:
        return rows[0]
    found: dict[int, NativeHistogram] = {}
    for row in rows:
        for at, histogram in zip(row.timestamps_ms, row.histograms, strict=True):
            found.setdefault(at, histogram)
    times = sorted(found)
    return HistogramRow(times, [found[at] for at in times])


def _size(histogram: NativeHistogram) -> int:
    return _OBJECT_BYTES + _BUCKET_BYTES * (len(histogram.positive) + len(histogram.negative))
