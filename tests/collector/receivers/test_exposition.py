from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from collector.model.series import METRIC_NAME, MetricMetadata, labels_of
from collector.receivers.exposition import SPARE, ExpositionParser
from collector.receivers.exposition_line import ExpositionError, canonical_float


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


PAGE = '# HELP g Help {n}\n# TYPE g gauge\ng{{a="1"}} {n}\ng{{a="2"}} 5\nd 1\n# EOF\n'


def dropping() -> ExpositionParser:
    """Without the series named d."""
    return ExpositionParser(
        lambda series: None if series.name == "d" else labels_of(series.labels | {METRIC_NAME: series.name})
    )


def test_a_page_that_keeps_its_lines_keeps_its_labels_and_still_tells_what_changes():
    parser = dropping()
    first = parser.parse(PAGE.format(n=1), openmetrics=True)
    assert (first.scraped, first.values) == (3, [1.0, 5.0])
    again = parser.parse(PAGE.format(n=1).replace("d 1", "d 2"), openmetrics=True)
    assert again.labels is first.labels
    assert again.metadata == []
    changed = parser.parse(PAGE.format(n=2), openmetrics=True)
    assert changed.values == [2.0, 5.0]
    assert [entry.help for entry in changed.metadata] == ["Help 2"]
    fewer = parser.parse(PAGE.format(n=2).replace('g{a="2"} 5\n', ""), openmetrics=True)
    assert (fewer.scraped, fewer.values) == (2, [2.0])


def test_labels_that_look_like_exemplars_stay_apart_from_page_to_page(parser):
    for name in ("b", "c", "b"):
        found = parser.parse(f'm{{x="a # {{{name}"}} 1\n# EOF\n', openmetrics=True)
        assert found.labels == (((METRIC_NAME, "m"), ("x", f"a # {{{name}")),)


def test_exemplars_of_a_page_that_keeps_its_lines_are_seen_when_they_change(parser):
    line = 'h_bucket{{le="1.0"}} {n} # {{trace_id="{n}"}} 0.5 1\nother{{x="y"}} 1\n# EOF\n'
    for n in (1, 2, 3, 3):
        found = parser.parse(line.format(n=n), openmetrics=True)
        new = [each.labels for _, each in found.exemplars]
    assert new == []
    found = parser.parse(line.format(n=4), openmetrics=True)
    assert [(place, each.labels) for place, each in found.exemplars] == [(0, (("trace_id", "4"),))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{a="b"} 1', "expected a metric name"),
        ('m{"n"} 1', "stands beside m"),
        ('{"m","n"} 1', "two metric names"),
        ('{"m",a} 1', "expected a label"),
        ('{""} 1', "a name is empty"),
        ('m{""="x"} 1', "a name is empty"),
    ],
)
def test_wrong_quoted_names_are_refused(parser, line, message):
    with pytest.raises(ExpositionError, match=message):
        parser.parse(line, openmetrics=False)


def test_quoted_names_are_understood_in_samples_and_comments(parser):
    found = parser.parse('# TYPE "my metric" gauge\n{"my metric","a \\"b"="c",d="e",} 1\n', openmetrics=False)
    assert found.labels == (((METRIC_NAME, "my metric"), ('a "b', "c"), ("d", "e")),)
    assert parser.metadata() == [MetricMetadata("my metric", "gauge", "", "")]


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused_and_the_next_page_is_understood(text):
    parser = new_parser()
    for openmetrics in (False, True):
        with contextlib.suppress(ExpositionError):
            parser.parse(text, openmetrics=openmetrics)
    assert samples(parser, 'up{job="a"} 1\n') == {"up,job=a": 1.0}


NAMES = st.sampled_from(["a", "b", "le", "job"])
VALUES = st.text(st.sampled_from(list('x",;={}# \\')), max_size=6)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4, unique_by=lambda pair: pair[0]), st.booleans())
def test_labels_are_what_was_written_whatever_the_values_hold(pairs, comma):
    escaped = [(name, value.replace("\\", "\\\\").replace('"', '\\"')) for name, value in pairs]
    inner = ",".join(f'{name}="{value}"' for name, value in escaped) + ("," if comma and pairs else "")
    found = new_parser().parse(f"m{{{inner}}} 1\n", openmetrics=False)
    assert found.labels == (labels_of(dict(pairs) | {METRIC_NAME: "m"}),)


@pytest.mark.parametrize(
    "inner", ['a="x";b="y"', 'a="x"b="y"', 'a="x",,b="y"', ',a="x"', 'a="x","y"b', 'a="x",a="y"', 'a="x" b="y"', "a"]
)
def test_labels_that_are_not_separated_by_one_comma_are_refused(parser, inner):
    with pytest.raises(ExpositionError):
        parser.parse(f"m{{{inner}}} 1\n", openmetrics=False)
