import json

import pytest

from dashboards.catalogue import DASHBOARDS, path_of
from dashboards.errors import DashboardError
from dashboards.viewer.grafana.dashboard import parse_dashboard
from dashboards.viewer.library import Library


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_our_dashboards_are_read_whole(name):
    dashboard = parse_dashboard(json.loads(path_of(name).read_text()))
    assert dashboard.panels
    targets = [target for panel in dashboard.panels for target in panel.targets]
    assert targets
    assert all(target.kind == "jaeger" or (target.kind == "prometheus" and target.expr) for target in targets)


def test_strangers_leavings_get_defaults():
    dashboard = parse_dashboard(
        {
            "dashboard": {
                "title": "old",
                "panels": [
                    {
                        "type": "row",
                        "panels": [{"type": "graph", "yaxes": [{"format": "bytes"}], "gridPos": {"w": "wide"}}],
                    },
                    None,
                    {"targets": [{"expr": "up", "hide": True}, {"expr": "up"}], "datasource": "Prometheus"},
                ],
                "templating": {"list": [{"name": "x", "query": {"query": "label_values(job)"}}, {}]},
            }
        }
    )
    row, graph, last = dashboard.panels
    assert (row.kind, graph.kind, graph.defaults["unit"], graph.width) == ("row", "timeseries", "bytes", 24)
    assert [target.expr for target in last.targets] == ["up"]
    assert [variable.query for variable in dashboard.variables] == ["label_values(job)"]


def test_rows_of_old_schemas_are_laid_out():
    dashboard = parse_dashboard(
        {
            "title": "older",
            "rows": [{"panels": [{"span": 6, "title": "a"}, {"span": 6, "title": "b"}, {"span": 12, "title": "c"}]}],
        }
    )
    assert [(panel.title, panel.x, panel.y, panel.width) for panel in dashboard.panels] == [
        ("a", 0, 0, 12),
        ("b", 12, 0, 12),
        ("c", 0, 7, 24),
    ]


@pytest.mark.parametrize("document", [None, [], "x", {}, {"title": "x"}, {"title": "x", "panels": {}}])
def test_what_is_no_dashboard_is_refused(document):
    with pytest.raises(DashboardError, match="needs a title and panels"):
        parse_dashboard(document)


def test_saved_dashboard_wins_and_gets_a_uid(tmp_path):
    library = Library(tmp_path)
    saved = library.save({"title": "My Own: Board!", "panels": []})
    assert saved.uid == "my-own-board"
    library.save({"title": "Mine now", "uid": "steersman-fleet", "panels": []})
    assert library.get("steersman-fleet").title == "Mine now"
    (tmp_path / "broken.json").write_text("{")
    assert {each.title for each in library.all()} >= {"My Own: Board!", "Mine now"}


@pytest.mark.parametrize("uid", ["../../etc/passwd", "a b", "x" * 41])
def test_uid_that_is_no_name_is_refused(tmp_path, uid):
    with pytest.raises(DashboardError, match="uid must be"):
        Library(tmp_path).save({"title": "x", "uid": uid, "panels": []})
    assert list(tmp_path.iterdir()) == []
