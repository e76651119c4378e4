"""What stored series tell of the rules that wrote them. The series are in memory, read by the real engine."""

from __future__ import annotations

import numpy as np
import pytest
from memory_peer import START_MS, InMemory

from collector.model.series import labels_of
from collector.rules.backtest.stored import evaluation_phase, missed_evaluations, stored_episodes
from collector.rules.remote import Grid


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


def test_two_episodes_of_one_second_are_told_apart_by_the_evaluation_between_them(peer: InMemory) -> None:
    second = START_MS // 1000
    times = START_MS + np.array([0, 400, 600])
    labels = {"alertname": "Hot"}
    for name, values in (("ALERTS_FOR_STATE", np.full(3, float(second))), ("ALERTS", np.ones(3))):
        extra = {"alertstate": "pending"} if name == "ALERTS" else {}
        peer.store.load(labels_of({"__name__": name, **labels, **extra}), times, values)
    found = stored_episodes(peer, "Hot", from_ms=START_MS, to_ms=START_MS + 700, interval_ms=200, offset_ms=0)
    assert [(one.active_at_ms - START_MS, one.ended_at_ms) for one in found] == [(0, START_MS + 200), (400, None)]
