from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from collector.model.series import METRIC_NAME, MetricMetadata, labels_of
from collector.receivers.exposition import SPARE, ExpositionError, ExpositionParser, canonical_float


def new_parser() -> ExpositionParser:
    return ExpositionParser(lambda series: labels_of(series.labels | {METRIC_NAME: series.name}))


@pytest.fixture
def parser() -> ExpositionParser:
    return new_parser()


def samples(parser: ExpositionParser, text: str, *, openmetrics: bool = False) -> dict[str, float]:
    found = parser.parse(text, openmetrics=openmetrics)
    return {
        ",".join(value if name == METRIC_NAME else f"{name}={value}" for name, value in labels): number
        for labels, number in zip(found.labels, found.values, strict=True)
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("up 1", {"up": 1.0}),
        ("up\t1", {"up": 1.0}),
        ("  up   1  ", {"up": 1.0}),
        ('up{job="a"} 1', {"up,job=a": 1.0}),
        ('up { job = "a" , x="b", } 1', {"up,job=a,x=b": 1.0}),
        ('up{job="a"}1', {"up,job=a": 1.0}),
        ("up{} 1", {"up": 1.0}),
        (r'up{path="C:\\DIR\nx\"} \q"} 1', {'up,path=C:\\DIR\nx"} \\q': 1.0}),
        ('up{x="a # {b"} 1', {"up,x=a # {b": 1.0}),
        ("a:b 1.5e-3", {"a:b": 0.0015}),
        ("m +Inf", {"m": math.inf}),
        ("m -Inf", {"m": -math.inf}),
        ("m .5", {"m": 0.5}),
        ("\n\nup 1\r\n\n# a comment\n#\n", {"up": 1.0}),
        ("", {}),
    ],
)
def test_the_text_format_is_understood(parser, line, expected):
    assert samples(parser, line) == expected
    assert samples(parser, line) == expected  # from memory


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("up", "line 1: expected a value"),
        ("up 1 2 3", "expected a value"),
        ("up one", "expected a number, got 'one'"),
        ("up 1_0", "expected a number"),
        ("up ١", "expected a number"),
        ("up 0x1p3", "expected a number"),
        ("up 1 soon", "expected a number, got 'soon'"),
        ("up 1 NaN", "expected a timestamp"),
        ("1up 1", "expected a metric name"),
        ('up{job="a" 1', "expected a label or }"),
        ('up{job="a"x="b"} 1', "expected a label or }"),
        ("up{job=a} 1", "expected a label or }"),
        ('up{job="a",job="b"} 1', "label job stands twice"),
        ("ok 1\n<html>", "line 2: expected a metric name"),
    ],
)
def test_a_wrong_line_is_named_by_number_and_text(parser, line, message):
    for _ in range(2):
        with pytest.raises(ExpositionError) as caught:
            parser.parse(line, openmetrics=False)
        assert message in str(caught.value)


def test_a_wrong_value_of_a_remembered_series_is_refused_too(parser):
    parser.parse("up 1", openmetrics=False)
    for value in ("one", "1_0", "٣"):
        with pytest.raises(ExpositionError, match="up: expected a number"):
            parser.parse(f"up {value}", openmetrics=False)


def test_nan_is_a_value(parser):
    assert math.isnan(samples(parser, "m NaN")["m"])


def test_timestamps_are_milliseconds_in_text_and_seconds_in_openmetrics(parser):
    assert parser.parse("a 1\nm 1 1700000000123", openmetrics=False).timestamps_ms == {1: 1_700_000_000_123}
    assert new_parser().parse("m 1 1700000000.123\n# EOF\n", openmetrics=True).timestamps_ms == {0: 1_700_000_000_123}


def test_openmetrics_without_its_end_is_refused(parser):
    for text in ("up 1\n", "", "# EOF\nup 1\n"):
        with pytest.raises(ExpositionError, match="does not end"):
            parser.parse(text, openmetrics=True)


def test_an_exemplar_comes_once_until_there_is_another(parser):
    line = 'h_bucket{le="1.0"} 5 # {trace_id="abc"} 0.7 1700000000.5\n# EOF\n'
    first = parser.parse(line, openmetrics=True)
    ((place, exemplar),) = first.exemplars
    assert (place, exemplar.labels, exemplar.value) == (0, (("trace_id", "abc"),), 0.7)
    assert exemplar.timestamp_ms == 1_700_000_000_500
    assert parser.parse(line, openmetrics=True).exemplars == []
    again = parser.parse(line.replace("abc", "def").replace(" 5 #", " 6 #"), openmetrics=True)
    assert again.exemplars[0][1].labels == (("trace_id", "def"),)
    assert again.values == [6.0]


def test_types_help_and_units_are_told_once(parser):
    text = "# HELP m_seconds What\\nit is.\n# TYPE m_seconds gauge\n# UNIT m_seconds seconds\nm_seconds 1\n"
    entry = parser.parse(text, openmetrics=False).metadata[-1]
    assert entry == MetricMetadata("m_seconds", "gauge", "What\nit is.", "seconds")
    assert parser.parse(text, openmetrics=False).metadata == []
    assert parser.parse("# TYPE x untyped\n", openmetrics=False).metadata[0].kind == "unknown"


def test_series_that_no_longer_come_are_forgotten(parser):
    for number in range(5 * SPARE):
        parser.parse(f'm{{n="{number}"}} 1', openmetrics=False)
    assert len(parser._lines) <= SPARE + 2


LABEL_TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)


@given(
    values=st.lists(st.tuples(LABEL_TEXT, LABEL_TEXT, st.floats()), max_size=8, unique_by=lambda each: each[:2]),
    openmetrics=st.booleans(),
)
def test_what_prometheus_client_writes_is_read_back(values, openmetrics):
    registry = CollectorRegistry()
    gauge = Gauge("g", "Help \\ with\nlines.", ["a", "b"], registry=registry)
    for first, second, value in values:
        gauge.labels(first, second).set(value)
    text = (generate_openmetrics if openmetrics else generate_latest)(registry).decode()
    parser = new_parser()
    for _ in range(2):
        found = parser.parse(text, openmetrics=openmetrics)
        expected = {labels_of({METRIC_NAME: "g", "a": a, "b": b}): value for a, b, value in values}
        got = dict(zip(found.labels, found.values, strict=True))
        assert got.keys() == expected.keys()
        assert all(got[key] == expected[key] or math.isnan(expected[key]) for key in got)


def test_every_kind_of_metric_of_prometheus_client_is_read(parser):
    registry = CollectorRegistry()
    Counter("c", "C.", registry=registry).inc(2)
    Histogram("h", "H.", buckets=(1, 1e6), registry=registry).observe(5)
    Summary("s", "S.", registry=registry).observe(3)
    found = samples(parser, generate_openmetrics(registry).decode(), openmetrics=True)
    assert found["c_total"] == 2
    assert found["h_bucket,le=1e+06"] == 1
    assert found["s_sum"] == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", "1.0"),
        ("0.50", "0.5"),
        ("1e6", "1e+06"),
        ("1000000", "1e+06"),
        ("123456789", "1.23456789e+08"),
        ("999999", "999999.0"),
        ("+Inf", "+Inf"),
        ("inf", "+Inf"),
        ("0.00001", "1e-05"),
        ("x", "x"),
        ("0", "0.0"),
        ("-1", "-1.0"),
    ],
)
def test_bounds_have_one_spelling(text, expected):
    assert canonical_float(text) == expected
