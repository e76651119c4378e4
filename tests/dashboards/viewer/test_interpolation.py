import pytest

from dashboards.viewer.grafana.interpolation import builtin, interpolate, legend
from dashboards.viewer.grafana.timerange import Span, parse_interval, parse_time, span_of

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "promql", "result"),
    [
        ('up{job=~"$service"}', True, 'up{job=~"(cart|a\\\\.b)"}'),
        ('up{job=~"${service:regex}"}', False, 'up{job=~"(cart|a\\.b)"}'),
        ('up{job="$one"}', True, 'up{job="x"}'),
        ("[[one]] of ${service:csv}", False, "x of cart,a.b"),
        ("$service", False, "{cart,a.b}"),
        ("${service:pipe} ${service:json}", False, 'cart|a.b ["cart", "a.b"]'),
        ("$unknown and $$", True, "$unknown and $$"),
    ],
)
def test_variables_are_put_in_as_grafana_does(text, promql, result):
    values = {"service": ["cart", "a.b"], "one": ["x"]}
    assert interpolate(text, values, promql=promql) == result


def test_value_cannot_leave_the_string_it_stands_in():
    assert interpolate('up{job="$x"}', {"x": ['a"} or vector(1)']}, promql=True) == 'up{job="a\\"} or vector(1)"}'


def test_rate_interval_holds_four_scrapes_and_a_step():
    values = builtin(Span(0, 900), 1.0, 1.0)
    assert values["__rate_interval"] == ["4s"]
    assert builtin(Span(0, 90_000), 60.0, 15.0)["__rate_interval"] == ["75s"]
    assert values["__range"] == ["900s"]


@pytest.mark.parametrize(
    ("template", "text"),
    [("{{job}} p99", "cart p99"), ("{{ missing }}x", "x"), ("__auto", 'up{job="cart"}'), ("", 'up{job="cart"}')],
)
def test_legend_names_the_series(template, text):
    assert legend(template, {"__name__": "up", "job": "cart"}) == text
    assert legend("__auto", {"job": "cart"}) == "cart"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("now", NOW),
        ("now-6h", NOW - 21600),
        ("now-1d+2h", NOW - 79200),
        ("1700000000000", NOW),
        ("soon", None),
        ("", None),
    ],
)
def test_times_are_read_as_grafana_writes_them(text, seconds):
    assert parse_time(text, NOW, end=False) == seconds


def test_rounded_time_is_the_beginning_or_the_end_of_its_unit():
    assert parse_time("now/d", NOW, end=False) == NOW // 86400 * 86400
    assert parse_time("now/d", NOW, end=True) == (NOW // 86400 + 1) * 86400


def test_range_that_runs_backwards_is_none():
    assert span_of("now", "now-1h", NOW) is None
    assert span_of("now-1h", "now", NOW) == Span(NOW - 3600, NOW)
    assert parse_interval("5s") == 5
    assert parse_interval("off") is None


def test_step_is_round_and_bounds_the_points():
    assert Span(0, 900).step(1000) == 1
    assert Span(0, 6 * 3600).step(1000) == 30
    assert Span(0, 30 * 86400).step(1000) == 3600
