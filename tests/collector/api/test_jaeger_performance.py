from __future__ import annotations

import asyncio

import httpx
import pytest
from made_spans import CLIENT, ERROR, RECEIVED_MS, Made, decoded

from collector.api.jaeger import jaeger_app
from collector.api.jaeger_performance import SpanMetricsPerformance
from collector.pipeline.connectors.connectors import Connectors
from collector.pipeline.connectors.span_metrics import SpanMetricsOptions
from collector.query.promql.engine import Engine
from collector.storage.metrics.store import MetricStore
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader

MS = 1_000_000
WINDOW = {
    "service": ["shop", "no|such"],
    "endTs": RECEIVED_MS + 100_000,
    "lookback": 40_000,
    "step": 10_000,
    "ratePer": 20_000,
}


@pytest.fixture(scope="module", params=["ms", "s"])
def performance(request, tmp_path_factory):
    """Two calls a second for 100 s, every fourth of `buy` failed, and a client's; flushed every 4 s."""
    options = SpanMetricsOptions(unit=request.param)
    store = MetricStore.open(
        tmp_path_factory.mktemp("spm") / "metrics", retention_s=1e6, clock=lambda: RECEIVED_MS + 100_000
    )
    connectors = Connectors(span_metrics=options, service_graph=None)
    tables = []
    for second in range(101):
        at_ms = RECEIVED_MS + second * 1000
        spans = [
            Made(name="buy", status=ERROR * (second % 4 == 0), took_nano=90 * MS),
            Made(name="look", took_nano=7 * MS),
            Made(kind=CLIENT, took_nano=3_000 * MS),
            Made(service="other"),
        ]
        connectors.derive(decoded(spans, received_ms=at_ms)).keep()
        if second % 4 == 0:
            tables += connectors.flush(at_ms).tables
    outcome = asyncio.run(store.append_tables(tables))
    assert not outcome.refusals
    yield SpanMetricsPerformance(Engine(store), options)
    store.close()


@pytest.fixture
async def jaeger(performance, tmp_path):
    """Over a store without a span: what is told is from the metrics."""
    database = TelemetryDatabase.open(tmp_path / "telemetry.duckdb")
    transport = httpx.ASGITransport(jaeger_app(TraceReader(database), performance))
    async with httpx.AsyncClient(transport=transport, base_url="http://jaeger") as client:
        yield client
    database.close()


async def values(jaeger, kind, **parameters):
    answer = await jaeger.get(f"/api/metrics/{kind}", params=WINDOW | parameters)
    assert answer.status_code == 200, answer.text
    family = answer.json()
    return family["name"], {
        tuple(label["value"] for label in metric["labels"]): [
            point["gaugeValue"]["doubleValue"] for point in metric["metricPoints"]
        ]
        for metric in family["metrics"]
    }


async def test_calls_are_those_of_all_spans(jaeger):
    name, found = await values(jaeger, "calls")
    assert (name, found) == ("service_call_rate", {("shop",): pytest.approx([2.0] * 5)})


async def test_errors_are_zero_where_nothing_failed(jaeger):
    name, found = await values(jaeger, "errors", groupByOperation="true")
    assert name == "service_operation_error_rate"
    assert found == {("shop", "buy"): pytest.approx([0.25] * 5, abs=0.02), ("shop", "look"): [0.0] * 5}


async def test_latencies_are_milliseconds_whatever_the_unit_of_the_metrics(jaeger):
    _, found = await values(jaeger, "latencies", quantile=0.25, groupByOperation="true")
    assert 50 < found["shop", "buy"][0] <= 100
    assert 6 < found["shop", "look"][0] <= 8


async def test_kinds_are_chosen(jaeger):
    _, found = await values(jaeger, "latencies", quantile=1, spanKind="client")
    assert found == {("shop",): pytest.approx([5000] * 5)}
    assert (await values(jaeger, "calls", spanKind="producer"))[1] == {}


async def test_a_service_is_a_name_and_no_pattern(jaeger):
    assert (await values(jaeger, "calls", service=["sho.", ".*", 'sh"op\\']))[1] == {}
