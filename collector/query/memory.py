"""Series held in memory: a SeriesSource for rule tests, query tests and benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from collector.model.histogram import HistogramSeries
from collector.model.series import Block, Exemplar, Labels, Matcher, MetricMetadata, is_absent


class MemorySource:
    """Blocks as they are given; every query looks at every series."""

    def __init__(
        self,
        blocks: Iterable[Block] = (),
        *,
        histograms: Iterable[HistogramSeries] = (),
        exemplars: Sequence[tuple[Labels, list[Exemplar]]] = (),
        metadata: Sequence[MetricMetadata] = (),
    ) -> None:
        self.blocks = list(blocks)
        self.histograms = list(histograms)
        self._exemplars = exemplars
        self._metadata = list(metadata)

    def select(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Block]:
        found = []
        for block in self.blocks:
            rows = [row for row, labels in enumerate(block.labels) if _matches(labels, matchers)]
            low, high = np.searchsorted(block.timestamps_ms, (min_ms, max_ms + 1))
            if not rows or low == high:
                continue
            values = np.ascontiguousarray(block.values[rows, low:high])
            found.append(Block(tuple(block.labels[row] for row in rows), block.timestamps_ms[low:high], values))
        return found

    def select_histograms(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[HistogramSeries]:
        found = []
        for one in self.histograms:
            low, high = np.searchsorted(one.timestamps_ms, (min_ms, max_ms + 1)).tolist()
            if low < high and _matches(one.labels, matchers):
                found.append(HistogramSeries(one.labels, one.timestamps_ms[low:high], one.histograms[low:high]))
        return found

    def series(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Labels]:
        floats = {
            labels
            for block in self.select(matchers, min_ms=min_ms, max_ms=max_ms)
            for labels, absent in zip(block.labels, is_absent(block.values), strict=True)
            if not absent.all()
        }
        return sorted(floats | {one.labels for one in self.select_histograms(matchers, min_ms=min_ms, max_ms=max_ms)})

    def label_names(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]:
        return sorted({name for labels in self.series(matchers, min_ms=min_ms, max_ms=max_ms) for name, _ in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]:
        found = self.series(matchers, min_ms=min_ms, max_ms=max_ms)
        return sorted({value for labels in found for key, value in labels if key == name})

    def exemplars(
        self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]:
        return [
            (labels, inside)
            for labels, exemplars in self._exemplars
            if _matches(labels, matchers)
            and (inside := [one for one in exemplars if min_ms <= one.timestamp_ms <= max_ms])
        ]

    def metadata(self) -> list[MetricMetadata]:
        return self._metadata


def _matches(labels: Labels, matchers: Sequence[Matcher]) -> bool:
    values = dict(labels)
    return all(matcher.matches(values.get(matcher.name, "")) for matcher in matchers)
