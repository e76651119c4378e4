import math

import pytest

from dashboards.viewer.grafana.dashboard import parse_dashboard
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.panels.field import configured
from dashboards.viewer.panels.frames import Answer, Frame
from dashboards.viewer.panels.heatmap import grid_of, heatmap_options
from dashboards.viewer.panels.histogram import bucket_size, histogram_options


def answer_of(panel, series):
    frames = [Frame(configured(panel, name, "A"), {"le": name}, points, "A") for name, points in series.items()]
    return Answer(frames, (), (), Span(0, 10), 1.0)


def panel_of(kind="heatmap", **options):
    defaults = {"unit": "s"}
    return parse_dashboard(
        {"title": "x", "panels": [{"type": kind, "options": options, "fieldConfig": {"defaults": defaults}}]}
    ).panels[0]


def test_classic_buckets_become_bands():
    panel = panel_of()
    buckets = {"+Inf": [(1.0, 10.0)], "0.1": [(1.0, 4.0)], "0.5": [(1.0, 9.0)], "1": [(1.0, 9.0)]}
    grid = grid_of(panel, answer_of(panel, buckets))
    assert list(grid.bands) == ["≤ 100 ms", "≤ 500 ms", "≤ 1 s", "more"]
    assert grid.cells == {(1, 0): 4.0, (1, 1): 5.0, (1, 3): 1.0}  # in the second of eleven columns
    assert len(heatmap_options(panel, answer_of(panel, buckets), dark=True)["series"][0]["data"]) == 3


def test_columns_cover_the_whole_range_as_the_charts_beside_do():
    grid = grid_of(panel_of(), answer_of(panel_of(), {"+Inf": [(3.0, 2.0)]}))
    assert list(grid.times) == [float(at) for at in range(11)]
    assert grid_of(panel_of(), answer_of(panel_of(), {})).times == []


def test_bands_above_and_below_all_that_came_are_left_out():
    panel = panel_of()
    counts = [0.0, 0.0, 0.0, 7.0, 7.0, 7.0, 7.0]
    bounds = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "+Inf"]
    grid = grid_of(panel, answer_of(panel, {b: [(1.0, c)] for b, c in zip(bounds, counts, strict=True)}))
    assert list(grid.bands) == ["≤ 300 ms", "≤ 400 ms", "≤ 500 ms"]
    assert grid.cells == {(1, 1): 7.0}


def test_values_that_are_no_buckets_are_counted_into_bands():
    panel = panel_of(calculate=True)
    grid = grid_of(panel, answer_of(panel, {"cart": [(1.0, 0.0), (2.0, 1.0), (3.0, math.nan)]}))
    assert sum(grid.cells.values()) == 2
    assert grid_of(panel, answer_of(panel, {})).highest == 0


@pytest.mark.parametrize(("low", "high", "count", "size"), [(0, 10, 10, 1), (0, 0.9, 30, 0.05), (5, 5, 30, 1)])
def test_histogram_buckets_are_round(low, high, count, size):
    assert bucket_size(low, high, count) == pytest.approx(size)


def test_histogram_counts_every_value_once():
    panel = panel_of("histogram", bucketSize=1, combine=False)
    options = histogram_options(
        panel, answer_of(panel, {"a": [(1.0, 0.2), (2.0, 0.9), (3.0, 1.0)], "b": [(1.0, 2.5)]}), dark=False
    )
    assert [one["data"] for one in options["series"]] == [[2, 1, 0], [0, 0, 1]]
