import pytest

from dashboards.viewer.grafana.dashboard import parse_dashboard
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.panels.chart import chart_options
from dashboards.viewer.panels.field import configured
from dashboards.viewer.panels.frames import Answer, Frame


def panel_of(custom=None, overrides=(), **defaults):
    config = {"defaults": {"custom": custom or {}, **defaults}, "overrides": list(overrides)}
    return parse_dashboard({"title": "x", "panels": [{"type": "timeseries", "fieldConfig": config}]}).panels[0]


def options_of(panel, annotations=(), **series):
    frames = [Frame(configured(panel, name, "A"), {}, points, "A") for name, points in series.items()]
    return chart_options(panel, Answer(frames, (), (), Span(0, 10), 1.0, annotations), dark=True)


def values_of(options, place=0):
    return [value for _, value in options["series"][place]["data"]]


def test_shares_are_of_what_all_come_to_at_that_moment():
    options = options_of(panel_of({"stacking": {"mode": "percent"}}), a=[(1, 1.0), (2, 0.0)], b=[(1, 3.0), (2, 0.0)])
    assert (values_of(options, 0), values_of(options, 1)) == ([0.25, 0.0], [0.75, 0.0])
    assert (options["yAxis"][0]["min"], options["yAxis"][0]["max"]) == (0.0, 1.0)
    assert {line["stack"] for line in options["series"]} == {"all"}


def test_what_goes_out_is_drawn_downwards():
    turned = {
        "matcher": {"id": "byName", "options": "out"},
        "properties": [{"id": "custom.transform", "value": "negative-Y"}],
    }
    options = options_of(panel_of(overrides=[turned], min=0), out=[(1, 5.0)], into=[(1, 4.0)])
    assert (values_of(options, 0), values_of(options, 1)) == ([-5.0], [4.0])


def test_an_axis_of_bytes_has_ticks_at_powers_of_two():
    axis = options_of(panel_of(unit="bytes", min=0), a=[(1, 3.1e9)])["yAxis"][0]
    assert (axis["interval"], axis["max"]) == (2**30, 3 * 2**30)


def test_an_axis_of_what_is_counted_has_no_halves():
    assert options_of(panel_of(unit="none", min=0), a=[(1, 1.0)])["yAxis"][0]["minInterval"] == 1
    assert "minInterval" not in options_of(panel_of(unit="none", min=0), a=[(1, 1.5)])["yAxis"][0]


@pytest.mark.parametrize("custom", [{"drawStyle": "bars"}, {"stacking": {"mode": "normal"}}])
def test_bars_and_stacks_stand_on_zero(custom):
    assert options_of(panel_of(custom), a=[(1, 50.0), (2, 51.0)])["yAxis"][0]["scale"] is False


def test_a_chart_without_data_says_so_and_the_axis_of_annotations_takes_no_room():
    assert options_of(panel_of())["title"]["text"] == "No data in this range of time"
    options = options_of(panel_of(), annotations=[{"time": 3000, "text": "x"}], a=[(1, 1.0)])
    assert options["title"] == {"show": False}
    assert options["yAxis"][-1]["axisLabel"] == {"show": False}
