from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from collector.model.series import (
    ABSENT_BITS,
    METRIC_NAME,
    AppendOutcome,
    Labels,
    Matcher,
    MatchOp,
    SampleBatch,
    SampleTable,
    labels_of,
)
from collector.storage.metrics.store import MetricStore

START_MS = 1_700_000_000_000


class Rig:
    """A store on a directory, with a clock that the test moves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now_ms = START_MS
        self.store: MetricStore | None = None

    def open(self, **options: object) -> MetricStore:
        """Open, or close and open again."""
        self.close()
        self.store = MetricStore.open(
            self.directory, **({"retention_s": 86_400, "clock": lambda: self.now_ms} | options)
        )
        return self.store

    def close(self) -> None:
        if self.store is not None:
            self.store.close()

    def append(self, *batches: SampleBatch | SampleTable) -> AppendOutcome:
        tables = [batch if isinstance(batch, SampleTable) else batch.as_table() for batch in batches]
        return self.store.submit(tables).result(timeout=10)

    def everything(self) -> dict[Labels, dict[int, int]]:
        """Every sample: labels, timestamp, bits of the value; checks the shape of each block on the way."""
        found: dict[Labels, dict[int, int]] = {}
        for block in self.store.select([], min_ms=0, max_ms=1 << 60):
            assert (np.diff(block.timestamps_ms) > 0).all()
            assert block.values.flags.c_contiguous
            assert block.values.shape == (len(block.labels), len(block.timestamps_ms))
            for labels, row in zip(block.labels, block.values.view(np.uint64).tolist(), strict=True):
                assert labels not in found, f"{labels} stands in two blocks"
                pairs = zip(block.timestamps_ms.tolist(), row, strict=True)
                found[labels] = {at: bits for at, bits in pairs if bits != ABSENT_BITS}
        return found

    @staticmethod
    def series(name: str, **labels: str) -> Labels:
        return labels_of({METRIC_NAME: name, **labels})

    @staticmethod
    def batch(at_ms: int, samples: dict[Labels, float], target: str = "scrape|shop|shop-1") -> SampleBatch:
        return SampleBatch(target, at_ms, tuple(samples), np.array(list(samples.values()), dtype=np.float64))

    @staticmethod
    def named(name: str) -> list[Matcher]:
        return [Matcher(METRIC_NAME, MatchOp.EQUAL, name)]


@pytest.fixture
def rig_at() -> Iterator[Callable[[Path], Rig]]:
    rigs: list[Rig] = []

    def make(directory: Path) -> Rig:
        rigs.append(Rig(directory))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(tmp_path: Path, rig_at: Callable[[Path], Rig]) -> Rig:
    return rig_at(tmp_path)
