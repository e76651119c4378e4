from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_spans import CLIENT, ERROR, RECEIVED_MS, Made, decoded

from collector.model.telemetry import SpanKind, StatusCode
from collector.pipeline.connectors.connectors import Connectors
from collector.pipeline.connectors.dimensions import Dimension
from collector.pipeline.connectors.span_metrics import DEFAULT_BUCKETS_NANO, SpanMetricsOptions

MS = 1_000_000
CALLS, DURATION = "traces_span_metrics_calls_total", "traces_span_metrics_duration_milliseconds"


def connectors(**options) -> Connectors:
    return Connectors(span_metrics=SpanMetricsOptions(**options), service_graph=None)


def counted(made: Connectors, *batches) -> Connectors:
    for batch in batches:
        made.derive(batch).keep()
    return made


def flushed(made: Connectors, now_ms: int = RECEIVED_MS + 1000) -> dict[tuple, float]:
    """Values of all series at that time, by their labels."""
    values = {}
    for table in made.flush(now_ms).tables:
        if table.timestamps_ms[0] == now_ms:
            values |= dict(zip(table.labels, table.values[:, 0].tolist(), strict=True))
    return values


def series(name: str, **labels: str) -> tuple:
    return tuple(sorted({"__name__": name, **labels}.items()))


def labels_of(made: Made) -> dict[str, str]:
    labels = {
        "job": made.service,
        "service_name": made.service,
        "span_name": made.name,
        "span_kind": f"SPAN_KIND_{SpanKind(made.kind).name}",
        "status_code": f"STATUS_CODE_{StatusCode(made.status).name}",
    }
    return {name: value for name, value in labels.items() if value}


def expected(spans: list[Made]) -> dict[tuple, float]:
    """Counted one by one, as nobody would for many."""
    values: Counter[tuple] = Counter()
    for made in spans:
        labels, took = labels_of(made), max(made.took_nano, 0)
        values[series(CALLS, **labels)] += 1
        values[series(f"{DURATION}_count", **labels)] += 1
        values[series(f"{DURATION}_sum", **labels)] += took / MS
        values[series(f"{DURATION}_bucket", le="+Inf", **labels)] += 1
        for bound in DEFAULT_BUCKETS_NANO:
            values[series(f"{DURATION}_bucket", le=f"{bound / MS:.0f}", **labels)] += took <= bound
    return dict(values)


made_spans = st.builds(
    Made,
    service=st.sampled_from(["shop", "a shop", "ladenß", "x" * 40]),
    name=st.text(max_size=12) | st.sampled_from(["GET /a", "GET /ab", "GET /abcdefgh", "GET /abcdefghi"]),
    kind=st.integers(0, 5),
    status=st.integers(0, 2),
    took_nano=st.sampled_from(DEFAULT_BUCKETS_NANO) | st.integers(0, 20_000 * MS),
    trace=st.integers(1, 50),
    span=st.integers(1, 2**64 - 1),
)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(made_spans, min_size=1, max_size=30), min_size=1, max_size=4))
def test_every_span_is_counted_as_if_counted_one_by_one(requests):
    made = counted(connectors(), *(decoded(spans) for spans in requests))
    wanted = expected([span for spans in requests for span in spans])
    found = flushed(made)
    assert found.keys() == wanted.keys()
    for labels, value in wanted.items():
        assert found[labels] == pytest.approx(value, rel=1e-12), labels


def test_nothing_counts_before_it_is_durable():
    made = connectors()
    made.derive(decoded([Made()]))  # the commit failed
    assert not any(flushed(made).values())
    counted(made, decoded([Made()]))
    assert flushed(made, RECEIVED_MS + 2000)[series(CALLS, **labels_of(Made()))] == 1


def test_a_span_that_ends_before_it_starts_took_no_time():
    made = counted(connectors(), decoded([Made(took_nano=-5 * MS)]))
    assert flushed(made)[series(f"{DURATION}_bucket", le="2", **labels_of(Made()))] == 1


def test_kinds_and_statuses_that_are_none_share_one_series():
    made = counted(connectors(), decoded([Made(kind=kind, status=kind) for kind in (7, 8, 900, 2**31 - 1)]))
    assert flushed(made)[series(CALLS, job="shop", service_name="shop", span_name="op")] == 4


def test_dimensions_are_looked_for_in_the_span_then_its_resource_then_have_a_default():
    dimensions = (Dimension("http.route"), Dimension("deployment.environment.name"), Dimension("tier", "gold"))
    spans = [
        Made(attributes={"http.route": "/a", "n": 1}, resource={"http.route": "/never", "tier": "tin"}),
        Made(attributes={"http.status": 200}, resource={"deployment.environment.name": "prod"}),
        Made(attributes={"tier": 7, "http.route": ""}),
    ]
    found = flushed(counted(connectors(dimensions=dimensions), decoded(spans)))
    calls = {dict(labels)["tier"]: dict(labels) for labels in found if dict(labels)["__name__"] == CALLS}
    assert calls["tin"]["http_route"] == "/a"
    assert "deployment_environment_name" not in calls["tin"]
    assert calls["gold"]["deployment_environment_name"] == "prod"
    assert "http_route" not in calls["gold"]
    assert "http_route" not in calls["7"]


def test_seconds_custom_buckets_a_namespace_and_left_out_dimensions():
    made = connectors(
        unit="s", buckets_nano=(5 * MS, 1_500 * MS), namespace="ours", excluded=frozenset({"span.name", "status.code"})
    )
    found = flushed(counted(made, decoded([Made(took_nano=5 * MS), Made(name="other", took_nano=2_000 * MS)])))
    labels = {"job": "shop", "service_name": "shop", "span_kind": "SPAN_KIND_SERVER"}
    assert found[series("ours_calls_total", **labels)] == 2
    assert found[series("ours_duration_seconds_sum", **labels)] == pytest.approx(2.005)
    buckets = [found[series("ours_duration_seconds_bucket", le=le, **labels)] for le in ("0.005", "1.5", "+Inf")]
    assert buckets == [1, 1, 2]


def test_replicas_have_series_of_their_own_if_asked_for():
    spans = [Made(resource={"service.namespace": "eu", "service.instance.id": f"shop-{n}"}) for n in range(2)]
    keys = ("service.name", "service.namespace", "service.instance.id")
    found = flushed(counted(connectors(resource_keys=keys), decoded(spans)))
    calls = [dict(labels) for labels in found if dict(labels)["__name__"] == CALLS]
    assert {(each["job"], each["instance"]) for each in calls} == {("eu/shop", "shop-0"), ("eu/shop", "shop-1")}


def test_names_beyond_the_limit_lose_their_name_and_no_call_is_lost():
    made = connectors(limit=5)
    for start in range(0, 400, 100):
        counted(
            made, decoded([Made(name=f"GET /users/{n}", status=ERROR * (n % 2)) for n in range(start, start + 100)])
        )
    found = flushed(made)
    calls = {labels: value for labels, value in found.items() if dict(labels)["__name__"] == CALLS}
    assert sum(calls.values()) == 400
    overflow = {labels: value for labels, value in calls.items() if "otel_metric_overflow" in dict(labels)}
    assert len(calls) == 5 + len(overflow)
    assert {dict(labels)["status_code"] for labels in overflow} == {"STATUS_CODE_UNSET", "STATUS_CODE_ERROR"}
    assert all(dict(labels)["service_name"] == "shop" for labels in overflow)
    assert made.series["spanmetrics"].overflowed == 395


def test_services_beyond_the_limit_end_in_one_series():
    made = connectors(limit=5)
    for start in range(0, 400, 100):
        counted(made, decoded([Made(service=f"made-up-{n}") for n in range(start, start + 100)]))
    calls = {labels: value for labels, value in flushed(made).items() if dict(labels)["__name__"] == CALLS}
    assert len(calls) == 5 + 5 + 1
    assert calls[("__name__", CALLS), ("otel_metric_overflow", "true")] == 390


def test_an_exemplar_names_a_span_of_its_bucket():
    spans = [Made(trace=n + 1, span=n + 100, took_nano=took * MS) for n, took in enumerate((1, 3, 3, 9000))]
    made = counted(connectors(max_exemplars=2), decoded(spans))
    tables = {table.target: table for table in made.flush(RECEIVED_MS + 1000).tables}
    table = tables[f"connector|{DURATION}"]
    found = {dict(table.labels[place])["le"]: exemplar for place, exemplar in table.exemplars}
    assert found.keys() == {"4", "10000"}, "the slowest two buckets"
    assert dict(found["4"].labels) == {"trace_id": f"{3:032x}", "span_id": f"{102:016x}"}, "the newest of its bucket"
    assert (found["10000"].value, found["10000"].timestamp_ms) == (9000, RECEIVED_MS)
    assert not any(table.exemplars for table in made.flush(RECEIVED_MS + 2000).tables), "each is told once"


def test_a_new_series_has_been_zero_at_the_flush_before():
    made = counted(connectors(), decoded([Made()]))
    made.flush(RECEIVED_MS)
    counted(made, decoded([Made(name="new"), Made()]))
    zeros = [table for table in made.flush(RECEIVED_MS + 500).tables if table.timestamps_ms[0] == RECEIVED_MS]
    assert [table.target for table in zeros] == [f"connector|{CALLS}", f"connector|{DURATION}"]
    assert all(dict(labels)["span_name"] == "new" for table in zeros for labels in table.labels)
    assert not any(table.values.any() for table in zeros)


def test_series_that_nothing_is_added_to_are_forgotten_and_start_anew():
    made = counted(connectors(), decoded([Made(), Made(name="rare")]))
    counted(made, decoded([Made()], received_ms=RECEIVED_MS + 60_000))
    assert not made.forget_before(RECEIVED_MS)
    assert made.forget_before(RECEIVED_MS + 1)
    found = flushed(made, RECEIVED_MS + 61_000)
    assert found[series(CALLS, **labels_of(Made()))] == 2
    assert series(CALLS, **labels_of(Made(name="rare"))) not in found
    counted(made, decoded([Made(name="rare"), Made(kind=CLIENT)], received_ms=RECEIVED_MS + 62_000))
    found = flushed(made, RECEIVED_MS + 63_000)
    assert found[series(CALLS, **labels_of(Made(name="rare")))] == 1
    assert found[series(CALLS, **labels_of(Made()))] == 2
