from dashboards.viewer.grafana.dashboard import parse_dashboard
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.panels.field import configured, mapped
from dashboards.viewer.panels.frames import Frame
from dashboards.viewer.panels.states import drawn, stretches

WORDS = [
    {"type": "value", "options": {"0": {"text": "down", "color": "red"}, "1": {"text": "up <b>", "color": "#0f0"}}}
]


def frame_of(points):
    panel = parse_dashboard(
        {"title": "x", "panels": [{"type": "state-timeline", "fieldConfig": {"defaults": {"mappings": WORDS}}}]}
    ).panels[0]
    return Frame(configured(panel, "cart-1", "A"), {}, points, "A")


def test_equal_states_are_one_stretch_and_a_gap_parts_them():
    frame = frame_of([(0.0, 1.0), (1.0, 1.0), (2.0, 0.0), (3.0, 1.0), (9.0, 1.0)])
    found = [(one.start, one.end, one.text) for one in stretches(frame, Span(0, 20), 1.0)]
    assert found == [(0.0, 2.0, "up <b>"), (2.0, 3.0, "down"), (3.0, 4.0, "up <b>"), (9.0, 10.0, "up <b>")]


def test_status_history_keeps_every_cell():
    assert len(stretches(frame_of([(0.0, 1.0), (1.0, 1.0)]), Span(0, 2), 1.0, merge=False)) == 2


def test_words_are_escaped_and_colours_are_explained():
    html = drawn([frame_of([(0.0, 1.0), (1.0, 1.0)])], Span(0, 2), 1.0, history=False)
    assert "up <b>" not in html
    assert "up &lt;b&gt;" in html
    assert 'style="background:#0f0"' in html
    assert "No data" in drawn([], Span(0, 2), 1.0, history=True)


def test_mappings_know_text_ranges_patterns_and_special_values():
    mappings = [
        {"type": "value", "options": {"FIRING": {"text": "fires", "color": "red"}}},
        {"type": "range", "options": {"from": 1, "to": 2, "result": {"text": "some"}}},
        {"type": "regex", "options": {"pattern": "^cart-", "result": {"text": "a cart"}}},
        {"type": "special", "options": {"match": "null+nan", "result": {"text": "nothing"}}},
    ]
    values = ["FIRING", 1.5, "cart-2", None, float("nan"), 3.0]
    assert [mapped(value, {"mappings": mappings})[0] for value in values] == [
        "fires",
        "some",
        "a cart",
        "nothing",
        "nothing",
        None,
    ]
