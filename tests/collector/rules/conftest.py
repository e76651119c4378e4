"""A real metric store and a real engine, at a time of the tests' own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from collector.model.series import SampleBatch, Vector, labels_of
from collector.query.promql.engine import Engine
from collector.storage.metrics.store import MetricStore

START_MS = 1_700_000_000_000
Put = Callable[[int, Mapping[str, float]], Awaitable[None]]
Ask = Callable[[str, int], dict[tuple[tuple[str, str], ...], float]]


@pytest.fixture
def start_ms() -> int:
    return START_MS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetricStore]:
    opened = MetricStore.open(tmp_path / "metrics", retention_s=7200, clock=lambda: START_MS + 3_600_000)
    yield opened
    opened.close()


@pytest.fixture
def engine(store: MetricStore) -> Engine:
    return Engine(store)


@pytest.fixture
def put(store: MetricStore) -> Put:
    """`await put(at_ms, {"cart": 0.7})`: the metric `latency` of these jobs at that time."""

    async def write(at_ms: int, values: Mapping[str, float]) -> None:
        labels = tuple(labels_of({"__name__": "latency", "job": job}) for job in values)
        await store.append([SampleBatch("test", at_ms, labels, np.array(list(values.values()), dtype=np.float64))])

    return write


@pytest.fixture
def ask(engine: Engine) -> Ask:
    """What an expression yields, by labels."""

    def instant(expr: str, at_ms: int) -> dict[tuple[tuple[str, str], ...], float]:
        answer = engine.instant(expr, at_ms=at_ms)
        assert isinstance(answer, Vector)
        return dict(zip(answer.labels, answer.values.tolist(), strict=True))

    return instant
