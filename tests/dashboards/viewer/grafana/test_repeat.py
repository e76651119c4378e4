from dashboards.viewer.grafana.dashboard import parse_dashboard
from dashboards.viewer.grafana.repeat import repeated


def panels_of(*panels):
    found = []
    for number, (kind, x, y, width, height, more) in enumerate(panels):
        found.append(
            {
                "id": number,
                "type": kind,
                "title": str(number),
                "gridPos": {"x": x, "y": y, "w": width, "h": height},
                **more,
            }
        )
    return parse_dashboard({"title": "x", "panels": found}).panels


def places(scoped):
    return [(one.panel.title, one.panel.x, one.panel.y, one.panel.width, dict(one.scope)) for one in scoped]


def test_panel_is_repeated_across_and_what_is_below_moves_down():
    panels = panels_of(("stat", 0, 0, 24, 4, {"repeat": "job", "maxPerRow": 2}), ("stat", 0, 4, 24, 4, {}))
    assert places(repeated(panels, {"job": ["a", "b", "c"]})) == [
        ("0", 0, 0, 12, {"job": ["a"]}),
        ("0", 12, 0, 12, {"job": ["b"]}),
        ("0", 0, 4, 12, {"job": ["c"]}),
        ("1", 0, 8, 24, {}),
    ]


def test_panel_is_repeated_downwards():
    panels = panels_of(("stat", 6, 0, 6, 4, {"repeat": "job", "repeatDirection": "v"}), ("stat", 0, 4, 24, 4, {}))
    assert places(repeated(panels, {"job": ["a", "b"]})) == [
        ("0", 6, 0, 6, {"job": ["a"]}),
        ("0", 6, 4, 6, {"job": ["b"]}),
        ("1", 0, 8, 24, {}),
    ]


def test_row_is_repeated_with_what_stands_in_it():
    panels = panels_of(
        ("row", 0, 0, 24, 1, {"repeat": "job"}),
        ("stat", 0, 1, 12, 4, {}),
        ("row", 0, 5, 24, 1, {}),
        ("stat", 0, 6, 12, 4, {}),
    )
    assert places(repeated(panels, {"job": ["a", "b"]})) == [
        ("0", 0, 0, 24, {"job": ["a"]}),
        ("1", 0, 1, 12, {"job": ["a"]}),
        ("0", 0, 5, 24, {"job": ["b"]}),
        ("1", 0, 6, 12, {"job": ["b"]}),
        ("2", 0, 10, 24, {}),
        ("3", 0, 11, 12, {}),
    ]


def test_without_a_value_the_panel_stands_once():
    panels = panels_of(("stat", 0, 0, 24, 4, {"repeat": "job"}))
    assert places(repeated(panels, {})) == [("0", 0, 0, 24, {})]


def test_nothing_gapes_where_a_dashboard_left_rows_empty():
    panels = panels_of(
        ("stat", 0, 3, 12, 4, {}), ("stat", 12, 9, 12, 2, {}), ("row", 0, 30, 24, 1, {}), ("stat", 0, 31, 6, 2, {})
    )
    assert places(repeated(panels, {})) == [
        ("0", 0, 0, 12, {}),
        ("1", 12, 0, 12, {}),
        ("2", 0, 4, 24, {}),
        ("3", 0, 5, 6, {}),
    ]
