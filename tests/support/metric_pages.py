"""A page of metrics in Prometheus's protobuf format, with one metric of every kind."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from collector.model.metric_family import metric_family

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)


def family(name: str, kind: int, *metrics: dict[str, Any], text: str = "", unit: str = "") -> Any:
    """Metrics as dictionaries of the message's fields; labels as a mapping under `label`."""
    made = metric_family()(name=name, type=kind, help=text, unit=unit)
    for metric in metrics:
        labels = [{"name": key, "value": value} for key, value in metric.get("label", {}).items()]
        made.metric.add(**(metric | {"label": labels}))
    return made


def delimited(families: Iterable[Any]) -> bytes:
    """Each message behind its length."""
    page = b""
    for one in families:
        body = one.SerializeToString()
        length = len(body)
        while length >= 0x80:
            page += bytes([length & 0x7F | 0x80])
            length >>= 7
        page += bytes([length]) + body
    return page


NATIVE = {
    "sample_count": 12,
    "sample_sum": 25.5,
    "schema": 1,
    "zero_threshold": 0.001,
    "zero_count": 2,
    "positive_span": [{"offset": -1, "length": 2}, {"offset": 3, "length": 1}],
    "positive_delta": [3, -1, 2],
    "negative_span": [{"offset": 0, "length": 1}],
    "negative_delta": [1],
}
CLASSIC = {
    "sample_count": 5,
    "sample_sum": 2.5,
    "bucket": [{"cumulative_count": 4, "upper_bound": 0.5}, {"cumulative_count": 5, "upper_bound": 1e7}],
}


def page(stamp_ms: int) -> bytes:
    """Args: stamp_ms: of the exemplars and of the one sample that brings a timestamp."""
    stamp = {"seconds": stamp_ms // 1000, "nanos": stamp_ms % 1000 * 1_000_000}
    exemplar = {"label": [{"name": "trace_id", "value": "abc"}], "value": 0.67, "timestamp": stamp}
    paid = {"label": {"outcome": "paid", "job": "own"}, "counter": {"value": 1027, "exemplar": exemplar}}
    return delimited([
        family("orders_total", COUNTER, paid, {"label": {"outcome": "lost"}, "counter": {"value": 3}}, text="Orders."),
        family("threads", GAUGE, {"gauge": {"value": 12.5}}, {"label": {"kind": "x"}, "gauge": {"value": math.nan}}),
        family("odd", UNTYPED, {"untyped": {"value": math.inf}, "timestamp_ms": stamp_ms}),
        family("rpc_seconds", SUMMARY, {
            "summary": {"sample_count": 7, "sample_sum": 1.5, "quantile": [{"quantile": 0.5, "value": 0.2}]},
        }),
        family("classic_seconds", HISTOGRAM, {"label": {"code": "200"}, "histogram": CLASSIC}),
        family("native_seconds", HISTOGRAM, {"histogram": NATIVE | {"exemplars": [exemplar]}}, unit="seconds"),
        family("both_seconds", HISTOGRAM, {"label": {"code": "200"}, "histogram": CLASSIC | NATIVE}),
        family("fractions", HISTOGRAM, {"histogram": {
            "sample_count_float": 2.5, "sample_sum": 1, "schema": 0, "zero_count_float": 0.5,
            "positive_span": [{"offset": 1, "length": 1}], "positive_count": [2.0], "zero_threshold": 0.5,
        }}),
    ])  # fmt: skip
