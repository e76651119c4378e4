"""Series that are held in memory while rules are tried: what a unit test puts in, and what its rules record."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collector.errors import BadRequestError
from collector.model.histogram import NativeHistogram
from collector.model.series import (
    ABSENT_BITS,
    METRIC_NAME,
    AppendOutcome,
    Block,
    Exemplar,
    HistogramSeries,
    Labels,
    Matcher,
    MatchOp,
    MetricMetadata,
    SampleBatch,
    SampleTable,
)


@dataclass(slots=True)
class _Series:
    """Samples by time. Values are kept as bits: a staleness marker is a NaN that must stay as it is."""

    timestamps_ms: list[int] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)
    arrays: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None  # of the above, until the next change
    histograms: dict[int, NativeHistogram] = field(default_factory=dict)  # at other times than the floats

    def put(self, timestamp_ms: int, bits: int) -> None:
        at = bisect_left(self.timestamps_ms, timestamp_ms)
        if at < len(self.timestamps_ms) and self.timestamps_ms[at] == timestamp_ms:
            if self.bits[at] != bits:
                raise BadRequestError("duplicate sample for timestamp")
            return
        if timestamp_ms in self.histograms:
            raise BadRequestError("duplicate sample for timestamp")
        self.timestamps_ms.insert(at, timestamp_ms)
        self.bits.insert(at, bits)
        self.arrays = None

    def put_histogram(self, timestamp_ms: int, histogram: NativeHistogram) -> None:
        known = self.histograms.setdefault(timestamp_ms, histogram)
        if self._has_float(timestamp_ms) or not known.identical(histogram):
            raise BadRequestError("duplicate sample for timestamp")

    def has(self, timestamp_ms: int) -> bool:
        return timestamp_ms in self.histograms or self._has_float(timestamp_ms)

    def last_ms(self, until_ms: int | None) -> int | None:
        """The time of the newest sample, at most `until_ms`."""
        at = len(self.timestamps_ms) if until_ms is None else bisect_left(self.timestamps_ms, until_ms + 1)
        times = [one for one in self.histograms if until_ms is None or one <= until_ms]
        return max([*self.timestamps_ms[max(at - 1, 0) : at], *times], default=None)

    def _has_float(self, timestamp_ms: int) -> bool:
        at = bisect_left(self.timestamps_ms, timestamp_ms)
        return at < len(self.timestamps_ms) and self.timestamps_ms[at] == timestamp_ms

    def between(self, min_ms: int, max_ms: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if self.arrays is None:
            bits = np.array(self.bits, dtype=np.uint64)
            self.arrays = np.array(self.timestamps_ms, dtype=np.int64), bits.view(np.float64)
        times, values = self.arrays
        low, high = np.searchsorted(times, (min_ms, max_ms + 1))
        return times[low:high], values[low:high]


class ScratchStore:
    """
    A `SeriesSource`, and a `SampleSink` for what rules record.

    Attributes:
        visible_ms: What lies after it is not seen yet, by no query, as if it had not arrived. None: all is seen.
    """

    def __init__(self) -> None:
        self.visible_ms: int | None = None
        self._series: dict[str, dict[Labels, _Series]] = {}  # by metric name

    @classmethod
    def copied(cls, other: ScratchStore) -> ScratchStore:
        """A store that begins with what another holds."""
        store = cls()
        for name, group in other._series.items():
            store._series[name] = {
                labels: _Series(list(one.timestamps_ms), list(one.bits), one.arrays, dict(one.histograms))
                for labels, one in group.items()
            }
        return store

    def load(
        self, labels: Labels, timestamps_ms: NDArray[np.int64], values: NDArray[np.float64], *, keep: bool = False
    ) -> None:
        """
        Add samples of one series; ABSENT is left out.

        Args:
            keep: Where a sample stands already, it stays.

        Raises:
            BadRequestError: another value stands at one of the times already.
        """
        series = self._of(labels)
        for timestamp_ms, bits in zip(timestamps_ms.tolist(), values.view(np.uint64).tolist(), strict=True):
            if bits != ABSENT_BITS and not (keep and series.has(timestamp_ms)):
                series.put(timestamp_ms, bits)

    def load_histograms(self, labels: Labels, histograms: Mapping[int, NativeHistogram]) -> None:
        """
        Add native histograms of one series, by time.

        Raises:
            BadRequestError: another value stands at one of the times already.
        """
        series = self._of(labels)
        for timestamp_ms, histogram in histograms.items():
            series.put_histogram(timestamp_ms, histogram)

    async def append_tables(self, tables: Sequence[SampleTable]) -> AppendOutcome:
        """Rules write batches; nobody writes tables here."""
        raise NotImplementedError

    async def append(self, batches: Sequence[SampleBatch]) -> None:
        """
        Raises:
            BadRequestError: worded as Prometheus's storage words it; the samples before the bad one are kept.
        """
        for batch in batches:
            histograms = dict(batch.histograms)
            for row, (labels, bits) in enumerate(zip(batch.labels, batch.values.view(np.uint64).tolist(), strict=True)):
                series = self._of(labels)
                last_ms = series.last_ms(self.visible_ms)
                if last_ms is not None and last_ms > batch.timestamp_ms:
                    raise BadRequestError("out of order sample")
                if row in histograms:
                    series.put_histogram(batch.timestamp_ms, histograms[row])
                else:
                    series.put(batch.timestamp_ms, bits)

    def _of(self, labels: Labels) -> _Series:
        name = next((value for key, value in labels if key == METRIC_NAME), "")
        return self._series.setdefault(name, {}).setdefault(labels, _Series())

    def _candidates(self, matchers: Sequence[Matcher]) -> Iterator[tuple[Labels, _Series]]:
        named = next((one for one in matchers if one.name == METRIC_NAME and one.op is MatchOp.EQUAL), None)
        groups = self._series.values() if named is None else [self._series.get(named.value, {})]
        for group in groups:
            for labels, series in group.items():
                pairs = dict(labels)
                if all(matcher.matches(pairs.get(matcher.name, "")) for matcher in matchers):
                    yield labels, series

    def select(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Block]:
        if self.visible_ms is not None:
            max_ms = min(max_ms, self.visible_ms)
        blocks = []
        for labels, series in self._candidates(matchers):
            times, values = series.between(min_ms, max_ms)
            if len(times):
                blocks.append(Block((labels,), times, values[None, :]))
        return blocks

    def select_histograms(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[HistogramSeries]:
        if self.visible_ms is not None:
            max_ms = min(max_ms, self.visible_ms)
        found = []
        for labels, series in self._candidates(matchers):
            times = sorted(one for one in series.histograms if min_ms <= one <= max_ms)
            if times:
                values = tuple(series.histograms[one] for one in times)
                found.append(HistogramSeries(labels, np.array(times, dtype=np.int64), values))
        return found

    def series(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Labels]:
        floats = {labels for block in self.select(matchers, min_ms=min_ms, max_ms=max_ms) for labels in block.labels}
        return sorted(floats | {one.labels for one in self.select_histograms(matchers, min_ms=min_ms, max_ms=max_ms)})

    def label_names(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]:
        return sorted({name for one in self.series(matchers, min_ms=min_ms, max_ms=max_ms) for name, _ in one})

    def label_values(self, name: str, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]:
        found = self.series(matchers, min_ms=min_ms, max_ms=max_ms)
        return sorted({value for labels in found for key, value in labels if key == name})

    def exemplars(
        self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]:
        return []

    def metadata(self) -> list[MetricMetadata]:
        return []
