"""
The message in which Prometheus's protobuf exposition format tells one metric.

Source: prometheus/client_model io/prometheus/client/metrics.proto.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message_factory import GetMessageClass

from collector.model.protobuf_messages import Field, pool_of

CONTENT_TYPE = "application/vnd.google.protobuf"
PROTO = "io.prometheus.client.MetricFamily"
# MetricType by its numbers, as metadata names them.
TYPES = ("counter", "gauge", "summary", "unknown", "histogram", "gaugehistogram")
UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = 3, 4, 5
_F = FieldDescriptorProto
_MESSAGES = {
    "LabelPair": (Field("name", 1, _F.TYPE_STRING), Field("value", 2, _F.TYPE_STRING)),
    "Timestamp": (Field("seconds", 1, _F.TYPE_INT64), Field("nanos", 2, _F.TYPE_INT32)),
    "Exemplar": (
        Field("label", 1, "LabelPair", repeated=True),
        Field("value", 2, _F.TYPE_DOUBLE),
        Field("timestamp", 3, "Timestamp"),
    ),
    "Value": (Field("value", 1, _F.TYPE_DOUBLE), Field("exemplar", 2, "Exemplar")),  # of all kinds but the next two
    "Quantile": (Field("quantile", 1, _F.TYPE_DOUBLE), Field("value", 2, _F.TYPE_DOUBLE)),
    "Summary": (
        Field("sample_count", 1, _F.TYPE_UINT64),
        Field("sample_sum", 2, _F.TYPE_DOUBLE),
        Field("quantile", 3, "Quantile", repeated=True),
    ),
    "Bucket": (
        Field("cumulative_count", 1, _F.TYPE_UINT64),
        Field("upper_bound", 2, _F.TYPE_DOUBLE),
        Field("exemplar", 3, "Exemplar"),
        Field("cumulative_count_float", 4, _F.TYPE_DOUBLE),
    ),
    "BucketSpan": (Field("offset", 1, _F.TYPE_SINT32), Field("length", 2, _F.TYPE_UINT32)),
    "Histogram": (
        Field("sample_count", 1, _F.TYPE_UINT64),
        Field("sample_sum", 2, _F.TYPE_DOUBLE),
        Field("bucket", 3, "Bucket", repeated=True),
        Field("sample_count_float", 4, _F.TYPE_DOUBLE),
        Field("schema", 5, _F.TYPE_SINT32),
        Field("zero_threshold", 6, _F.TYPE_DOUBLE),
        Field("zero_count", 7, _F.TYPE_UINT64),
        Field("zero_count_float", 8, _F.TYPE_DOUBLE),
        Field("negative_span", 9, "BucketSpan", repeated=True),
        Field("negative_delta", 10, _F.TYPE_SINT64, repeated=True),
        Field("negative_count", 11, _F.TYPE_DOUBLE, repeated=True),
        Field("positive_span", 12, "BucketSpan", repeated=True),
        Field("positive_delta", 13, _F.TYPE_SINT64, repeated=True),
        Field("positive_count", 14, _F.TYPE_DOUBLE, repeated=True),
        Field("exemplars", 16, "Exemplar", repeated=True),
    ),
    "Metric": (
        Field("label", 1, "LabelPair", repeated=True),
        Field("gauge", 2, "Value"),
        Field("counter", 3, "Value"),
        Field("summary", 4, "Summary"),
        Field("untyped", 5, "Value"),
        Field("timestamp_ms", 6, _F.TYPE_INT64),
        Field("histogram", 7, "Histogram"),
    ),
    "MetricFamily": (
        Field("name", 1, _F.TYPE_STRING),
        Field("help", 2, _F.TYPE_STRING),
        Field("type", 3, _F.TYPE_INT32),
        Field("metric", 4, "Metric", repeated=True),
        Field("unit", 5, _F.TYPE_STRING),
    ),
}


@cache
def metric_family() -> Any:
    """The message's class."""
    pool = pool_of("io.prometheus.client", "metrics.proto", _MESSAGES)
    return GetMessageClass(pool.FindMessageTypeByName(PROTO))
