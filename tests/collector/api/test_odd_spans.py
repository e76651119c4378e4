"""Spans as broken senders make them: whatever they say, everything else is still answered."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.api.jaeger import jaeger_app
from collector.api.traces import traces_router
from collector.pipeline.spans import decode_spans
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader

LAST = 2**64 - 1
FILTERS = ["{}", "traceDuration > 1s", "duration < 1s", "{} >> {}", "{} | avg(duration) > 0s", "rootName != nil"]
PATHS = [
    "services",
    "traces?service=odd&start=0&end=9223372036854775",
    "dependencies?endTs=9223372036854&lookback=9223372036854",
    "metrics/calls?service=odd&spanKind=unspecified&endTs=1000",
    "metrics/latencies?service=odd&spanKind=unspecified&endTs=1000&quantile=0.5",
    "v3/trace-summaries?query.startTimeMin=1970-01-01T00:00:00Z&query.startTimeMax=2262-01-01T00:00:00Z",
]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """At the very ends of time, ending before they start, their own parents, of unknown kinds and statuses."""
    made = TelemetryDatabase.open(tmp_path_factory.mktemp("odd") / "telemetry.duckdb")
    request = ExportTraceServiceRequest()
    per_resource = request.resource_spans.add()
    per_resource.resource.attributes.add(key="service.name").value.string_value = "odd"
    spans = per_resource.scope_spans.add().spans
    times = [(0, 0), (0, LAST), (LAST, LAST), (LAST, 0), (2**63, 5), (5, 2**63), (10**18, 10**18 + 5)]
    for number, (start, end) in enumerate(times, 1):
        for trace in (number, 0x99):
            span = spans.add(trace_id=trace.to_bytes(16), span_id=number.to_bytes(8), parent_span_id=number.to_bytes(8))
            span.start_time_unix_nano, span.end_time_unix_nano = start, end
            span.kind, span.status.code = 2**31 - 1, -(2**31)
    made.write([decode_spans(request.SerializeToString(), received_ms=0)])
    yield made
    made.close()


@pytest.fixture
async def client(database):
    app = FastAPI()
    app.include_router(traces_router(database))
    app.mount("/", jaeger_app(TraceReader(database)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://odd") as made:
        yield made


@pytest.mark.parametrize("path", PATHS)
async def test_jaegers_api_answers(client, path):
    answer = await client.get(f"/api/{path}")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("trace", [1, 2, 3, 4, 5, 6, 7, 99])
async def test_each_trace_is_shown_by_every_api(client, trace):
    for path in (f"/api/traces/{trace}", f"/api/v3/traces/{trace}", f"/api/v1/traces/{trace}"):
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("text", FILTERS)
async def test_filters_and_comparisons_answer(client, text):
    times = {"start": 0, "end": 9223372036}
    found = await client.get("/api/v1/traces/search", params={"filter": text, **times})
    assert found.status_code == 200, found.text
    compared = await client.get("/api/v1/traces/compare", params={"selection": text, **times})
    assert compared.status_code == 200, compared.text
