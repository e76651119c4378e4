from __future__ import annotations

import base64
import json
import time

import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from collector.api.jaeger import jaeger_app
from collector.pipeline.spans import decode_spans
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader

START_US = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory, new_trace_request):
    """A trace of catalog calling payment, one of a short id, thirty of `many`, one of two hours ago."""
    database = TelemetryDatabase.open(tmp_path_factory.mktemp("jaeger") / "telemetry.duckdb")
    request = new_trace_request()
    first = request.resource_spans[0].scope_spans[0].spans[0]
    spans_of(request, "payment").add(
        trace_id=first.trace_id,
        span_id=b"payments",
        parent_span_id=first.span_id,
        name="POST /pay",
        kind=2,
        start_time_unix_nano=START_US * 1000 + 5_000_000,
        end_time_unix_nano=START_US * 1000 + 6_000_000,
    ).attributes.add(key="http.response.status_code").value.int_value = 200
    spans_of(request, "").add(trace_id=(0xABC).to_bytes(16), span_id=b"12345678")
    many = spans_of(request, "many")
    for index in range(1, 31):
        many.add(trace_id=index.to_bytes(16), span_id=b"12345678", start_time_unix_nano=(START_US + index) * 1000)
    two_hours_ago = time.time_ns() - 7200 * 10**9
    spans_of(request, "now").add(trace_id=b"1" * 16, span_id=b"12345678", start_time_unix_nano=two_hours_ago)
    database.write([decode_spans(request.SerializeToString(), received_ms=0)])
    yield database
    database.close()


def spans_of(request, service):
    per_resource = request.resource_spans.add()
    if service:
        per_resource.resource.attributes.add(key="service.name").value.string_value = service
    return per_resource.scope_spans.add().spans


@pytest.fixture
async def jaeger(store):
    transport = httpx.ASGITransport(jaeger_app(TraceReader(store)))
    async with httpx.AsyncClient(transport=transport, base_url="http://jaeger") as client:
        yield client


async def test_services_and_operations_are_listed(jaeger):
    assert (await jaeger.get("/api/services")).json() == {
        "data": ["catalog", "many", "now", "payment", "unknown_service"],
        "total": 5,
        "limit": 0,
        "offset": 0,
        "errors": None,
    }
    names = (await jaeger.get("/api/services/catalog/operations")).json()["data"]
    assert names == ["GET /products", "worker_pool.wait"]
    with_kinds = (await jaeger.get("/api/operations", params={"service": "catalog", "spanKind": "server"})).json()
    assert with_kinds["data"] == [{"name": "GET /products", "spanKind": "server"}]
    assert (await jaeger.get("/api/services/nobody/operations")).json()["data"] == []


async def test_a_trace_has_jaegers_shape(jaeger):
    answer = (await jaeger.get("/api/traces/0AF7651916CD43DD8448EB211C80319C")).json()
    assert answer["errors"] is None
    (trace,) = answer["data"]
    assert trace["traceID"] == "0af7651916cd43dd8448eb211c80319c"
    assert trace["processes"]["p1"] == {
        "serviceName": "catalog",
        "tags": [
            {"key": "service.instance.id", "type": "string", "value": "catalog-1"},
            {"key": "process.pid", "type": "int64", "value": 4242},
        ],
    }
    assert trace["processes"]["p2"] == {"serviceName": "payment", "tags": []}
    root, wait, pay = trace["spans"]
    assert root == {
        "traceID": "0af7651916cd43dd8448eb211c80319c",
        "spanID": "b7ad6b7169203331",
        "operationName": "GET /products",
        "references": [
            {"refType": "FOLLOWS_FROM", "traceID": "4bf92f3577b34da6a3ce929d0e0e4736", "spanID": "00f067aa0ba902b7"}
        ],
        "startTime": START_US,
        "duration": 12345,
        "tags": [
            {"key": "otel.scope.name", "type": "string", "value": "shop"},
            {"key": "otel.library.name", "type": "string", "value": "shop"},
            {"key": "otel.scope.version", "type": "string", "value": "1.2"},
            {"key": "otel.library.version", "type": "string", "value": "1.2"},
            {"key": "s", "type": "string", "value": "text"},
            {"key": "b", "type": "bool", "value": True},
            {"key": "i", "type": "int64", "value": -(2**63)},
            {"key": "d", "type": "float64", "value": 0.1},
            {"key": "y", "type": "binary", "value": "AP8="},
            {"key": "a", "type": "string", "value": '["x",{"deep":1}]'},
            {"key": "m", "type": "string", "value": '{"k":1.5}'},
            {"key": "e", "type": "string", "value": ""},
            {"key": "ü", "type": "string", "value": "grün €"},
            {"key": "span.kind", "type": "string", "value": "server"},
            {"key": "otel.status_code", "type": "string", "value": "ERROR"},
            {"key": "error", "type": "bool", "value": True},
            {"key": "otel.status_description", "type": "string", "value": "no stock"},
            {"key": "w3c.tracestate", "type": "string", "value": "vendor=1"},
        ],
        "logs": [
            {
                "timestamp": START_US + 1000,
                "fields": [
                    {"key": "event", "type": "string", "value": "exception"},
                    {"key": "exception.type", "type": "string", "value": "KeyError"},
                ],
            }
        ],
        "processID": "p1",
        "warnings": None,
    }
    assert wait["spanID"] == "00000000000000ab"
    assert wait["references"] == [
        {"refType": "CHILD_OF", "traceID": "0af7651916cd43dd8448eb211c80319c", "spanID": "b7ad6b7169203331"}
    ]
    assert (pay["processID"], pay["operationName"]) == ("p2", "POST /pay")


async def test_a_trace_id_may_lack_its_leading_zeros(jaeger):
    (trace,) = (await jaeger.get("/api/traces/ABC")).json()["data"]
    assert trace["traceID"] == "00000000000000000000000000000abc"
    assert trace["processes"]["p1"]["serviceName"] == "unknown_service"


async def test_what_is_not_there_is_jaegers_404(jaeger):
    answer = await jaeger.get("/api/traces/123")
    assert answer.status_code == 404
    assert answer.json()["data"] is None
    assert answer.json()["errors"] == [{"code": 404, "msg": "trace not found"}]
    assert (await jaeger.get("/api/nothing")).json()["errors"][0]["code"] == 404


SPAN = {"service": "catalog", "start": START_US, "end": START_US + 60_000_000}


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, 1),
        ({"operation": "GET /products"}, 1),
        ({"operation": "POST /pay"}, 0),
        ({"service": "payment", "operation": "POST /pay"}, 1),
        ({"minDuration": "12ms"}, 1),
        ({"minDuration": "12.4ms"}, 0),
        ({"maxDuration": "1ms", "operation": "GET /products"}, 0),
        ({"tags": '{"s":"text"}'}, 1),
        ({"tags": '{"b":"true","i":"-9223372036854775808","d":"0.1"}'}, 1),
        ({"tags": '{"s":"other"}'}, 0),
        ({"tags": '{"error":"true"}'}, 1),
        ({"tags": '{"error":"true"}', "service": "payment"}, 0),
        ({"tags": '{"http.response.status_code":"200"}', "service": "payment"}, 1),
        ({"tags": '{"span.kind":"server"}'}, 1),
        ({"tags": '{"span.kind":"client"}'}, 0),
        ({"tags": '{"otel.status_code":"ERROR"}'}, 1),
        ({"tags": '{"service.instance.id":"catalog-1"}'}, 1),
        ({"tags": '{"exception.type":"KeyError"}'}, 1),
        ({"tags": '{"otel.scope.name":"shop"}'}, 1),
        ({"tag": "s:text"}, 1),
        ({"start": START_US + 3_000_000}, 0),
        ({"end": START_US - 1, "start": START_US - 1_000_000}, 0),
    ],
)
async def test_search_finds_what_all_conditions_meet(jaeger, parameters, found):
    answer = await jaeger.get("/api/traces", params=SPAN | parameters)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == found
    if found:
        assert len(answer.json()["data"][0]["spans"]) == 3


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"start": "yesterday"}, "start"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1501"}, "limit"),
        ({"minDuration": "5"}, "minDuration"),
        ({"minDuration": "2s", "maxDuration": "1s"}, "maxDuration"),
        ({"tags": "{"}, "tags"),
        ({"tags": '{"a":1}'}, "tags"),
        ({"tag": "colonless"}, "tag"),
        ({"start": "-1"}, "start"),
        ({"start": START_US + 2, "end": START_US + 1}, "start"),
        ({"limit": "9" * 30}, "limit"),
        ({"raw": "perhaps"}, "raw"),
        ({"tags": "[" * 20_000}, "tags"),
        ({"tags": json.dumps({str(n): "" for n in range(101)})}, "100"),
        ({"traceID": "xyz"}, "trace id"),
        ({"traceID": ["1"] * 1001}, "1000"),
    ],
)
async def test_wrong_parameters_are_named_in_jaegers_error(jaeger, parameters, word):
    answer = await jaeger.get("/api/traces", params=SPAN | parameters)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["code"] == 400
    assert word in error["msg"]
    assert answer.json()["data"] is None


async def test_lookback_counts_when_there_is_no_start(jaeger):
    for lookback, found in (("1h", 0), ("3h", 1), ("2d", 1)):
        answer = await jaeger.get("/api/traces", params={"service": "now", "lookback": lookback})
        assert len(answer.json()["data"]) == found


async def test_newest_traces_come_first_and_the_limit_holds(jaeger):
    answer = await jaeger.get("/api/traces", params=SPAN | {"service": "many", "limit": 3})
    assert [int(trace["traceID"], 16) for trace in answer.json()["data"]] == [30, 29, 28]


async def test_several_traces_can_be_asked_for_by_id(jaeger):
    ids = ["0af7651916cd43dd8448eb211c80319c", "123"]
    answer = (await jaeger.get("/api/traces", params={"traceID": ids})).json()
    assert len(answer["data"]) == 1
    assert answer["errors"] == [{"msg": "trace not found", "traceID": f"{0x123:032x}"}]


async def test_dependencies_count_calls_between_services(jaeger):
    answer = await jaeger.get("/api/dependencies", params={"endTs": START_US // 1000 + 60_000, "lookback": 3_600_000})
    assert answer.json()["data"] == [{"parent": "catalog", "child": "payment", "callCount": 1}]
    assert (await jaeger.get("/api/dependencies")).json()["data"] == []  # of the last day
    of_another = {"endTs": START_US // 1000 + 60_000, "service": "cart"}
    assert (await jaeger.get("/api/dependencies", params=of_another)).json()["data"] == []
    assert (await jaeger.get("/api/dependencies", params={"endTs": "soon"})).status_code == 400


async def test_health_is_answered(jaeger):
    assert (await jaeger.get("/-/ready")).status_code == 200
    assert (await jaeger.get("/-/healthy")).status_code == 200
    assert "/api/services" in (await jaeger.get("/")).text


async def test_a_search_needs_no_service(jaeger):
    answer = await jaeger.get("/api/traces", params=SPAN | {"service": "", "tags": '{"exception.type":"KeyError"}'})
    assert [trace["traceID"] for trace in answer.json()["data"]] == ["0af7651916cd43dd8448eb211c80319c"]


async def test_bounds_raw_and_pretty_printing_are_taken(jaeger):
    parameters = {"start": START_US, "end": START_US + 1, "raw": "true", "prettyPrint": "true"}
    answer = await jaeger.get("/api/traces/0af7651916cd43dd8448eb211c80319c", params=parameters)
    assert answer.status_code == 200
    assert answer.text.startswith('{\n    "data"')
    assert (await jaeger.get("/api/traces/abc", params={"start": "x"})).status_code == 400
    assert (await jaeger.get("/api/traces/xyz")).status_code == 400


async def test_there_is_no_archive(jaeger):
    answer = await jaeger.post("/api/archive/0af7651916cd43dd8448eb211c80319c")
    assert answer.status_code == 501
    assert answer.json()["errors"] == [{"code": 501, "msg": "archive span storage was not configured"}]
    assert (await jaeger.post("/api/archive/123")).status_code == 404
    assert (await jaeger.get("/api/quality-metrics")).status_code == 501


async def test_uploaded_otlp_is_shown_as_if_it_had_been_sent(jaeger, new_trace_request):
    tree = MessageToDict(new_trace_request())
    for span in tree["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for holder in (span, *span.get("links", ())):
            for key in {"traceId", "spanId", "parentSpanId"} & holder.keys():
                holder[key] = base64.b64decode(holder[key]).hex()
    answer = await jaeger.post("/api/transform", content=json.dumps(tree))
    stored = (await jaeger.get("/api/traces/0af7651916cd43dd8448eb211c80319c")).json()["data"][0]
    (shown,) = answer.json()["data"]
    assert shown["spans"] == stored["spans"][:2]
    assert shown["processes"]["p1"] == stored["processes"]["p1"]
    for wrong in (b"", b"[]", b"{", b'{"resourceSpans": 3}', b"\xff"):
        assert (await jaeger.post("/api/transform", content=wrong)).status_code == 400
    tree["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] = "00"
    refused = await jaeger.post("/api/transform", content=json.dumps(tree))
    assert "span id '00'" in refused.json()["errors"][0]["msg"]
    too_large = await jaeger.post("/api/transform", content=b" " * (16 * 2**20 + 1))
    assert too_large.status_code == 413
