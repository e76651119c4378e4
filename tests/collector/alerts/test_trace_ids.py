from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote_plus

import pytest

from collector.alerts.trace_ids import ANNOTATION, MAX_TRACE_IDS, with_trace_ids
from collector.model.alert import Alert
from collector.model.series import Exemplar, Labels, labels_of
from collector.query.memory import MemorySource

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000


def alert(expr: str, **labels: str) -> Alert:
    named = labels_of({"alertname": "Slow", "severity": "critical", **labels})
    url = f"http://c:9090/graph?g0.expr={quote_plus(expr)}&g0.tab=1"
    return Alert(named, (("summary", "slow"),), NOW_MS - MINUTE_MS, NOW_MS + MINUTE_MS, url)


def series(name: str, *exemplars: tuple[str, float, int], **labels: str) -> tuple[Labels, list[Exemplar]]:
    return labels_of({"__name__": name, **labels}), [
        Exemplar(labels_of({"trace_id": trace_id}), value, NOW_MS - ago_ms) for trace_id, value, ago_ms in exemplars
    ]


def trace_ids(
    one: Alert, *found: tuple[Labels, list[Exemplar]], recorded: dict[str, Sequence[str]] | None = None
) -> list[str]:
    (joined,) = with_trace_ids(MemorySource(exemplars=found), [one], recorded or {}, NOW_MS)
    assert joined.annotations[0] == ("summary", "slow")
    return dict(joined.annotations).get(ANNOTATION, "").split(",")


LATENCY = "histogram_quantile(0.99, sum by (le, job) (rate(latency_bucket[5m]))) > 1"


def test_slowest_traces_of_the_alerts_own_series_come_first() -> None:
    assert trace_ids(
        alert(LATENCY, job="cart"),
        series("latency_bucket", ("fast", 0.1, 1000), ("slow", 3.0, 9000), job="cart", instance="1", le="5"),
        series("latency_bucket", ("slower", 4.0, 5000), job="cart", instance="2", le="5"),
        series("latency_bucket", ("foreign", 9.0, 5000), job="payment", le="10"),
        series("other_bucket", ("other", 9.0, 5000), job="cart"),
    ) == ["slower", "slow", "fast"]


def test_errors_come_before_the_requests_that_they_are_compared_with() -> None:
    expr = 'sum by (job) (rate(requests_total{code=~"5.."}[5m])) / sum by (job) (rate(requests_total[5m])) > 0.1'
    assert trace_ids(
        alert(expr, job="cart"),
        series("requests_total", ("good", 9.0, 1000), job="cart", code="200"),
        series("requests_total", ("bad", 1.0, 1000), job="cart", code="500"),
    ) == ["bad", "good"]


def test_recording_rules_are_followed_and_counts_have_the_exemplars_of_their_buckets() -> None:
    recorded = {"job:rate": ["sum by (job) (rate(latency_count[5m]))"], "job:twice": ["job:rate * 2", "job:twice"]}
    found = series("latency_bucket", ("one", 1.0, 1000), job="cart", le="1")
    assert trace_ids(alert("job:twice > 3", job="cart"), found, recorded=recorded) == ["one"]


def test_only_the_time_of_the_alert_counts_and_no_more_than_a_handful() -> None:
    old = series("latency_bucket", ("old", 9.0, 10 * MINUTE_MS), job="cart")
    assert trace_ids(alert(LATENCY, job="cart"), old) == [""]
    many = series("latency_bucket", *((f"t{number}", 1.0, number) for number in range(50)), job="cart")
    assert len(trace_ids(alert(LATENCY, job="cart"), many)) == MAX_TRACE_IDS


@pytest.mark.parametrize("expr", ["vector(1)", "rate(", "latency_bucket"])
def test_alert_without_traces_goes_out_as_it_is(expr: str) -> None:
    one = alert(expr)
    assert with_trace_ids(MemorySource(), [one], {}, NOW_MS) == [one]


def test_annotation_of_the_rules_author_stays() -> None:
    one = alert(LATENCY, job="cart")
    own = Alert(one.labels, ((ANNOTATION, "mine"),), one.starts_at_ms, one.ends_at_ms, one.generator_url)
    found = series("latency_bucket", ("slow", 3.0, 9000), job="cart")
    assert with_trace_ids(MemorySource(exemplars=[found]), [own], {}, NOW_MS) == [own]
