import pytest

from dashboards.viewer.grafana.legacy import modern


def test_a_graph_is_a_time_series_with_its_axis_legend_and_overrides():
    panel = modern(
        {
            "type": "graph",
            "title": "t",
            "stack": True,
            "percentage": True,
            "fill": 3,
            "legend": {"show": True, "values": True, "current": True, "avg": True},
            "yaxes": [{"format": "bytes", "min": "0", "max": "", "logBase": 2}, {"format": "ops"}],
            "seriesOverrides": [{"alias": "/out/", "transform": "negative-Y", "yaxis": 2}, {"alias": "x"}, {}],
        }
    )
    assert (panel["type"], panel["title"]) == ("timeseries", "t")
    defaults = panel["fieldConfig"]["defaults"]
    assert (defaults["unit"], defaults["min"], "max" in defaults) == ("bytes", 0.0, False)
    assert defaults["custom"]["stacking"] == {"mode": "percent"}
    assert defaults["custom"]["scaleDistribution"] == {"type": "log", "log": 2}
    assert panel["options"]["legend"] == {"showLegend": True, "calcs": ["mean", "lastNotNull"]}
    (override,) = panel["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byRegexp", "options": "/out/"}
    assert {each["id"]: each["value"] for each in override["properties"]} == {
        "custom.axisPlacement": "right",
        "unit": "ops",
        "custom.transform": "negative-Y",
    }


@pytest.mark.parametrize(("gauge", "kind"), [({"show": True, "minValue": 1, "maxValue": 9}, "gauge"), ({}, "stat")])
def test_a_singlestat_is_a_stat_or_a_gauge_with_its_thresholds_and_words(gauge, kind):
    panel = modern(
        {
            "type": "singlestat",
            "format": "percent",
            "valueName": "current",
            "colorValue": True,
            "thresholds": "10, 20",
            "colors": ["a", "b", "c"],
            "gauge": gauge,
            "valueMaps": [{"value": "1", "text": "up"}, {"value": "null", "text": "N/A"}],
        }
    )
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["type"] == kind
    assert panel["options"]["reduceOptions"] == {"calcs": ["lastNotNull"]}
    assert [(step["value"], step["color"]) for step in defaults["thresholds"]["steps"]] == [
        (None, "a"),
        (10.0, "b"),
        (20.0, "c"),
    ]
    assert defaults["mappings"][0] == {"type": "value", "options": {"1": {"text": "up"}}}
    assert defaults["mappings"][1]["options"]["match"] == "null"
    assert (defaults.get("min"), defaults.get("max")) == ((1.0, 9.0) if gauge else (None, None))


def test_an_old_table_becomes_one_with_transformations_and_its_styles_become_overrides():
    panel = modern(
        {
            "type": "table",
            "transform": "timeseries_aggregations",
            "columns": [{"value": "current"}, {"value": "max"}],
            "styles": [
                {"pattern": "Time", "type": "hidden"},
                {"pattern": "/.*/", "type": "number", "unit": "s", "decimals": 2, "alias": "Took"},
            ],
        }
    )
    assert panel["transformations"] == [{"id": "reduce", "options": {"reducers": ["lastNotNull", "max"]}}]
    hidden, number = panel["fieldConfig"]["overrides"]
    assert hidden["properties"] == [{"id": "custom.hidden", "value": True}]
    assert {each["id"] for each in number["properties"]} == {"displayName", "unit", "decimals"}


@pytest.mark.parametrize("panel", [{"type": "timeseries"}, {"type": "table", "options": {}}, {"type": "geomap"}, {}])
def test_what_is_not_old_stays_as_it_is(panel):
    assert modern(panel) is panel


@pytest.mark.parametrize("kind", ["graph", "singlestat", "table-old", "grafana-piechart-panel"])
@pytest.mark.parametrize("junk", [None, 3, "x", [1], {"a": []}])
def test_leavings_of_any_shape_do_no_harm(kind, junk):
    names = ("yaxes", "legend", "seriesOverrides", "gauge", "thresholds", "colors", "valueMaps", "styles", "columns")
    assert modern({"type": kind, **dict.fromkeys(names, junk)})["type"] != kind
