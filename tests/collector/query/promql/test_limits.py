"""What strangers may send: long, deep, wide and costly queries end with a clear error, in time."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from collector.errors import BadRequestError, CollectorError
from collector.model.series import METRIC_NAME, Block, labels_of
from collector.query.errors import QueryCancelledError, QueryTimeoutError, TooManySamplesError
from collector.query.memory import MemorySource
from collector.query.promql.engine import Engine

HOUR_MS = 3_600_000


def engine(*, series: int = 20, max_samples: int = 50_000_000) -> Engine:
    times = np.arange(360, dtype=np.int64) * 10_000
    labels = tuple(labels_of({METRIC_NAME: "x", "n": "a" * 40 + str(number)}) for number in range(series))
    return Engine(MemorySource([Block(labels, times, np.ones((series, 360)))]), max_samples=max_samples)


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("x" * 1_000_000, "expression longer than 100000 characters: 1000000"),
        ("(" * 100_000, "expression nested deeper than 400 levels"),
        ("-" * 90_000 + "x", "expression nested deeper than 400 levels"),
        ("sum(" * 500 + "x" + ")" * 500, "expression nested deeper than 400 levels"),
        ("x" + "[5m:1m]" * 300, "subquery is only allowed on vector"),
        ("sum_over_time(" * 350 + "x" + "[5m:1m])" * 350, "nested"),
        ("x{n=~'" + "(a{1000}){1000}" + "'}", "re"),
        ("x[" + "9" * 90_000 + "s]", ""),
        ("x[" + "1." * 45_000 + "s]", ""),
        ("'" + "\\\\" * 40_000, ""),
        ("x offset " + "9" * 400 + "y", ""),
        ("x[1h*" + "9" * 300 + "]", "duration out of range"),
        ("x[1e308 ^ 3]", ""),
        ('x{n="\ud800"}', ""),
        ('"' + "\\x" * 1000, ""),
        ("\x00", ""),
    ],
)
def test_bad_query_is_refused_at_once(expr: str, message: str) -> None:
    began = time.thread_time()
    with pytest.raises(CollectorError, match=message or None):
        engine().instant(expr, at_ms=HOUR_MS, timeout_s=5)
    assert time.thread_time() - began < 4


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a+)+$x", "(a|aa)+$x", "(.*)(.*)(.*)(.*)(.*)[^1]x"])
def test_regular_expression_takes_linear_time(pattern: str) -> None:
    began = time.thread_time()
    engine().instant(f"x{{n=~'{pattern}'}}", at_ms=HOUR_MS)
    engine().instant(f"label_replace(x, 'm', '$1', 'n', '{pattern}')", at_ms=HOUR_MS)
    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    "expr",
    [
        "x",
        "rate(x[5m])",
        "sum_over_time(x[1000y:1ms])",
        "count_over_time((x)[50m:1s])",
        "x + on () group_left () vector(1)",
    ],
)
def test_too_many_samples_end_the_query(expr: str) -> None:
    with pytest.raises(TooManySamplesError, match="too many samples"):
        engine(max_samples=1_000).range(expr, start_ms=0, end_ms=HOUR_MS, step_ms=10_000)


def test_too_many_steps_end_the_query_before_they_are_laid_out() -> None:
    with pytest.raises(TooManySamplesError):
        engine().range("1", start_ms=0, end_ms=10**15, step_ms=1)


def test_range_without_steps_is_refused() -> None:
    for start, end, step in ((10, 0, 1), (0, 10, 0), (0, 10, -5)):
        with pytest.raises(BadRequestError, match="no steps"):
            engine().range("x", start_ms=start, end_ms=end, step_ms=step)


def test_query_ends_when_its_time_is_over() -> None:
    with pytest.raises(QueryTimeoutError, match="query timed out in expression evaluation"):
        engine().range("rate(x[5m])", start_ms=0, end_ms=HOUR_MS, step_ms=10_000, timeout_s=0)


def test_query_ends_when_nobody_waits_for_it() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(QueryCancelledError):
        engine().prepare("rate(x[5m])").instant_result(at_ms=HOUR_MS, cancelled=cancelled)
