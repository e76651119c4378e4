from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_requests import log_requests, trace_requests

from collector.errors import BadRequestError
from collector.forward.prepare import prepare
from collector.model.telemetry import Origin
from collector.pipeline.intake import Intake
from collector.pipeline.logs import decode_logs
from collector.pipeline.redaction import Redactor, Rules
from collector.pipeline.spans import decode_spans
from collector.receivers.otlp_ingest import Signal

SECRET = "of-a-secret-0123456789"
REDACTOR = Redactor(Rules())
examples = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


def prepared(signal: Signal, request) -> tuple[bytes, Mapping[str, int], int]:
    found = prepare(signal, request.SerializeToString(), redactor=REDACTOR, now_ms=1)
    return found.queued.request(), found.rejected, found.queued.items


def trace_with_secrets() -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add(schema_url=f"https://x/?token={SECRET}")  # no text of the sender's
    of_resource.resource.attributes.add(key="db.password").value.string_value = SECRET
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.attributes.add(key="url").value.string_value = f"https://me:{SECRET}@host/"
    span = of_scope.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name=f"GET /?token={SECRET}", trace_state="a=1")
    span.attributes.add(key="n").value.int_value = 7
    span.attributes.add(key="http.request.header.authorization").value.string_value = f"Bearer {SECRET}"
    nested = span.attributes.add(key="body").value.kvlist_value.values.add(key="items").value.array_value.values
    nested.add().kvlist_value.values.add(key="password").value.string_value = SECRET
    span.status.message = f"Bearer {SECRET}"
    span.events.add(name=f"password=x&password={SECRET}").attributes.add(key="cookie").value.string_value = SECRET
    span.links.add(trace_state=f"?secret={SECRET}").attributes.add(key="api_key").value.string_value = SECRET
    return request


def log_with_secrets() -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(severity_text="INFO").body.string_value = f"sent Bearer {SECRET}"
    body = records.add(event_name=f"?token={SECRET}").body.kvlist_value.values
    body.add(key="password").value.string_value = SECRET
    return request


def metric_with_secrets() -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    of_resource.resource.attributes.add(key="api-key").value.string_value = SECRET
    metrics = of_resource.scope_metrics.add().metrics
    point = metrics.add(name="m").sum.data_points.add(as_int=4)
    point.attributes.add(key="url").value.string_value = f"https://me:{SECRET}@host/"
    point.exemplars.add(as_int=1).filtered_attributes.add(key="token").value.string_value = f"Bearer {SECRET}"
    metrics.add(name="h").histogram.data_points.add().attributes.add(key="password").value.string_value = SECRET
    return request


@pytest.mark.parametrize(
    ("signal", "make", "items"),
    [
        (Signal.TRACES, trace_with_secrets, 1),
        (Signal.LOGS, log_with_secrets, 2),
        (Signal.METRICS, metric_with_secrets, 2),
    ],
)
def test_no_secret_is_queued(signal, make, items):
    queued, rejected, counted = prepared(signal, make())
    assert queued.count(SECRET.encode()) == (1 if signal is Signal.TRACES else 0)  # in the schema's URL, which is none
    assert b"<redacted>" in queued
    assert (rejected, counted) == ({}, items)


def test_what_is_no_secret_stays():
    request = trace_with_secrets()
    span = ExportTraceServiceRequest.FromString(prepared(Signal.TRACES, request)[0]).resource_spans[0].scope_spans[0]
    (span,) = span.spans
    assert span.attributes[0] == request.resource_spans[0].scope_spans[0].spans[0].attributes[0]
    assert span.name == "GET /?token=<redacted>"
    assert (span.trace_id, span.trace_state) == (b"t" * 16, "a=1")


@given(trace_requests)
@examples
def test_traces_reach_the_collector_as_if_they_had_come_without_an_agent(request):
    body = request.SerializeToString()
    direct = decode_spans(body, received_ms=1, intake=Intake(None, REDACTOR))
    queued = prepare(Signal.TRACES, body, redactor=REDACTOR, now_ms=1)
    through = decode_spans(queued.queued.request(), received_ms=1, intake=Intake(None, REDACTOR))
    assert_alike(direct.table, through.table)
    assert messages(direct.resources) == messages(through.resources)
    assert queued.queued.items == direct.rows
    assert queued.rejected == direct.rejected


@given(log_requests)
@examples
def test_logs_reach_the_collector_as_if_they_had_come_without_an_agent(request):
    body = request.SerializeToString()
    direct = decode_logs(body, received_ms=1, intake=Intake(None, REDACTOR))
    queued = prepare(Signal.LOGS, body, redactor=REDACTOR, now_ms=1).queued
    assert_alike(direct.table, decode_logs(queued.request(), received_ms=1, intake=Intake(None, REDACTOR)).table)
    assert queued.items == direct.rows


def assert_alike(one: pa.Table, other: pa.Table) -> None:
    left, right = one.drop_columns(["resource_id", "scope_id"]), other.drop_columns(["resource_id", "scope_id"])
    assert left.to_pylist() == right.to_pylist()


def messages(origins: Mapping[int, Origin]) -> set[str]:
    return {origin.schema_url for origin in origins.values()}


def test_a_request_without_a_secret_stays_byte_for_byte_what_it_was():
    request = trace_with_secrets()
    span = request.resource_spans[0].scope_spans[0].spans[0]
    request.resource_spans[0].resource.Clear()
    request.resource_spans[0].scope_spans[0].scope.Clear()
    for part in (span.events, span.links, span.attributes):
        del part[:]
    span.name, span.status.message = "plain", ""
    body = request.SerializeToString() + b"\x7a\x03new"  # a field that is not known yet
    assert prepare(Signal.TRACES, body, redactor=REDACTOR, now_ms=1).queued.request() == body


def test_spans_that_cannot_be_stored_are_named_to_their_sender():
    request = trace_with_secrets()
    request.resource_spans[0].scope_spans[0].spans.add(trace_id=b"short", span_id=b"s" * 8)
    _, rejected, items = prepared(Signal.TRACES, request)
    assert (rejected, items) == ({"invalid trace id": 1}, 1)


@pytest.mark.parametrize("signal", list(Signal))
def test_what_is_no_request_is_refused(signal):
    with pytest.raises(BadRequestError):
        prepare(signal, b"\xff\xff\xff", redactor=None, now_ms=1)
