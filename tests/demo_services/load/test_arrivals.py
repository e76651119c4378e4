from __future__ import annotations

import random
import statistics
from collections import Counter

import pytest

from demo_services.load.arrivals import PoissonArrivals


def simulate(seconds: float, tick: float = 0.02, **rates: float) -> list[Counter[str]]:
    """Counts for each second of made-up time."""
    arrivals = PoissonArrivals(random.Random(7))
    counts: list[Counter[str]] = []
    for step in range(int(seconds / tick) + 1):
        if step % round(1 / tick) == 0:
            counts.append(Counter())
        counts[-1].update(arrivals.due(rates, step * tick))
    return counts[:-1]


def test_each_kind_arrives_at_its_rate() -> None:
    total = sum(simulate(400, browse=30.0, buy=2.0), Counter())
    assert total["browse"] / 400 == pytest.approx(30, rel=0.03)
    assert total["buy"] / 400 == pytest.approx(2, rel=0.15)


def test_arrivals_are_scattered_as_a_poisson_process_is() -> None:
    counts = [count["browse"] for count in simulate(1000, browse=20.0)]
    assert statistics.variance(counts) / statistics.mean(counts) == pytest.approx(1, abs=0.15)


def test_the_rate_does_not_depend_on_how_often_one_looks() -> None:
    often, seldom = (sum(simulate(400, tick, browse=25.0), Counter())["browse"] / 400 for tick in (0.005, 0.25))
    assert often == pytest.approx(25, rel=0.04)
    assert seldom == pytest.approx(25, rel=0.04)


def test_nothing_arrives_at_rate_zero_and_arrivals_begin_when_it_rises() -> None:
    arrivals = PoissonArrivals(random.Random(1))
    assert arrivals.due({"browse": 0.0}, 0) == []
    assert arrivals.due({"browse": 0.0}, 100) == []
    assert arrivals.due({"browse": 50.0}, 100) == []
    assert 25 < len(arrivals.due({"browse": 50.0}, 101)) < 80


def test_a_process_that_was_stopped_does_not_send_all_that_it_missed() -> None:
    arrivals = PoissonArrivals(random.Random(1))
    arrivals.due({"browse": 100.0}, 0)
    assert len(arrivals.due({"browse": 100.0}, 3600)) <= 1
