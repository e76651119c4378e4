"""
The same queries to Debian's Prometheus and to the engine, over the same samples, through the same HTTP API.

Debian's is 2.42: its windows are closed where ours are open at the left. The samples stand 5 ms after full seconds and
the steps elsewhere, so that no window's edge ever meets a sample and both must answer the same.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.api.prometheus import prometheus_router
from collector.model.series import ABSENT, METRIC_NAME, Block, Labels, is_absent, labels_of
from collector.query.memory import MemorySource
from collector.query.promql.engine import Engine
from collector.query.promql.values import display

pytestmark = pytest.mark.peer

ORIGIN_MS = 1_600_000_000_005  # 5 ms after a full second
SCRAPES, INTERVAL_MS = 360, 10_000
BOUNDS = ("0.1", "0.5", "1", "2.5", "+Inf")
TOLERANCE = 1e-9
Ask = Callable[[str, dict[str, str]], dict[str, Any]]


def _labels(name: str, **labels: str) -> Labels:
    return labels_of({METRIC_NAME: name} | labels)


def samples() -> list[Block]:
    """An hour of two jobs: counters with resets, gauges with odd values, histograms, series with holes."""
    random = np.random.default_rng(20)
    regular = ORIGIN_MS + np.arange(SCRAPES, dtype=np.int64) * INTERVAL_MS
    labels, rows = [], []
    for number in range(8):
        place = {"job": ("api", "web")[number % 2], "instance": f"i{number // 2}", "code": ("200", "500")[number // 4]}
        # Counters start high: Prometheus 3 and 2 extrapolate differently towards a zero that is near.
        counter = 50_000 + np.cumsum(random.poisson(3 * number + 0.3, SCRAPES)).astype(float)
        if number % 3 == 0:
            counter[200:] -= counter[200] - 40_000
        labels.append(_labels("requests_total", **place))
        rows.append(counter)
    for number in range(4):
        place = {"job": ("api", "web")[number % 2], "instance": f"i{number // 2}"}
        gauge = np.round(random.normal(50, 30, SCRAPES), 3)
        if number == 3:
            gauge[100:104], gauge[150], gauge[151] = np.nan, np.inf, -np.inf
        labels.append(_labels("load", **place))
        rows.append(gauge)
        counts = np.cumsum(np.cumsum(random.poisson(2, (len(BOUNDS), SCRAPES)), axis=1), axis=0) + 10_000.0
        for bound, count in zip(BOUNDS, counts, strict=True):
            labels.append(_labels("latency_seconds_bucket", le=bound, **place))
            rows.append(count)
        labels.append(_labels("info", version=f"v{number}", **place))
        rows.append(np.ones(SCRAPES))
    holes = np.stack([np.round(np.cumsum(random.normal(0, 2, SCRAPES)), 3) for _ in range(3)])
    for row, (start, stop) in enumerate(((60, 70), (100, 170), (0, 300))):
        holes[row, start:stop] = ABSENT
    holes[0, 200:340:3] = ABSENT
    irregular = ORIGIN_MS + np.cumsum(random.integers(3, 90, 90)).astype(np.int64) * 1000
    return [
        Block(tuple(labels), regular, np.array(rows)),
        Block(tuple(_labels("patchy", n=str(row)) for row in range(3)), regular, holes),
        Block(
            (_labels("uneven", kind="gauge"), _labels("uneven", kind="level")),
            irregular,
            np.round(random.normal(0, 5, (2, 90)), 2),
        ),
    ]


def openmetrics(blocks: list[Block]) -> str:
    lines = []
    for block in blocks:
        for labels, values, absent in zip(block.labels, block.values, is_absent(block.values), strict=True):
            series = display(labels).replace(", ", ",")  # OpenMetrics allows no space there
            for timestamp, value in zip(block.timestamps_ms[~absent], values[~absent], strict=True):
                lines.append(f"{series} {float(value)!r} {timestamp / 1000:.3f}")
    return "\n".join([*lines, "# EOF\n"])


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have prometheus and promtool on PATH")
        pytest.skip("prometheus and promtool are not on PATH")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "samples.txt").write_text(openmetrics(samples()))
    (folder / "prometheus.yml").write_text("global: {}\n")
    create = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "data"]
    subprocess.run(create, cwd=folder, check=True, capture_output=True, timeout=60)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = _start(folder, port)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            _wait_ready(client, process)
            yield lambda path, params: client.post(path, data=params).json()
    finally:
        process.terminate()
        process.wait(20)


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    flags = {
        "config.file": "prometheus.yml",
        "storage.tsdb.path": "data",
        "storage.tsdb.retention.time": "100y",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "error",
    }
    command = ["prometheus", *(f"--{name}={value}" for name, value in flags.items())]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def _wait_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail("prometheus did not become ready in 30 s")


@pytest.fixture(scope="module")
def ours() -> Iterator[Ask]:
    source = MemorySource(samples())
    app = FastAPI()
    app.include_router(prometheus_router(engine=Engine(source), source=source, targets=list))
    transport = httpx.ASGITransport(app)
    with asyncio.Runner() as runner:
        client = httpx.AsyncClient(transport=transport, base_url="http://ours")
        yield lambda path, params: runner.run(client.post(path, data=params)).json()
        runner.run(client.aclose())


def close(left: str, right: str) -> bool:
    one, other = float(left), float(right)
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def difference(expected: dict[str, Any], actual: dict[str, Any]) -> str | None:
    """What is different first, None if nothing is."""
    if expected["status"] == "error" or actual["status"] == "error":
        same = expected["status"] == actual["status"] and expected["errorType"] == actual["errorType"]
        return None if same else f"{expected} != {actual}"
    expected, actual = expected["data"], actual["data"]
    if expected["resultType"] != actual["resultType"]:
        return f"{expected['resultType']} != {actual['resultType']}"
    if expected["resultType"] in {"scalar", "string"}:
        return None if expected == actual else f"{expected} != {actual}"
    one, other = (_by_labels(data["result"]) for data in (expected, actual))
    if one.keys() != other.keys():
        return f"only Prometheus: {sorted(one.keys() - other.keys())}, only ours: {sorted(other.keys() - one.keys())}"
    for labels, points in one.items():
        if [point[0] for point in points] != [point[0] for point in other[labels]]:
            return f"{labels}: other times: {points[:5]} != {other[labels][:5]}"
        for here, there in zip(points, other[labels], strict=True):
            if not close(here[1], there[1]):
                return f"{labels}: {here} != {there}"
    return None


def _by_labels(result: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {str(sorted(one["metric"].items())): one.get("values") or [one["value"]] for one in result}


def assert_same(peer: Ask, ours: Ask, query: str) -> None:
    at = (ORIGIN_MS + 2_001_132) / 1000
    instant = {"query": query, "time": f"{at:.3f}"}
    found = difference(peer("/api/v1/query", instant), ours("/api/v1/query", instant))
    assert found is None, f"instant {query}: {found}"
    start, end = (ORIGIN_MS - 301_132) / 1000, (ORIGIN_MS + 3_900_000) / 1000
    span = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": "47"}
    found = difference(peer("/api/v1/query_range", span), ours("/api/v1/query_range", span))
    assert found is None, f"range {query}: {found}"


QUERIES = [line for line in (Path(__file__).parent / "testdata" / "peer_queries.txt").read_text().splitlines() if line]


@pytest.mark.parametrize("query", QUERIES)
def test_query_is_answered_as_prometheus_answers_it(peer: Ask, ours: Ask, query: str) -> None:
    assert_same(peer, ours, query)


VECTORS = st.sampled_from(
    (
        "load", "patchy", "uneven", 'load{job="api"}', "requests_total", 'requests_total{code!~"5.."}', "info",
        "load offset 3m", 'patchy{n=~"0|2"} offset -2m', "nothing_here",
    )
)  # fmt: skip
WINDOWS = st.sampled_from(["47s", "2m", "7m", "13s"])
OVER_TIME = st.sampled_from(
    [f"{name}_over_time" for name in ("avg", "min", "max", "sum", "count", "last", "present", "stddev", "stdvar")]
    + ["delta", "irate", "idelta", "changes", "resets", "deriv"]
)
# Only on counters far from zero, see `samples`.
RATES = st.builds("{}(requests_total[{}])".format, st.sampled_from(["rate", "increase"]), WINDOWS)
GROUPING = st.sampled_from(["", " by (job)", " by (job, instance)", " without (instance)", " without ()", " by (n)"])
NUMBERS = st.sampled_from(["0", "1", "-2.5", "40", "1e3", "0.3"])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    aggregation = st.sampled_from(["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"])
    return st.one_of(
        st.builds("{}{} ({})".format, aggregation, GROUPING, inner),
        st.builds("quantile{} ({}, {})".format, GROUPING, st.sampled_from(["0.3", "0.9", "-1", "2"]), inner),
        st.builds(
            "({}) {} {}".format, inner, st.sampled_from(["+", "-", "*", "/", ">", "<=", "!=", "< bool"]), NUMBERS
        ),
        st.builds("{} {} ({})".format, NUMBERS, st.sampled_from(["+", "-", "*", ">", "<=", "> bool"]), inner),
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["+", "-", "*", "and", "or", "unless"]), inner),
        st.builds("({}) {} on (job) ({})".format, inner, st.sampled_from(["+", "and", "or", "unless"]), inner),
        st.builds("{}({})".format, st.sampled_from(["abs", "-", "ceil", "sgn", "absent", "timestamp", "sqrt"]), inner),
    )


EXPRESSIONS = st.recursive(
    st.one_of(
        VECTORS,
        RATES,
        # not nested: the steps of one subquery would meet the window's edges of another
        st.builds("{}(({})[{}:13s])".format, OVER_TIME, st.one_of(VECTORS, RATES), WINDOWS),
        st.builds(
            "{}({}[{}])".format, OVER_TIME, st.sampled_from(["load", "patchy", "uneven", "requests_total"]), WINDOWS
        ),
    ),
    _larger,
    max_leaves=3,
)


@settings(
    max_examples=75,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(query=EXPRESSIONS)
def test_generated_query_is_answered_as_prometheus_answers_it(peer: Ask, ours: Ask, query: str) -> None:
    assert_same(peer, ours, query)
