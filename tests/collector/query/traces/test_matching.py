from __future__ import annotations

import pytest

from collector.query.traces.matching import matching
from collector.query.traces.syntax import parse_filter
from collector.storage.traces.reader import TraceReader
from collector.storage.traces.search import Range

EVER = Range(0, 2**63 - 1)


@pytest.fixture(scope="module")
def reader(builder):
    """Everything is stored twice, as if each batch had been sent again."""
    # 1: gateway → checkout → (payment, failed; inventory); the attributes are of every type.
    builder.span(1, 1, service="gateway", name="POST /checkout", kind=2, took_ms=500, at_ms=0)
    types = {"text": "a.b", "whole": 7, "big": 2**63 - 1, "real": 1.5, "nan": float("nan"), "yes": True, "raw": b"x"}
    builder.span(1, 2, 1, service="checkout", name="checkout", took_ms=400, at_ms=10, attributes=types)
    builder.span(1, 3, 2, service="payment", name="pay", kind=3, status=2, message="declined", took_ms=300, at_ms=20,
                 events={"exception": {"exception.type": "Timeout"}}, attributes={"n": 3})  # fmt: skip
    builder.span(1, 4, 2, service="inventory", name="reserve", took_ms=50, at_ms=30, attributes={"n": 5},
                 resource=[("zone", "b"), ("replica", 2)])  # fmt: skip
    # 2: gateway → catalog, fast, fine.
    builder.span(2, 1, service="gateway", name="GET /products", kind=2, took_ms=5, at_ms=1000, status=1)
    builder.span(2, 2, 1, service="catalog", name="list", took_ms=3, at_ms=1001, resource=[("zone", "a")])
    # 3: a span whose parent never came, and one that is its own ancestor.
    builder.span(3, 9, 8, service="catalog", name="orphan", took_ms=2, at_ms=2000, attributes={"text": "xyz"})
    builder.span(3, 5, 6, service="catalog", name="loop", at_ms=2001)
    builder.span(3, 6, 5, service="catalog", name="loop", at_ms=2002)
    builder.store(times=2)
    return TraceReader(builder.database)


def found(reader, text):
    summaries, page = reader.find_summaries(matching(parse_filter(text)), EVER, limit=100)
    assert not page.more
    return {summary.trace_id for summary in summaries}


@pytest.mark.parametrize(
    ("text", "traces"),
    [
        ("{}", {1, 2, 3}),
        ("{false}", set()),
        ('service = "gateway"', {1, 2}),
        ('resource.service.name = "payment"', {1}),
        ('service != "gateway"', {1, 2, 3}),
        ('!service = "catalog"', {1, 2}),
        ('name =~ "POST.*"', {1}),
        ('name =~ "POST"', set()),  # anchored
        ('name !~ ".*o.*"', {1, 2}),  # "pay", "list" and "reserve"
        ("duration >= 300ms", {1}),
        ("duration < 3ms", {3}),
        ("status = error", {1}),
        ("status = ok", {2}),
        ("status != error && kind = client", set()),
        ('statusMessage = "declined"', {1}),
        ("statusMessage != nil", {1}),
        ("kind = server", {1, 2}),
        ('span.text = "a.b"', {1}),
        ('span.text =~ "a.b|xyz"', {1, 3}),
        ('.text > "b"', {3}),
        ("span.whole = 7", {1}),
        ("span.whole = 7.0", {1}),
        ("span.whole > 6.5", {1}),
        ('span.whole = "7"', set()),  # another type
        ("span.big = 9223372036854775807", {1}),
        ("span.big > 9223372036854775806", {1}),
        ("span.real >= 1.5 && span.real < 2", {1}),
        ("span.nan > 0", set()),
        ("span.nan != nil", {1}),
        ("span.yes", {1}),
        ("span.yes != true", set()),
        ("span.nothing != 1", set()),  # what is not there does not differ
        ("!span.nothing = 1", {1, 2, 3}),
        ("span.text = nil", {1, 2, 3}),
        ("span.text != nil", {1, 3}),
        ('resource.zone = "b" || resource.zone = "a"', {1, 2}),
        ('.zone = "a"', {2}),
        ('span.zone = "a"', set()),
        ("resource.replica = 2", {1}),
        ('event.exception.type = "Timeout"', {1}),
        ('event:name = "exception"', {1}),
        ("event:name = nil && kind = client", set()),
        ('instrumentation:name = "payment-library" && instrumentation:version = "1.0"', {1}),
        ('span:id = "9"', {3}),
        ('span:parentID = "8"', {3}),
        ("span:parentID = nil", {1, 2}),
        ('trace:id = "02"', {2}),
        ('trace:id != "02"', {1, 3}),
        ('rootName = "POST /checkout" && name = "pay"', {1}),
        ('trace:rootService = "gateway"', {1, 2}),
        ("rootName = nil", {3}),
        ("traceDuration > 400ms", {1}),
        ("traceDuration < 6ms", {2, 3}),
        # Two spansets.
        ('{service = "gateway"} && {service = "catalog"}', {2}),
        ('{service = "payment"} || {service = "catalog"}', {1, 2, 3}),
        ('({service = "payment"} || {name = "list"}) && {service = "gateway"}', {1, 2}),
        # Relations; the right side is what is found.
        ('{service = "gateway"} >> {status = error}', {1}),
        ('{service = "gateway"} > {status = error}', set()),
        ('{service = "checkout"} > {status = error}', {1}),
        ('{status = error} << {service = "gateway"}', {1}),
        ('{status = error} < {service = "gateway"}', set()),
        ('{status = error} < {service = "checkout"}', {1}),
        ('{service = "payment"} ~ {service = "inventory"}', {1}),
        ('{service = "payment"} ~ {service = "checkout"}', set()),
        ('{service = "gateway"} ~ {}', set()),  # roots are nobody's siblings
        ('{name = "loop"} >> {name = "loop"}', {3}),  # and it ends
        ('{service = "gateway"} >> {service = "checkout"} >> {status = error}', {1}),
        ('{service = "gateway"} !> {status = error}', {1}),
        ('{service = "checkout"} !> {status = error}', set()),
        ('{service = "gateway"} !>> {}', {1, 2, 3}),  # the gateway's own spans, and trace 3
        # Aggregates; a span that was sent twice counts once.
        ("{} | count() > 3", {1}),
        ("{} | count() = 2", {2}),
        ("{} | count() = 3", {3}),
        ('{service = "catalog"} | count() >= 2', {3}),
        ("{} | max(duration) >= 500ms", {1}),
        ("{} | avg(duration) = 4ms", {2}),
        ("{} | sum(span.n) = 8", {1}),
        ("{} | min(.n) = 3 | max(.n) = 5", {1}),
        ("{} | avg(resource.replica) = 2", {1}),
        ("{} | count() > 1 | count() > 3", {1}),
    ],
)
def test_a_filter_finds(reader, text, traces):
    assert found(reader, text) == traces


def test_the_range_is_of_the_matching_spans_starts(reader):
    from_second = Range(1_700_000_001_000_000_000, 1_700_000_001_000_000_000)
    summaries, _ = reader.find_summaries(matching(parse_filter("{}")), from_second, limit=10)
    assert [summary.trace_id for summary in summaries] == [2]


@pytest.mark.parametrize("value", ["'; DROP TABLE spans; --", '" OR 1=1', "$p0", "{}", "\\", "%", "\x00"])
def test_what_is_written_is_a_value_and_never_sql(reader, value):
    for text in (f"name = `{value}`", f"span.`{value}`" if "`" in value else f"span.x = `{value}`"):
        assert found(reader, text) == set()
    assert found(reader, "{}") == {1, 2, 3}


def test_a_summary_says_what_a_list_shows(reader):
    summaries, _ = reader.find_summaries(matching(parse_filter("{}")), EVER, limit=10)
    third, second, first = summaries
    assert (first.root_service, first.root_name, first.spans, first.errors) == ("gateway", "POST /checkout", 4, 1)
    assert first.end_unix_nano - first.start_unix_nano == 500_000_000
    assert [tuple(service) for service in first.services] == [
        ("checkout", 1, 0),
        ("gateway", 1, 0),
        ("inventory", 1, 0),
        ("payment", 1, 1),
    ]
    assert (second.orphans, third.orphans, third.root_name) == (0, 1, "orphan")
