"""The engine over the metric store and Debian's Prometheus, with the same samples; and the times to ask for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from prometheus_process import PrometheusProcess, prometheus
from promql_comparison import Times
from promql_samples import INTERVAL_MS, ORIGIN_MS, SCRAPES, blocks, histograms

from collector.model.series import ABSENT, SampleTable
from collector.query.promql.engine import Engine
from collector.storage.metrics.store import MetricStore

# The samples stand 5 ms after full seconds, where no subquery's step is.
OFFSET_MS = 5
_DAY_S = 86_400.0


@contextlib.contextmanager
def both(folder: Path) -> Iterator[tuple[PrometheusProcess, Engine]]:
    (folder / "peer").mkdir()
    with prometheus(folder / "peer") as peer, engine(folder / "store") as ours:
        peer.write(blocks(OFFSET_MS), histograms(OFFSET_MS))
        yield peer, ours


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    end_ms = ORIGIN_MS + 2 * SCRAPES * INTERVAL_MS
    store = MetricStore.open(folder, retention_s=_DAY_S, clock=lambda: end_ms)
    try:
        tables = [
            SampleTable(f"block {number}", block.labels, block.timestamps_ms, np.ascontiguousarray(block.values))
            for number, block in enumerate(blocks(OFFSET_MS))
        ]
        for one in histograms(OFFSET_MS):
            found = tuple((0, place, each) for place, each in enumerate(one.histograms))
            values = np.full((1, len(one.timestamps_ms)), ABSENT)
            tables.append(
                SampleTable(f"native {one.labels}", (one.labels,), one.timestamps_ms, values, histograms=found)
            )
        outcome = asyncio.run(store.append_tables(tables))
        assert not outcome.refusals, outcome.refusals
        yield Engine(store)
    finally:
        store.close()


def times() -> st.SearchStrategy[tuple[Times, Times]]:
    """An instant and a range, on the samples' own times or elsewhere; some before the first or after the last one."""
    ticks = st.integers(-30, SCRAPES + 60)
    shift = st.sampled_from([OFFSET_MS, OFFSET_MS, 0, 1_132, 4_999])
    step = st.sampled_from([10_000, 47_000, 60_000, 133_000, 1_000_000])
    length = st.integers(1, 60)

    def pair(tick: int, off: int, width: int, steps: int) -> tuple[Times, Times]:
        start = ORIGIN_MS + tick * INTERVAL_MS + off
        return Times(start, start, 0), Times(start, start + width * steps, width)

    return st.builds(pair, ticks, shift, step, length)
