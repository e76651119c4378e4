"""The last exemplars of each series, in memory; the log brings back those of the last minutes after a crash."""

from __future__ import annotations

from collections import OrderedDict, deque

from collector.model.series import Exemplar

PER_SERIES = 20  # enough traces to open from one point of a panel
# Prometheus's exemplars.max_exemplars defaults to 100,000 at about 100 bytes each; in Python one takes 400.
LIMIT = 20_000


class ExemplarRings:
    def __init__(self, *, per_series: int = PER_SERIES, limit: int = LIMIT) -> None:
        self._per_series = per_series
        self._limit = limit
        self._rings: OrderedDict[int, deque[Exemplar]] = OrderedDict()  # the series that was silent longest first
        self._count = 0

    def add(self, series: int, exemplar: Exemplar) -> None:
        """Keep `exemplar` unless it is not newer than the last one: a scrape repeats it until there is another."""
        if not self.is_new(series, exemplar):
            return
        ring = self._rings.get(series)
        if ring is None:
            ring = self._rings[series] = deque(maxlen=self._per_series)
        self._count += len(ring) < self._per_series
        ring.append(exemplar)
        self._rings.move_to_end(series)
        while self._count > self._limit:
            self._count -= len(self._rings.popitem(last=False)[1])

    def is_new(self, series: int, exemplar: Exemplar) -> bool:
        ring = self._rings.get(series)
        if self._limit == 0:
            return False
        return not ring or (exemplar.timestamp_ms >= ring[-1].timestamp_ms and exemplar != ring[-1])

    def between(self, series: int, *, min_ms: int, max_ms: int) -> list[Exemplar]:
        """Both bounds inclusive; oldest first."""
        return [each for each in self._rings.get(series, ()) if min_ms <= each.timestamp_ms <= max_ms]

    def keep_only(self, series: set[int]) -> None:
        for gone in self._rings.keys() - series:
            self._count -= len(self._rings.pop(gone))
