from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from collector.model.series import ABSENT_BITS, AppendOutcome, Labels, Matcher, MatchOp, SampleTable
from collector.storage.metrics.store import MetricStore


@pytest.fixture
def metric_store(tmp_path: Path) -> Iterator[MetricStore]:
    store = MetricStore.open(tmp_path / "metrics", retention_s=3600)
    yield store
    store.close()


class Query:
    """Short questions to a store."""

    def __init__(self, store: MetricStore) -> None:
        self.store = store

    def values(self, name: str, **labels: str) -> dict[Labels, list[float]]:
        """The samples of each series in the order of time; staleness markers are NaN."""
        matchers = [Matcher(key, MatchOp.EQUAL, value) for key, value in ({"__name__": name} | labels).items()]
        found = {}
        for block in self.store.select(matchers, min_ms=0, max_ms=1 << 60):
            for each, row in zip(block.labels, block.values, strict=True):
                found[each] = row[row.view(np.uint64) != ABSENT_BITS].tolist()
        return found

    def bits(self, name: str, **labels: str) -> list[int]:
        """The bits of the one matching series' samples."""
        matchers = [Matcher(key, MatchOp.EQUAL, value) for key, value in ({"__name__": name} | labels).items()]
        blocks = self.store.select(matchers, min_ms=0, max_ms=1 << 60)
        assert [len(block.labels) for block in blocks] == [1], blocks
        row = blocks[0].values[0].view(np.uint64)
        return row[row != ABSENT_BITS].tolist()

    def last(self, name: str, **labels: str) -> float | None:
        rows = list(self.values(name, **labels).values())
        assert len(rows) <= 1, rows
        return rows[0][-1] if rows else None


@pytest.fixture
def query(metric_store: MetricStore) -> Query:
    return Query(metric_store)


class FailingSink:
    """Refuses every append with the given error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def append_tables(self, _tables: Sequence[SampleTable]) -> AppendOutcome:
        raise self.error


@pytest.fixture
def failing_sink() -> type[FailingSink]:
    return FailingSink
