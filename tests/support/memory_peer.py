"""A peer of backtests whose series are in memory, read by the real engine."""

from __future__ import annotations

import numpy as np

from collector.model.series import ABSENT, labels_of
from collector.query.promql.engine import Engine
from collector.query.promql.syntax import matchers_of
from collector.rules.remote import Grid, Remote, Samples, Table
from collector.rules.scratch_store import ScratchStore

START_MS = 1_700_000_000_250  # evaluated a quarter of a second after the full one


class InMemory(Remote):
    """A peer whose answers come from a store in this process instead of over HTTP."""

    def __init__(self) -> None:
        super().__init__("http://memory")
        self.store = ScratchStore()

    def range(self, expr: str, grid: Grid) -> Table:
        answer = Engine(self.store).range(expr, start_ms=grid.start_ms, end_ms=grid.end_ms, step_ms=grid.step_ms)
        return Table(answer.labels, answer.values)

    def samples(self, selector: str, *, min_ms: int, max_ms: int) -> list[Samples]:
        blocks = self.store.select(matchers_of(selector), min_ms=min_ms, max_ms=max_ms)
        return [Samples(block.labels[0], block.timestamps_ms, block.values[0]) for block in blocks]

    def put(self, values: str, **labels: str) -> None:
        """A value a second; `_` is none."""
        row = np.array([ABSENT if word == "_" else float(word) for word in values.split()])
        self.store.load(labels_of(labels), START_MS + np.arange(len(row), dtype=np.int64) * 1000, row)
