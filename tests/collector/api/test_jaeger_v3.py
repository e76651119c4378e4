"""Jaeger's API v3, checked by what jaeger-ui/src/api/v3/schemas.ts accepts."""

from __future__ import annotations

import base64
import json
import re

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from trace_builder import START, Builder

from collector.api.jaeger import jaeger_app
from collector.api.jaeger_v3_query import rfc3339_nano
from collector.errors import BadRequestError
from collector.pipeline.spans import decode_spans
from collector.receivers.otlp_json import request_of_json
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
WITHIN = {"query.startTimeMin": "2023-11-14T22:13:20Z", "query.startTimeMax": "2023-11-14T23:00:00.000000001+00:00"}
SNAKE = {"query.start_time_min": "2023-11-14T22:13:20.000Z", "query.start_time_max": "2023-11-14T23:00:00Z"}


@pytest.fixture(scope="module")
def database(tmp_path_factory, new_trace_request):
    made = TelemetryDatabase.open(tmp_path_factory.mktemp("v3") / "telemetry.duckdb")
    made.write([decode_spans(new_trace_request().SerializeToString(), received_ms=0)])
    builder = Builder(made)
    for trace in range(1, 6):
        builder.span(trace, 1, service="many", name="op", at_ms=trace, kind=0, status=2 if trace == 3 else 0)
        builder.span(trace, 2, 7, service="other", name="lost", at_ms=trace, attributes={"n": trace})
    builder.store()
    yield made
    made.close()


@pytest.fixture
async def jaeger(database):
    transport = httpx.ASGITransport(jaeger_app(TraceReader(database)))
    async with httpx.AsyncClient(transport=transport, base_url="http://jaeger") as client:
        yield client


async def test_services_and_operations(jaeger):
    assert (await jaeger.get("/api/v3/services")).json() == {"services": ["catalog", "many", "other"]}
    for name in ("spanKind", "span_kind"):
        answer = await jaeger.get("/api/v3/operations", params={"service": "catalog", name: "server"})
        assert answer.json() == {"operations": [{"name": "GET /products", "spanKind": "server"}]}
    unspecified = await jaeger.get("/api/v3/operations", params={"service": "many"})
    assert unspecified.json() == {"operations": [{"name": "op", "spanKind": "internal"}]}
    assert (await jaeger.get("/api/v3/operations")).json() == {"operations": []}


@pytest.mark.parametrize("of", [TRACE_ID, TRACE_ID.upper(), TRACE_ID.lstrip("0"), "base64", "base64 unpadded"])
async def test_a_trace_comes_back_as_the_otlp_that_was_sent(jaeger, new_trace_request, of):
    if of.startswith("base64"):
        of = base64.b64encode(bytes.fromhex(TRACE_ID)).decode().rstrip("=" if "un" in of else "")
    times = {"startTime": "2023-11-14T22:00:00Z", "end_time": "2023-11-14T23:00:00Z", "rawTraces": "true"}
    answer = await jaeger.get(f"/api/v3/traces/{of.replace('/', '%2F')}", params=times)
    assert answer.status_code == 200, answer.text
    result = answer.json()["result"]
    sent = new_trace_request()
    for span in sent.resource_spans[0].scope_spans[0].spans:
        for attribute in span.attributes:
            if attribute.key == "e":  # an empty value, which the page refuses
                attribute.value.string_value = ""
    back = ExportTraceServiceRequest.FromString(request_of_json(json.dumps(result).encode(), ExportTraceServiceRequest))
    assert back == sent
    assert_page_accepts(result)


def assert_page_accepts(result):
    """The refinements of schemas.ts: ids in hex, 64-bit numbers as decimal strings, one kind of value each."""
    for per_resource in result["resourceSpans"]:
        for per_scope in per_resource["scopeSpans"]:
            for span in per_scope["spans"]:
                assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
                assert re.fullmatch("[0-9a-f]{16}", span["spanId"])
                assert re.fullmatch("[0-9a-f]{16}", span.get("parentSpanId", "0" * 16))
                assert span["startTimeUnixNano"].isdecimal()
                assert span["endTimeUnixNano"].isdecimal()
                assert isinstance(span.get("kind", 0), int)
                assert isinstance(span["status"].get("code", 0), int)
                for attribute in span.get("attributes", []):
                    assert len(attribute["value"]) == 1


async def test_summaries_have_exactly_the_types_that_the_page_wants(jaeger):
    answer = await jaeger.get("/api/v3/trace-summaries", params={**WITHIN, "query.serviceName": "catalog"})
    assert answer.json() == {
        "summaries": [
            {
                "traceId": TRACE_ID,
                "rootServiceName": "catalog",
                "rootOperationName": "GET /products",
                "minStartTimeUnixNano": str(START),
                "maxEndTimeUnixNano": str(START + 12_345_678),
                "spanCount": 2,
                "errorSpanCount": 1,
                "orphanSpanCount": 0,
                "services": [{"name": "catalog", "spanCount": 2, "errorSpanCount": 1}],
            }
        ]
    }
    (many,) = (await jaeger.get("/api/v3/trace-summaries", params=WITHIN | {"query.attributes": '{"n":"3"}'})).json()[
        "summaries"
    ]
    assert (many["spanCount"], many["errorSpanCount"], many["orphanSpanCount"]) == (2, 1, 1)
    nothing = await jaeger.get("/api/v3/trace-summaries", params=WITHIN | {"query.serviceName": "nobody"})
    assert nothing.json() == {"summaries": []}


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        (SNAKE | {"query.service_name": "many"}, 5),
        (SNAKE | {"query.service_name": "many", "query.num_traces": "2"}, 2),
        (WITHIN | {"query.searchDepth": "3"}, 3),
        (SNAKE | {"query.search_depth": "3"}, 3),
        (WITHIN | {"query.operationName": "lost"}, 5),
        (SNAKE | {"query.operation_name": "lost"}, 5),
        (SNAKE | {"query.span_name": "lost"}, 5),  # Jaeger UI 2.19
        (WITHIN | {"query.durationMin": "10ms"}, 1),
        (SNAKE | {"query.duration_max": "2ms", "query.service_name": "many"}, 5),
        (WITHIN | {"query.startTimeMin": "2023-11-14T22:13:20.005000000Z"}, 1),
        (WITHIN | {"query.attributes": '{"n":"3","error":"true"}'}, 0),  # not of one span
    ],
)
async def test_searches_take_both_spellings_of_their_parameters(jaeger, parameters, count):
    answer = await jaeger.get("/api/v3/trace-summaries", params=parameters)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["summaries"]) == count
    traces = await jaeger.get("/api/v3/traces", params=parameters)
    assert traces.status_code == (200 if count else 404)


async def test_a_cut_list_is_continued_by_its_token(jaeger):
    seen, token = [], ""
    for _ in range(3):
        page = {"query.pagination.pageSize": "2"} | ({"query.pagination.pageToken": token} if token else {})
        answer = await jaeger.get("/api/v3/trace-summaries", params=WITHIN | {"query.serviceName": "many"} | page)
        seen += [int(summary["traceId"], 16) for summary in answer.json()["summaries"]]
        token = answer.json().get("nextPageToken", "")
    assert seen == [5, 4, 3, 2, 1]
    assert token == ""


@pytest.mark.parametrize(
    ("path", "parameters", "status", "words"),
    [
        ("traces/xyz", {}, 400, "malformed parameter trace_id"),
        ("traces/" + "0" * 32, {}, 400, "trace_id"),
        ("traces/1", {"startTime": "abc"}, 400, "malformed parameter startTime"),
        ("traces/1", {"end_time": "abc"}, 400, "malformed parameter end_time"),
        ("traces/1", {"raw_traces": "foobar"}, 400, "malformed parameter raw_traces"),
        ("traces/abc", {}, 404, "No traces found"),
        ("traces", {}, 400, "min and max start time are required"),
        ("trace-summaries", {"query.startTimeMin": "2023-11-14T22:13:20Z"}, 400, "required"),
        ("trace-summaries", WITHIN | {"query.startTimeMax": "1969-12-31T00:00:00Z"}, 400, "1970"),
        ("trace-summaries", WITHIN | {"query.startTimeMin": "2026-01-01T00:00:00Z"}, 400, "before"),
        ("trace-summaries", WITHIN | {"query.searchDepth": "0"}, 400, "query.searchDepth"),
        ("trace-summaries", WITHIN | {"query.num_traces": "99999999"}, 400, "query.num_traces"),
        ("trace-summaries", WITHIN | {"query.attributes": "{"}, 400, "query.attributes"),
        ("trace-summaries", WITHIN | {"query.durationMin": "3 years"}, 400, "query.durationMin"),
        ("trace-summaries", WITHIN | {"query.pagination.pageToken": "x"}, 400, "pageToken"),
        ("trace-summaries", WITHIN | {"query.filter": "{}"}, 400, "query.filter"),
        ("operations", {"service": "many", "spanKind": "odd"}, 400, "spanKind"),
        ("dependencies", {}, 400, "startTime"),
        ("nothing", {}, 404, "Not Found"),
    ],
)
async def test_errors_have_the_gateways_shape(jaeger, path, parameters, status, words):
    answer = await jaeger.get(f"/api/v3/{path}", params=parameters)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["httpCode"] == status
    assert words in error["message"]


async def test_dependencies_count_as_strings(jaeger):
    within = {"startTime": "2023-11-14T22:00:00Z", "endTime": "2023-11-14T23:00:00Z"}
    assert (await jaeger.get("/api/v3/dependencies", params=within)).json() == {"dependencies": []}


async def test_capabilities_say_that_no_service_is_needed(jaeger):
    assert (await jaeger.get("/api/v3/capabilities")).json()["search"]["withoutServiceName"] is True


def test_times_keep_their_nanoseconds():
    assert rfc3339_nano("t", "2023-11-14T22:13:20.123456789Z") == START + 123_456_789
    assert rfc3339_nano("t", "2023-11-15T00:13:20+02:00") == START
    assert rfc3339_nano("t", "1970-01-01T00:00:00.5z") == 500_000_000
    for wrong in ("2023-11-14", "2023-13-14T22:13:20Z", "2023-11-14T22:13:20", "9999-01-01T00:00:00Z", "x" * 1000):
        with pytest.raises(BadRequestError, match="malformed parameter t"):
            rfc3339_nano("t", wrong)
