from __future__ import annotations

import httpx
import numpy as np
import pytest
from trace_builder import START, Builder

from collector.api.jaeger import jaeger_app
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader

START_MS = START // 1_000_000


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One call a second for 100 s: 1 ms, 2 ms, … 100 ms; every fourth of them failed; and a client's span."""
    made = TelemetryDatabase.open(tmp_path_factory.mktemp("red") / "telemetry.duckdb")
    builder = Builder(made)
    for number in range(100):
        builder.span(1, number + 1, kind=2, at_ms=number * 1000, took_ms=number + 1, status=2 * (number % 4 == 0),
                     name="even" if number % 2 == 0 else "odd")  # fmt: skip
    builder.span(1, 200, kind=3, at_ms=50_000, took_ms=9_000)
    builder.store()
    yield made
    made.close()


@pytest.fixture
async def jaeger(database):
    transport = httpx.ASGITransport(jaeger_app(TraceReader(database)))
    async with httpx.AsyncClient(transport=transport, base_url="http://jaeger") as client:
        yield client


# The page's own parameters (jaeger-ui, Monitor/ServicesView), for the minute and a half before the last call.
WINDOW = {"service": "shop", "endTs": START_MS + 100_000, "lookback": 40_000, "step": 10_000, "ratePer": 20_000}


async def values(jaeger, kind, **parameters):
    answer = await jaeger.get(f"/api/metrics/{kind}", params=WINDOW | parameters)
    assert answer.status_code == 200, answer.text
    family = answer.json()
    assert family["type"] == "GAUGE"
    return family, [
        (metric["labels"], [point["gaugeValue"]["doubleValue"] for point in metric["metricPoints"]])
        for metric in family["metrics"]
    ]


async def test_calls_are_a_rate_over_the_window_before_each_step(jaeger):
    family, found = await values(jaeger, "calls")
    assert family["name"] == "service_call_rate"
    ((labels, rates),) = found
    assert labels == [{"name": "service_name", "value": "shop"}]
    assert rates == [1.0] * 5
    assert [point["timestamp"] for point in family["metrics"][0]["metricPoints"]][::4] == [
        "2023-11-14T22:14:20.000Z",
        "2023-11-14T22:15:00.000Z",
    ]
    _, earlier = await values(jaeger, "calls", endTs=START_MS + 10_000)
    assert earlier[0][1] == [0, 0, 0, 0, 0.5]  # ten calls within the twenty seconds before


async def test_errors_are_a_share_of_the_calls(jaeger):
    family, found = await values(jaeger, "errors")
    assert family["name"] == "service_error_rate"
    assert found[0][1] == [0.25] * 5


@pytest.mark.parametrize("quantile", [0.5, 0.75, 0.95, 1])
async def test_latencies_are_milliseconds_within_two_percent(jaeger, quantile):
    family, found = await values(jaeger, "latencies", quantile=quantile)
    assert family["name"] == "service_latencies"
    exact = [np.quantile(np.arange(end - 20, end) + 1, quantile, method="inverted_cdf") for end in range(60, 101, 10)]
    assert found[0][1] == pytest.approx(exact, rel=0.02)


async def test_operations_are_told_apart(jaeger):
    family, found = await values(jaeger, "errors", groupByOperation="true")
    assert family["name"] == "service_operation_error_rate"
    assert [(labels[1]["value"], rates[0]) for labels, rates in found] == [("even", 0.5), ("odd", 0.0)]


async def test_kinds_are_chosen(jaeger):
    _, found = await values(jaeger, "latencies", quantile=0.5, spanKind="client", lookback=0, endTs=START_MS + 60_000)
    assert found[0][1] == pytest.approx([9000], rel=0.02)
    _, nothing = await values(jaeger, "calls", spanKind="producer")
    assert nothing == []


async def test_the_smallest_step_is_one_millisecond(jaeger):
    assert (await jaeger.get("/api/metrics/minstep")).json()["data"] == 1


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("calls", {"service": []}, "at least one service"),
        ("latencies", {}, "quantile"),
        ("latencies", {"quantile": "nan"}, "quantile"),
        ("latencies", {"quantile": "1.1"}, "quantile"),
        ("calls", {"step": "0"}, "step"),
        ("calls", {"lookback": "-1"}, "lookback"),
        ("calls", {"step": "1", "lookback": "999999999"}, "11000"),
        ("calls", {"step": "1", "ratePer": "999999999"}, "11000"),
        ("calls", {"endTs": "9" * 19}, "endTs"),
        ("calls", {"spanKind": "odd"}, "spanKind"),
        ("calls", {"groupByOperation": "maybe"}, "groupByOperation"),
    ],
)
async def test_wrong_parameters_are_named(jaeger, kind, parameters, words):
    answer = await jaeger.get(f"/api/metrics/{kind}", params=WINDOW | parameters)
    assert answer.status_code == 400
    assert words in answer.json()["errors"][0]["msg"]
