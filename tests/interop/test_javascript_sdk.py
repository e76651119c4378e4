"""
The OpenTelemetry SDK of JavaScript as a client: what it sends by each of OTLP's three encodings comes back exactly,
through Jaeger's API, PromQL and the logs API.

`javascript/telemetry.json` says what is sent, `javascript/send.mjs` sends it. JavaScript has one kind of number: its
SDK sends those without a fraction as integers.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from trace_campaign import RunningCollector

from collector.receivers.otlp_json import request_of_json

FOLDER = Path(__file__).parent / "javascript"
DATA: dict[str, Any] = json.loads((FOLDER / "telemetry.json").read_text())
PROTOCOLS = ("http/protobuf", "http/json", "grpc")
MOST = 20  # of attributes, events and links, as in send.mjs
HAS_REMOTE, IS_REMOTE = 0x100, 0x200  # trace.proto, SpanFlags
PATIENCE_S = 60


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    missing = [
        what
        for what, there in (("node", shutil.which("node")), ("npm ci", (FOLDER / "node_modules").exists()))
        if not there
    ]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"CI must have done: {', '.join(missing)} in {FOLDER}")
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} in tests/interop/javascript")
    with RunningCollector.start(tmp_path_factory.mktemp("javascript")) as running:
        yield running


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=PATIENCE_S) as client:
        yield client


@dataclass(frozen=True)
class Sent:
    protocol: str
    service: str
    trace_id: str
    span_ids: dict[str, str]  # by name


@pytest.fixture(scope="module")
def all_sent(collector: RunningCollector) -> dict[str, Sent]:
    """Of each protocol; the three are sent side by side, as node takes a second to start."""
    runs = {}
    for number, protocol in enumerate(PROTOCOLS):
        endpoint = f"http://{collector.otlp_grpc}" if protocol == "grpc" else collector.otlp_http
        service, trace_id = f"javascript-{number}", f"{number + 1:032x}"
        command = ["node", "send.mjs", protocol, endpoint, service, trace_id]
        process = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        runs[protocol] = (process, service, trace_id)
    found = {}
    for protocol, (process, service, trace_id) in runs.items():
        out, complaints = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, complaints
        found[protocol] = Sent(protocol, service, trace_id, json.loads(out)["spans"])
    return found


@pytest.fixture(params=PROTOCOLS)
def sent(request: pytest.FixtureRequest, all_sent: dict[str, Sent]) -> Sent:
    return all_sent[request.param]


def any_value(value: Any) -> AnyValue:
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case float() if value.is_integer():  # see the top
            return AnyValue(int_value=int(value))
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case {"$bytes": str(text)}:
            return AnyValue(bytes_value=base64.b64decode(text))
        case list():
            made = AnyValue()
            made.array_value.values.extend(map(any_value, value))
            return made
        case dict():
            made = AnyValue()
            made.kvlist_value.values.extend(key_values(value))
            return made
    raise TypeError(value)


def key_values(attributes: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def nanos(moment: list[Any]) -> int:
    return int(moment[0]) * 1_000_000_000 + int(moment[1])


def expected_span(one: dict[str, Any], sent: Sent) -> Span:
    remote = DATA["remoteParent"]
    parent = one.get("parent")
    span = Span(
        trace_id=bytes.fromhex(sent.trace_id),
        span_id=bytes.fromhex(sent.span_ids[one["name"]]),
        parent_span_id=bytes.fromhex(sent.span_ids[parent] if parent else remote["spanId"]),
        trace_state=remote["traceState"],
        flags=1 | HAS_REMOTE | (0 if parent else IS_REMOTE),
        name=one["name"],
        kind=Span.SpanKind.Value(f"SPAN_KIND_{one['kind']}"),
        start_time_unix_nano=nanos(one["start"]),
        end_time_unix_nano=nanos(one["end"]),
        attributes=key_values(one["attributes"]),
        status=Status(
            code=Status.StatusCode.Value(f"STATUS_CODE_{one['status']['code']}"), message=one["status"]["message"]
        ),
    )
    for event in one["events"]:
        attributes = key_values(event["attributes"])
        span.events.add(name=event["name"], time_unix_nano=nanos(event["time"]), attributes=attributes)
    for link in one["links"]:
        _link(span, link, key_values(link["attributes"]))
    if overflow := one.get("overflow", 0):
        span.attributes.extend(key_values({f"attribute {number}": number for number in range(MOST)}))
        for number in range(overflow, MOST + overflow):  # of events and links the SDK keeps the newest
            span.events.add(name=f"event {number}", time_unix_nano=nanos(one["start"]))
            _link(span, remote, [])
        span.dropped_attributes_count = span.dropped_events_count = span.dropped_links_count = overflow
    return span


def _link(span: Span, link: dict[str, Any], attributes: list[KeyValue]) -> None:
    span.links.add(
        trace_id=bytes.fromhex(link["traceId"]),
        span_id=bytes.fromhex(link["spanId"]),
        trace_state=link["traceState"],
        flags=link["traceFlags"] | HAS_REMOTE,
        attributes=attributes,
    )


def test_every_field_of_every_span_comes_back_through_jaegers_third_api(
    http: httpx.Client, collector: RunningCollector, sent: Sent
) -> None:
    answer = http.get(f"{collector.jaeger}/api/v3/traces/{sent.trace_id}").raise_for_status()
    read = ExportTraceServiceRequest.FromString(
        request_of_json(json.dumps(answer.json()["result"]).encode(), ExportTraceServiceRequest)
    )
    found = {}
    for of_resource in read.resource_spans:
        attributes = DATA["resource"]["attributes"] | {"service.name": sent.service}
        assert list(of_resource.resource.attributes) == key_values(attributes)
        assert of_resource.schema_url == DATA["resource"]["schemaUrl"]
        for of_scope in of_resource.scope_spans:
            assert (of_scope.scope.name, of_scope.scope.version) == (DATA["scope"]["name"], DATA["scope"]["version"])
            assert of_scope.schema_url == DATA["scope"]["schemaUrl"]
            found |= {span.name: span for span in of_scope.spans}
    assert found.keys() == sent.span_ids.keys()
    for one in DATA["spans"]:
        assert str(found[one["name"]]) == str(expected_span(one, sent))


def test_what_jaegers_first_api_has_a_place_for_comes_back(
    http: httpx.Client, collector: RunningCollector, sent: Sent
) -> None:
    (trace,) = http.get(f"{collector.jaeger}/api/traces/{sent.trace_id}").json()["data"]
    spans = {span["operationName"]: span for span in trace["spans"]}
    assert spans.keys() == sent.span_ids.keys()
    for one in DATA["spans"]:
        shown = spans[one["name"]]
        start, end = nanos(one["start"]), nanos(one["end"])
        assert (shown["traceID"], shown["spanID"]) == (sent.trace_id, sent.span_ids[one["name"]])
        assert (shown["startTime"], shown["duration"]) == (start // 1000, (end - start) // 1000)
        tags = {tag["key"]: (tag["type"], tag["value"]) for tag in shown["tags"]}
        for key, value in one["attributes"].items():
            if not isinstance(value, list):
                assert tags[key] == typed(value), key
        assert tags["otel.library.name"] == ("string", DATA["scope"]["name"])
        assert tags["otel.library.version"] == ("string", DATA["scope"]["version"])
        assert tags["w3c.tracestate"] == ("string", DATA["remoteParent"]["traceState"])
        assert tags.get("span.kind", ("string", "internal")) == ("string", one["kind"].lower())
        assert ("error" in tags) == (one["status"]["code"] == "ERROR")
        if one["status"]["message"]:
            assert tags["otel.status_description"] == ("string", one["status"]["message"])
        first = shown["references"][0]
        parent = sent.span_ids[one["parent"]] if "parent" in one else DATA["remoteParent"]["spanId"]
        assert (first["refType"], first["traceID"], first["spanID"]) == ("CHILD_OF", sent.trace_id, parent)
        for link, reference in zip(one["links"], shown["references"][1:], strict=False):
            assert (reference["traceID"], reference["spanID"]) == (link["traceId"], link["spanId"])
        for event, log in zip(one["events"], shown["logs"], strict=False):
            fields = {field["key"]: field["value"] for field in log["fields"]}
            assert log["timestamp"] == nanos(event["time"]) // 1000
            assert fields["event"] == event["name"]
    process = trace["processes"][spans["child"]["processID"]]
    assert process["serviceName"] == sent.service
    tags = {tag["key"]: (tag["type"], tag["value"]) for tag in process["tags"]}
    for key, value in DATA["resource"]["attributes"].items():
        if key != "service.name" and not isinstance(value, list):
            assert tags[key] == typed(value)


def typed(value: Any) -> tuple[str, Any]:
    """A tag's type and value."""
    match value:
        case bool():
            return "bool", value
        case str():
            return "string", value
        case int():
            return "int64", value
        case _:
            return "float64", value


def test_log_records_come_back_with_their_types(http: httpx.Client, collector: RunningCollector, sent: Sent) -> None:
    window = {"start": 1767225602, "end": 1767225603}
    answer = http.get(f"{collector.http}/api/v1/logs", params={"service": sent.service} | window)
    found = sorted(answer.raise_for_status().json()["data"], key=lambda record: int(record["time_unix_nano"]))
    assert len(found) == len(DATA["logs"])
    for number, (one, shown) in enumerate(zip(DATA["logs"], found, strict=True)):
        span = one.get("span")
        assert shown == {
            "time_unix_nano": str(1767225602 * 10**9 + number),
            "observed_unix_nano": str(1767225603 * 10**9 + number),
            "service": sent.service,
            "severity_number": one["severityNumber"],
            "severity_text": one["severityText"],
            "body": plain(one["body"]),
            "attributes": plain(one["attributes"]),
            "resource": DATA["resource"]["attributes"] | {"service.name": sent.service},
            "scope": DATA["scope"]["name"],
            "event_name": one.get("eventName", ""),
            "trace_id": sent.trace_id if span else "",
            "span_id": sent.span_ids[span] if span else "",
            "flags": shown["flags"],
            "dropped_attributes": 0,
        }
        assert shown["flags"] & 1 == (1 if span else 0)


def plain(value: Any) -> Any:
    """As the API shows it: bytes in base64."""
    match value:
        case {"$bytes": text}:
            return text
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


def ask(http: httpx.Client, collector: RunningCollector, query: str) -> list[tuple[dict[str, str], float]]:
    answer = http.get(f"{collector.http}/api/v1/query", params={"query": query})
    return [(one["metric"], float(one["value"][1])) for one in answer.raise_for_status().json()["data"]["result"]]


def test_metrics_come_back_with_their_labels_and_values(
    http: httpx.Client, collector: RunningCollector, sent: Sent
) -> None:
    job = f'job="{sent.service}"'
    labels = {"job": sent.service, "instance": "javascript-1"}
    counted = ask(http, collector, f"sort(interop_orders_total{{{job}}})")
    assert counted == [
        (labels | {"__name__": "interop_orders_total", "kind": "a", "n": "1"}, 3.0),
        (labels | {"__name__": "interop_orders_total", "kind": "b", "n": "2"}, 4.5),
    ]
    for query, more, value in (
        ("interop_open", {"flag": "true"}, -7.0),
        ("interop_temperature_celsius", {"place": "grün"}, 21.75),
        ("interop_size_bytes", {"list": '["x","y"]'}, 9007199254740991.0),
    ):
        assert ask(http, collector, f"{query}{{{job}}}") == [(labels | {"__name__": query} | more, value)]
    buckets = ask(http, collector, f"interop_duration_seconds_bucket{{{job}}}")
    assert {metric["le"]: value for metric, value in buckets} == {"1": 1, "10": 2, "100": 2, "+Inf": 3}
    assert [value for _, value in ask(http, collector, f"interop_duration_seconds_sum{{{job}}}")] == [5010.5]
    assert [value for _, value in ask(http, collector, f"histogram_count(exponential_seconds{{{job}}})")] == [3]
    assert [value for _, value in ask(http, collector, f"histogram_sum(exponential_seconds{{{job}}})")] == [1003]
    described = http.get(f"{collector.http}/api/v1/metadata", params={"metric": "interop_orders_total"}).json()["data"]
    assert described == {"interop_orders_total": [{"type": "counter", "help": "Orders.", "unit": ""}]}
