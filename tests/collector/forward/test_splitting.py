from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint
from otlp_requests import trace_requests

from collector.forward.splitting import count, halves
from collector.receivers.otlp_ingest import Signal


def spans(body: bytes) -> list[tuple[bytes, ...]]:
    """Each span with its resource and scope, and their schemas."""
    request = ExportTraceServiceRequest.FromString(body)
    return [
        (*_parts(of_resource.resource, of_resource), *_parts(of_scope.scope, of_scope), span.SerializeToString())
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _parts(origin, holder) -> tuple[bytes, bytes]:
    return origin.SerializeToString(), holder.schema_url.encode()


def leaves(signal: Signal, request: bytes) -> Iterator[bytes]:
    divided = halves(signal, request)
    if divided is None:
        yield request
        return
    for half in divided:
        yield from leaves(signal, half)


@given(trace_requests)
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
def test_the_parts_say_together_what_the_whole_says_in_its_order(request):
    whole = request.SerializeToString()
    parts = list(leaves(Signal.TRACES, whole))
    assert [span for part in parts for span in spans(part)] == spans(whole)
    assert all(len(spans(part)) <= 1 for part in parts)
    assert count(Signal.TRACES, request) == len(spans(whole))
    assert list(leaves(Signal.TRACES, whole)) == parts


def test_what_holds_nothing_or_one_span_is_not_divided():
    request = ExportTraceServiceRequest()
    assert halves(Signal.TRACES, request.SerializeToString()) is None
    request.resource_spans.add().scope_spans.add().spans.add()
    assert halves(Signal.TRACES, request.SerializeToString()) is None


@pytest.mark.parametrize("points", [1, 3])
def test_metrics_are_divided_between_metrics_and_not_within_one(points):
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    for name in ("one", "two", "three"):
        metrics.add(name=name).gauge.data_points.extend([NumberDataPoint(as_int=1)] * points)
    parts = [
        ExportMetricsServiceRequest.FromString(part) for part in leaves(Signal.METRICS, request.SerializeToString())
    ]
    assert [part.resource_metrics[0].scope_metrics[0].metrics[0].name for part in parts] == ["one", "two", "three"]
    assert [count(Signal.METRICS, part) for part in parts] == [points] * 3
