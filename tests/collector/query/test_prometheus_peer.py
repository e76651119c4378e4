"""
The same queries to Debian's Prometheus and to the engine over the metric store, with the same samples.

STEERSMAN_PROMQL_EXAMPLES sets how many queries are generated (100); bench/soak/promql_differential.py asks more of
them, and prints every disagreement. What is known to differ is listed in docs/promql.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from prometheus_process import PrometheusProcess
from promql_comparison import Times, as_prometheus_2, difference, known_reason
from promql_grammar import expressions
from promql_peer import OFFSET_MS, both, times
from promql_samples import ORIGIN_MS

from collector.query.promql.engine import Engine

pytestmark = pytest.mark.peer

EXAMPLES = int(os.environ.get("STEERSMAN_PROMQL_EXAMPLES", "100"))
QUERIES = [line for line in (Path(__file__).parent / "testdata" / "peer_queries.txt").read_text().splitlines() if line]
# On the samples' own times, where windows closed at the left differ from those that are open, and elsewhere.
ON_SAMPLES = ORIGIN_MS + OFFSET_MS + 2_000_000
ELSEWHERE = ORIGIN_MS + 2_001_132

Pair = tuple[PrometheusProcess, Engine]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if shutil.which("prometheus") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have prometheus on PATH")
        pytest.skip("prometheus is not on PATH")
    with both(tmp_path_factory.mktemp("promql")) as found:
        yield found


@pytest.mark.parametrize("query", QUERIES)
def test_query_is_answered_as_prometheus_answers_it(pair: Pair, query: str) -> None:
    moments = [Times(at, at, 0) for at in (ON_SAMPLES, ELSEWHERE)]
    ranges = [Times(at - 2_300_000, at + 1_900_000, step) for at, step in ((ON_SAMPLES, 60_000), (ELSEWHERE, 47_000))]
    with as_prometheus_2():
        for one in (*moments, *ranges):
            assert difference(*pair, query, one) is None, one


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(query=expressions(), at=times())
def test_generated_query_is_answered_as_prometheus_answers_it(pair: Pair, query: str, at: tuple[Times, Times]) -> None:
    with as_prometheus_2():
        for one in at:
            text = difference(*pair, query, one)
            assert text is None or known_reason(query, text), (query, one, text)
