from __future__ import annotations

import struct
import time

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from pydantic import ValidationError

from collector.errors import BadRequestError, TemporaryError
from collector.model.series import STALE_BITS, Matcher, MatchOp
from collector.pipeline.redaction import MASK, Redactor, Rules
from collector.receivers.otlp_metrics import MetricsIngest
from collector.receivers.otlp_metrics_config import OtlpConfig
from collector.receivers.otlp_metrics_decode import MetricsDecoder
from collector.storage.metrics.store import MetricStore

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
NOW_MS = time.time_ns() // 1_000_000


def request(*metrics: Metric, **resource: str) -> ExportMetricsServiceRequest:
    message = ExportMetricsServiceRequest()
    entry = message.resource_metrics.add()
    names = {"service.name": "shop", "service.instance.id": "shop-1"} | {
        name.replace("__", "."): value for name, value in resource.items()
    }
    for name, value in names.items():
        if value:
            entry.resource.attributes.add(key=name).value.string_value = value
    entry.scope_metrics.add().metrics.extend(metrics)
    return message


def add_point(points, at_ms: int = NOW_MS, attributes: dict[str, object] | None = None, **fields: object):
    point = points.add(time_unix_nano=at_ms * 1_000_000, **fields)
    for name, value in (attributes or {}).items():
        kind = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(point.attributes.add(key=name).value, kind, value)
    return point


def gauge(name: str, *values: float, unit: str = "", at_ms: int = NOW_MS) -> Metric:
    metric = Metric(name=name, unit=unit)
    for place, value in enumerate(values):
        add_point(metric.gauge.data_points, at_ms, {"n": place}, as_double=value)
    return metric


def counter(name: str, value: int, *, temporality=CUMULATIVE, monotonic=True, at_ms: int = NOW_MS) -> Metric:
    metric = Metric(name=name)
    metric.sum.aggregation_temporality = temporality
    metric.sum.is_monotonic = monotonic
    add_point(metric.sum.data_points, at_ms, as_int=value)
    return metric


def histogram(name: str, counts: list[int], bounds: list[float], *, temporality=CUMULATIVE, **fields: object) -> Metric:
    metric = Metric(name=name, unit="s")
    metric.histogram.aggregation_temporality = temporality
    add_point(
        metric.histogram.data_points,
        bucket_counts=counts,
        explicit_bounds=bounds,
        count=sum(counts),
        **({"sum": 1.5} | fields),
    )
    return metric


@pytest.fixture
def ingest(metric_store):
    return MetricsIngest(metric_store, metric_store)


async def test_what_the_sdk_exports_gets_prometheus_names_and_labels(ingest, query):
    reader = InMemoryMetricReader()
    resource = Resource({"service.name": "catalog", "service.instance.id": "catalog-1", "service.version": "1.2"})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    meter = provider.get_meter("test")
    duration = meter.create_histogram(
        "http.server.request.duration", "s", "Duration.", explicit_bucket_boundaries_advisory=[0.1, 1.0]
    )
    attributes = {"http.route": "/items/{id}", "http.response.status_code": 200}
    for value in (0.05, 0.5, 0.6, 5.0):
        duration.record(value, attributes)
    meter.create_counter("shop.orders", "{order}").add(3)
    encoded = encode_metrics(reader.get_metrics_data())
    provider.shutdown()
    assert await ingest.ingest(encoded.SerializeToString()) == (0, "")

    name = "http_server_request_duration_seconds"
    for le, expected in (("0.1", 1), ("1", 3), ("+Inf", 4)):
        assert query.last(f"{name}_bucket", le=le) == expected
    assert query.last(f"{name}_count") == 4
    assert query.last(f"{name}_sum") == pytest.approx(6.15)
    (labels,) = query.values(f"{name}_count")
    assert dict(labels) == {
        "__name__": f"{name}_count",
        "http_response_status_code": "200",
        "http_route": "/items/{id}",
        "instance": "catalog-1",
        "job": "catalog",
    }
    assert query.last("shop_orders_total", job="catalog") == 3
    (info,) = query.values("target_info")
    assert dict(info)["service_version"] == "1.2"
    kinds = {entry.name: (entry.kind, entry.help, entry.unit) for entry in query.store.metadata()}
    assert kinds == {name: ("histogram", "Duration.", "seconds"), "shop_orders_total": ("counter", "", "")}


async def test_a_namespace_stands_before_the_service_in_job(ingest, query):
    message = request(gauge("m", 1.0), service__namespace="eu")
    await ingest.ingest(message.SerializeToString())
    assert query.last("m", job="eu/shop", instance="shop-1") == 1.0
    assert query.values("target_info") == {}  # no other attribute, so it would say nothing


async def test_points_of_one_export_share_the_latest_time(ingest, query):
    message = request(gauge("a", 1.0, at_ms=NOW_MS), gauge("b", 2.0, at_ms=NOW_MS + 3))
    await ingest.ingest(message.SerializeToString())
    (block,) = query.store.select([], min_ms=0, max_ms=1 << 60)
    assert block.timestamps_ms.tolist() == [NOW_MS + 3]


async def test_two_exports_in_one_request_stay_two(ingest, query):
    message = request(gauge("a", 1.0, at_ms=NOW_MS - 1000), gauge("a", 2.0, at_ms=NOW_MS))
    assert await ingest.ingest(message.SerializeToString()) == (0, "")
    assert list(query.values("a").values()) == [[1.0, 2.0]]


async def test_a_sum_that_may_fall_is_a_gauge(ingest, query):
    await ingest.ingest(request(counter("depth", -4, monotonic=False)).SerializeToString())
    assert query.last("depth") == -4


async def test_deltas_are_added_up(ingest, query):
    for step in range(3):
        at_ms = NOW_MS + step
        metric = histogram("h", [1, 2, 0], [0.1, 1.0], temporality=DELTA)
        metric.histogram.data_points[0].time_unix_nano = at_ms * 1_000_000
        message = request(counter("orders", 5, temporality=DELTA, at_ms=at_ms), metric)
        assert await ingest.ingest(message.SerializeToString()) == (0, "")
    assert list(query.values("orders_total").values()) == [[5, 10, 15]]
    assert list(query.values("h_seconds_bucket", le="1").values()) == [[3, 6, 9]]
    assert list(query.values("h_seconds_sum").values()) == [[1.5, 3.0, 4.5]]


async def test_deltas_of_a_failed_write_are_not_counted_twice(metric_store, failing_sink, query):
    ingest = MetricsIngest(metric_store, metric_store)
    await ingest.ingest(request(counter("orders", 5, temporality=DELTA)).SerializeToString())
    again = request(counter("orders", 7, temporality=DELTA, at_ms=NOW_MS + 1)).SerializeToString()
    ingest._sink = failing_sink(TemporaryError("the disk is full"))
    with pytest.raises(TemporaryError):
        await ingest.ingest(again)
    ingest._sink = metric_store
    await ingest.ingest(again)
    assert list(query.values("orders_total").values()) == [[5, 12]]


async def test_a_summary_has_a_series_for_each_quantile(ingest, query):
    metric = Metric(name="rpc", unit="s")
    point = add_point(metric.summary.data_points, count=10, sum=3.5)
    point.quantile_values.add(quantile=0.5, value=0.2)
    point.quantile_values.add(quantile=0.99, value=0.9)
    await ingest.ingest(request(metric).SerializeToString())
    assert query.last("rpc_seconds", quantile="0.99") == 0.9
    assert query.last("rpc_seconds_count") == 10
    assert query.last("rpc_seconds_sum") == 3.5


async def test_exemplars_stay_with_the_bucket_they_fell_into(ingest, metric_store):
    metric = histogram("h", [1, 1, 1], [0.1, 1.0])
    for value in (0.1, 0.7):
        exemplar = metric.histogram.data_points[0].exemplars.add(
            as_double=value, time_unix_nano=NOW_MS * 1_000_000, trace_id=b"\xab" * 16, span_id=b"\xcd" * 8
        )
        exemplar.filtered_attributes.add(key="user.tier").value.string_value = "gold"
    await ingest.ingest(request(metric).SerializeToString())
    found = metric_store.exemplars([], min_ms=0, max_ms=1 << 60)
    assert [(dict(labels)["le"], [each.value for each in exemplars]) for labels, exemplars in found] == [
        ("0.1", [0.1]),  # a bound belongs to its own bucket
        ("1", [0.7]),
    ]
    assert dict(found[0][1][0].labels) == {"trace_id": "ab" * 16, "span_id": "cd" * 8, "user_tier": "gold"}


async def test_a_histogram_without_a_sum_has_no_sum_series(ingest, query):
    metric = histogram("h", [1, 1], [0.0])
    metric.histogram.data_points[0].ClearField("sum")
    await ingest.ingest(request(metric).SerializeToString())
    assert query.last("h_seconds_count") == 2
    assert query.values("h_seconds_sum") == {}


async def test_no_recorded_value_ends_the_series(ingest, query):
    await ingest.ingest(request(gauge("m", 1.0)).SerializeToString())
    metric = Metric(name="m")
    add_point(metric.gauge.data_points, NOW_MS + 1, {"n": 0}, flags=1)
    await ingest.ingest(request(metric).SerializeToString())
    assert query.bits("m")[1:] == [STALE_BITS]


async def test_our_own_mark_for_no_sample_cannot_be_sent(ingest, query):
    absent = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000003))[0]
    await ingest.ingest(request(gauge("m", absent, 1.0)).SerializeToString())
    assert len(query.values("m")) == 2


async def test_attributes_that_are_not_strings_become_text(ingest, query):
    metric = Metric(name="m")
    add_point(metric.gauge.data_points, NOW_MS, {"ok": True, "n": 7, "x": 0.5, "whole": 2.0}, as_double=1.0)
    array = metric.gauge.data_points[0].attributes.add(key="list").value.array_value
    array.values.add(string_value="a")
    array.values.add(int_value=1)
    await ingest.ingest(request(metric).SerializeToString())
    (labels,) = query.values("m")
    assert {name: value for name, value in labels if name in ("ok", "n", "x", "whole", "list")} == {
        "ok": "true",
        "n": "7",
        "x": "0.5",
        "whole": "2",
        "list": '["a",1]',
    }


async def test_what_cannot_be_stored_is_refused_by_name_and_the_rest_is_kept(ingest, query):
    exponential = Metric(name="e")  # without a temporality
    exponential.exponential_histogram.data_points.add(time_unix_nano=NOW_MS * 1_000_000, count=1)
    broken = histogram("broken", [1, 2], [0.1, 1.0])
    message = request(exponential, broken, gauge("…", 1.0), gauge("fine", 1.0), gauge("ahead", 1.0, at_ms=NOW_MS * 2))
    rejected, reason = await ingest.ingest(message.SerializeToString())
    assert rejected == 4
    assert "exponential histogram without an aggregation temporality" in reason
    assert "broken_seconds: 2 bucket counts for 2 bounds" in reason
    assert "and 1 more reasons" in reason
    assert query.last("fine") == 1.0


async def test_a_point_that_is_twice_in_an_export_is_refused_once(ingest, query):
    rejected, reason = await ingest.ingest(request(gauge("m", 1.0), gauge("m", 2.0)).SerializeToString())
    assert (rejected, "duplicate" in reason) == (1, True)
    assert query.last("m") == 1.0


async def test_series_over_the_limit_are_a_partial_success_that_names_it(tmp_path):
    store = MetricStore.open(tmp_path / "small", retention_s=60, series_limit=1, clock=lambda: NOW_MS)
    try:
        rejected, reason = await MetricsIngest(store, store).ingest(request(gauge("m", 1.0, 2.0)).SerializeToString())
    finally:
        store.close()
    assert rejected == 1
    assert "series limit 1 exceeded by 1" in reason


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"not protobuf at all"])
async def test_bytes_that_are_no_request_are_refused(ingest, body):
    with pytest.raises(BadRequestError, match="not an ExportMetricsServiceRequest"):
        await ingest.ingest(body)


async def test_the_cache_of_series_is_bounded(ingest, monkeypatch, query):
    monkeypatch.setattr("collector.receivers.otlp_metrics_decode.POINT_LIMIT", 10)
    monkeypatch.setattr("collector.receivers.otlp_metrics_decode.RESOURCE_LIMIT", 3)
    for number in range(20):
        message = request(gauge("m", 1.0, 2.0), service__instance__id=f"shop-{number}")
        await ingest.ingest(message.SerializeToString())
    decoder = ingest._decoder
    assert len(decoder._resources) <= 3
    assert decoder._cached_points <= 12
    assert len(query.values("m")) == 40


def exponential(
    name: str, counts: list[int], *, temporality=CUMULATIVE, at_ms: int = NOW_MS, **fields: object
) -> Metric:
    metric = Metric(name=name, unit="s")
    metric.exponential_histogram.aggregation_temporality = temporality
    points = metric.exponential_histogram.data_points
    values = {"scale": 2, "count": sum(counts), "sum": 2.5} | fields
    add_point(points, at_ms, {"route": "/"}, **values).positive.bucket_counts.extend(counts)
    return metric


async def test_an_exponential_histogram_is_a_native_one_with_exemplars(ingest, metric_store):
    metric = exponential("wait", [1, 0, 2])
    exemplar = metric.exponential_histogram.data_points[0].exemplars.add(as_double=1.1)
    exemplar.trace_id = bytes(range(16))
    assert await ingest.ingest(request(metric).SerializeToString()) == (0, "")
    (series,) = metric_store.select_histograms([], min_ms=0, max_ms=1 << 60)
    assert dict(series.labels) == {
        "__name__": "wait_seconds",
        "job": "shop",
        "instance": "shop-1",
        "route": "/",
    }
    (found,) = series.histograms
    assert (found.schema, found.count, found.sum) == (2, 3.0, 2.5)
    assert dict(zip(found.positive_index.tolist(), found.positive.tolist(), strict=True)) == {1: 1.0, 3: 2.0}
    ((labels, exemplars),) = metric_store.exemplars([], min_ms=0, max_ms=1 << 60)
    assert (labels, exemplars[0].value) == (series.labels, 1.1)
    assert [(entry.name, entry.kind) for entry in metric_store.metadata()] == [("wait_seconds", "histogram")]


async def test_exponential_deltas_are_added_up_and_a_point_without_a_value_ends_the_series(ingest, metric_store):
    for step in range(3):
        metric = exponential("wait", [1, 1], temporality=DELTA, at_ms=NOW_MS + step * 1000, scale=2 - step)
        await ingest.ingest(request(metric).SerializeToString())
    metric = exponential("wait", [], temporality=DELTA, at_ms=NOW_MS + 3000, flags=1)
    await ingest.ingest(request(metric).SerializeToString())
    (series,) = metric_store.select_histograms([], min_ms=0, max_ms=1 << 60)
    assert [each.count for each in series.histograms[:3]] == [2.0, 4.0, 6.0]
    assert [each.schema for each in series.histograms[:3]] == [2, 1, 0]
    assert series.histograms[3].stale


async def test_single_points_that_cannot_be_are_refused_by_name_and_the_others_are_kept(ingest, query):
    message = request(
        exponential("coarse", [1], scale=-5),
        exponential("liar", [5], count=1),
        histogram("unordered", [1, 1, 1], [2.0, 1.0]),
        gauge("fine", 1.0),
    )
    rejected, reason = await ingest.ingest(message.SerializeToString())
    assert rejected == 3
    for part in (
        "coarse_seconds: exponential histogram's scale -5",
        "liar_seconds: histogram count 1.0 is less",
        "bounds do not increase",
    ):
        assert part in reason
    assert query.last("fine") == 1.0


async def test_a_delta_that_was_overtaken_is_refused(ingest, query):
    for at_ms in (NOW_MS, NOW_MS - 5000):
        answer = await ingest.ingest(request(counter("c", 2, temporality=DELTA, at_ms=at_ms)).SerializeToString())
    assert answer == (1, "c_total: delta is 5000 ms behind the last of its stream (1)")
    assert query.last("c_total") == 2.0


async def test_secrets_in_attributes_and_exemplars_never_reach_the_disk(tmp_path):
    message = request(gauge("fine", 1.0), http__url="https://user:hunter2-hunter2@shop/")
    scope = message.resource_metrics[0].scope_metrics[0]
    scope.scope.name = "shop"
    scope.scope.attributes.add(key="api_key").value.string_value = "hunter2-hunter2"
    paid = counter("paid", 1)
    point = paid.sum.data_points[0]
    point.attributes.add(key="card").value.int_value = 4111111111111111
    point.attributes.add(key="kept").value.string_value = "visa"
    exemplar = point.exemplars.add(trace_id=b"t" * 16, time_unix_nano=NOW_MS * 1_000_000, as_double=1.0)
    exemplar.filtered_attributes.add(key="password").value.string_value = "hunter2-hunter2"
    exemplar.filtered_attributes.add(key="kept").value.string_value = "exemplary"
    scope.metrics.append(paid)
    store = MetricStore.open(tmp_path, retention_s=3600)
    config = OtlpConfig(promote_scope_metadata=True, promote_all_resource_attributes=True)
    redactor = Redactor(Rules())
    for _ in range(2):  # a series is masked when it is first seen, and then known
        ingest = MetricsIngest(store, store, config=config, redactor=redactor)
        assert await ingest.ingest(message.SerializeToString()) == (0, "")
    everything = [Matcher("__name__", MatchOp.EQUAL, "paid_total")]
    (labels, exemplars), *more = store.exemplars(everything, min_ms=0, max_ms=NOW_MS + 1)
    assert not more
    assert dict(labels).items() >= {"card": MASK, "kept": "visa", "otel_scope_api_key": MASK}.items()
    assert dict(labels)["http_url"] == f"https://user:{MASK}@shop/"
    assert dict(exemplars[0].labels) == {"trace_id": (b"t" * 16).hex(), "password": MASK, "kept": "exemplary"}
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    store.close()
    assert b"exemplary" in content
    assert b"hunter2" not in content
    assert b"4111111111111111" not in content


def translated(**otlp: object) -> MetricsDecoder:
    return MetricsDecoder(OtlpConfig.model_validate(otlp))


def names_of(decoder: MetricsDecoder, message: ExportMetricsServiceRequest) -> list[dict[str, str]]:
    decoded = decoder.decode(message.SerializeToString(), now_ms=NOW_MS)
    assert not decoded.rejected
    return [dict(labels) for batch in decoded.batches for labels in batch.labels]


def scoped() -> ExportMetricsServiceRequest:
    message = request(gauge("http.load", 1.0, unit="By"), deployment__environment="prod", cloud__region="eu")
    scope = message.resource_metrics[0].scope_metrics[0]
    scope.schema_url = "https://x/1"
    scope.scope.name, scope.scope.version = "lib", "2"
    scope.scope.attributes.add(key="team.name").value.string_value = "a"
    return message


BASE = {"job": "shop", "instance": "shop-1"}
INFO = {"__name__": "target_info", "deployment_environment": "prod", "cloud_region": "eu"} | BASE


@pytest.mark.parametrize(
    ("otlp", "series", "info"),
    [
        ({}, {"__name__": "http_load_bytes", "n": "0"}, INFO),
        ({"translation_strategy": "UnderscoreEscapingWithoutSuffixes"}, {"__name__": "http_load", "n": "0"}, INFO),
        (
            {"translation_strategy": "NoUTF8EscapingWithSuffixes"},
            {"__name__": "http.load_bytes", "n": "0"},
            {"__name__": "target_info", "deployment.environment": "prod", "cloud.region": "eu"},
        ),
        (
            {"translation_strategy": "NoTranslation", "promote_resource_attributes": ["cloud.region"]},
            {"__name__": "http.load", "n": "0", "cloud.region": "eu"},
            {"__name__": "target_info", "deployment.environment": "prod", "cloud.region": "eu"},
        ),
        (
            {"promote_all_resource_attributes": True, "ignore_resource_attributes": ["cloud.region"]},
            {"__name__": "http_load_bytes", "n": "0", "deployment_environment": "prod"},
            INFO,
        ),
        (
            {"keep_identifying_resource_attributes": True},
            {"__name__": "http_load_bytes", "n": "0"},
            INFO | {"service_name": "shop", "service_instance_id": "shop-1"},
        ),
        (
            {"promote_scope_metadata": True},
            {
                "__name__": "http_load_bytes",
                "n": "0",
                "otel_scope_name": "lib",
                "otel_scope_version": "2",
                "otel_scope_schema_url": "https://x/1",
                "otel_scope_team_name": "a",
            },
            INFO,
        ),
    ],
)
def test_the_otlp_section_says_what_becomes_a_label(otlp, series, info):
    assert names_of(translated(**otlp), scoped()) == [series | BASE, info | BASE]


def test_another_configuration_names_anew():
    decoder = translated()
    names_of(decoder, scoped())
    decoder.configure(OtlpConfig.model_validate({"translation_strategy": "NoTranslation"}))
    assert names_of(decoder, scoped())[0]["__name__"] == "http.load"


@pytest.mark.parametrize(
    ("otlp", "message"),
    [
        ({"convert_histograms_to_nhcb": True}, "convert_histograms_to_nhcb: histograms with custom buckets"),
        ({"promote_all_resource_attributes": True, "promote_resource_attributes": ["a"]}, "simultaneously"),
        ({"ignore_resource_attributes": ["a"]}, "cannot be configured unless"),
        ({"promote_resource_attributes": ["a", "a"]}, 'duplicated OTel resource attribute "a"'),
        ({"promote_resource_attributes": [" "]}, "empty OTel resource attribute"),
        ({"translation_strategy": "Shout"}, "translation_strategy"),
    ],
)
def test_a_wrong_otlp_section_is_refused(otlp, message):
    with pytest.raises(ValidationError, match=message):
        OtlpConfig.model_validate(otlp)


async def test_points_that_the_store_refuses_are_told_in_the_partial_success(ingest, query):
    await ingest.ingest(request(gauge("g", 1.0)).SerializeToString())
    rejected, reason = await ingest.ingest(request(gauge("g", 2.0), gauge("other", 1.0)).SerializeToString())
    assert rejected == 1
    assert "duplicate sample for timestamp" in reason
    assert (query.last("g"), query.last("other")) == (1.0, 1.0)
    rejected, reason = await ingest.ingest(request(gauge("g", 2.0, at_ms=1000)).SerializeToString())
    assert (rejected, "too old sample" in reason) == (1, True)
