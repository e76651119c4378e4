"""What stored series tell of the rules that wrote them. The series are in memory, read by the real engine."""

from __future__ import annotations

import numpy as np
import pytest

from collector.model.series import ABSENT, labels_of
from collector.query.promql.engine import Engine
from collector.query.promql.syntax import matchers_of
from collector.rules.backtest.stored import evaluation_phase, missed_evaluations, stored_episodes
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


@pytest.fixture
def peer():
    with InMemory() as peer:
        yield peer


def test_evaluations_that_left_nothing_although_the_series_goes_on_were_missed(peer: InMemory) -> None:
    peer.put("1 1 _ 1 _ _ 1", __name__="job:load:avg", job="shop")
    peer.put("1 1 _ _ _ 1 1", __name__="job:load:max", job="shop")
    grid = Grid(START_MS, 1000, 7)
    missed = missed_evaluations(peer, ["job:load:avg", "job:load:max"], grid, offset_ms=0)
    assert np.flatnonzero(missed).tolist() == [2, 4]
    late = missed_evaluations(peer, ["job:load:avg", "job:load:max"], grid.shifted(3000), offset_ms=3000)
    assert np.flatnonzero(late).tolist() == [2, 4]
    assert not missed_evaluations(peer, [], grid, offset_ms=0).any()
    assert not missed_evaluations(peer, ["nothing"], grid, offset_ms=0).any()


def test_the_phase_is_that_of_most_samples(peer: InMemory) -> None:
    peer.put("1 1 1", __name__="job:load:avg")
    peer.store.load(labels_of({"__name__": "job:load:avg"}), np.array([START_MS + 5100]), np.array([1.0]))
    bounds = {"from_ms": START_MS, "to_ms": START_MS + 9000, "interval_ms": 1000}
    assert evaluation_phase(peer, ["{__name__='none'}", "job:load:avg"], **bounds, offset_ms=0) == 250
    assert evaluation_phase(peer, ["job:load:avg"], **bounds, offset_ms=300) == 550
    assert evaluation_phase(peer, ["{__name__='none'}"], **bounds, offset_ms=0) is None


def test_episodes_are_told_apart_by_since_when_they_are_active(peer: InMemory) -> None:
    first, second = START_MS // 1000, START_MS // 1000 + 5
    labels = {"alertname": "Hot", "job": "shop"}
    # Pending, firing with one missed evaluation, gone; at once active again, and still pending at the end.
    peer.put(f"{first} {first} _ {first} _ {second} {second}", __name__="ALERTS_FOR_STATE", **labels)
    peer.put("1 _ _ _ _ 1 1", __name__="ALERTS", alertstate="pending", **labels)
    peer.put("_ 1 _ 1", __name__="ALERTS", alertstate="firing", **labels)
    found = stored_episodes(peer, "Hot", from_ms=START_MS, to_ms=START_MS + 6500, interval_ms=1000, offset_ms=0)
    assert [(one.active_at_ms, one.fired_at_ms, one.ended_at_ms) for one in found] == [
        (START_MS, START_MS + 1000, START_MS + 4000),
        (START_MS + 5000, None, None),
    ]
    assert found[0].labels == labels_of(labels)


def test_an_alert_of_another_name_is_none_of_them(peer: InMemory) -> None:
    peer.put("1", __name__="ALERTS_FOR_STATE", alertname="Cold")
    assert stored_episodes(peer, "Hot", from_ms=0, to_ms=START_MS, interval_ms=1000, offset_ms=0) == []
