"""What pages are made of: pure functions from what peers say to what is shown."""

from __future__ import annotations

import pytest

from dashboards.errors import SettingsError
from dashboards.viewer.auth.roles import Role
from dashboards.viewer.pages import drill_report, record
from dashboards.viewer.pages.alert_rule import Episode, episodes
from dashboards.viewer.pages.rule_outcomes import alerts_of
from dashboards.viewer.pages.silences import matcher_text, of_labels, parse_matchers
from dashboards.viewer.panels.marked_chart import Band, Mark, marked_chart, with_gaps
from dashboards.viewer.peers.prometheus import Series
from dashboards.viewer.settings import Settings

T1, T2 = "a" * 32, "b" * 32
BEGAN = 1_700_000_000_000
RECORD = {
    "id": "r1",
    "service": "catalog",
    "alertname": "Slow",
    "state": "verifying",
    "started_at_unix_ms": BEGAN,
    "finished_at_unix_ms": None,
    "policy": "scale",
    "alert": {
        "labels": {"alertname": "Slow", "x": "<script>alert(1)</script>"},
        "annotations": {"summary": "<b>slow</b>", "trace_ids": f"{T1},{T2}"},
        "startsAt": "2023-11-14T22:13:19Z",
    },
    "actions": [
        {"action": "scale_out", "target": "catalog", "from": 1, "to": 3, "at_unix_ms": BEGAN + 500, "status": "done"}
    ],
    "timeline": [
        {"at_unix_ms": BEGAN, "event": "accepted", "detail": "<i>x</i>"},
        {"at_unix_ms": BEGAN + 900, "event": "traces", "detail": f"http://127.0.0.1:16686/trace/{T1} http://x/y"},
        {"at_unix_ms": BEGAN + 9000, "event": "verified", "detail": "held"},
    ],
    "evidence": [
        {"name": "p99", "query": "p99{}", "value": 2.5, "at_unix_ms": BEGAN + 400},
        {"name": "slowest traces", "query": "q", "value": [T2, T1], "at_unix_ms": BEGAN + 400},
        {"name": "recent changes", "value": ["deploy v2"], "at_unix_ms": BEGAN + 400},
        {"name": "p99", "query": "p99{}", "value": 0.2, "at_unix_ms": BEGAN + 9000},
    ],
    "outcome": None,
}


def test_a_record_tells_its_times_from_the_alert_on():
    shown = record.heading(RECORD)
    assert "+1.5 s" in shown  # first action: half a second after a run that began one after the alert
    assert "At work" in shown


def test_a_critical_path_is_told_in_seconds():
    path = {"name": "critical path", "query": T1, "value": {"checkout: POST payment": 1.503749, "x: <b>": 0.08}}
    shown = record.noted({"evidence": [path]})
    assert "checkout: POST payment 1.5 s" in shown
    assert "x: &lt;b&gt; 80 ms" in shown


def test_evidence_is_a_table_of_measures_by_moment_with_the_first_before():
    shown = record.evidence(RECORD)
    assert shown.index("before") < shown.index("+9.0 s")
    assert shown.index("2.5") < shown.index("0.2")
    assert shown.count("<tr>") == 2
    assert T1 not in shown
    assert "deploy v2" in record.noted(RECORD)
    assert record.measured(RECORD) == [("p99", "p99{}")]


def test_traces_are_those_of_the_alert_and_the_evidence_once_and_lead_to_our_page():
    shown = record.traces(RECORD)
    assert shown.count("/trace/") == 2
    assert f"/compare?a={T1}&b={T2}" in shown
    timeline = record.timeline(RECORD)
    assert f'href="/trace/{T1}"' in timeline
    assert "127.0.0.1" not in timeline


def test_nothing_that_a_peer_says_becomes_markup():
    whole = "".join(
        part(RECORD)
        for part in (record.heading, record.timeline, record.actions, record.evidence, record.alert, record.traces)
    )
    for text in ("<script>", "<b>slow", "<i>x"):
        assert text not in whole


@pytest.mark.parametrize("missing", [*RECORD, None])
def test_a_record_that_still_grows_is_shown_all_the_same(missing):
    grown = {key: value for key, value in RECORD.items() if missing is not None and key != missing}
    for part in (record.heading, record.timeline, record.actions, record.evidence, record.alert, record.traces):
        assert isinstance(part(grown), str)
    assert record.span_ms(grown)[0] < record.span_ms(grown)[1]


def test_a_question_is_open_only_while_the_run_waits_for_it():
    asked = {**RECORD, "state": "awaiting_approval", "approvals": [{"question": "May I?", "verdict": None}]}
    assert record.open_question(asked) == "May I?"
    assert record.open_question({**asked, "state": "acting"}) is None


def test_a_report_marks_the_first_alert_the_actions_and_what_is_graded():
    report = {
        "grades": [
            {"grade": "act", "expectation": "scaled", "took_s": 0.4, "aim_s": 1, "deadline_s": 5, "status": "met"}
        ],
        "timeline": [
            {"at_s": 1, "kind": "alert", "event": "Slow pending"},
            {"at_s": 3, "kind": "alert", "event": "Slow firing"},
            {"at_s": 4, "kind": "alert", "event": "Errors firing"},
            {"at_s": 5, "kind": "action", "event": "scale_out catalog"},
            {"at_s": 6, "kind": "met", "event": "scaled"},
            {"at_s": 7, "kind": "met", "event": "something else"},
        ],
        "injected_at_unix_ms": BEGAN,
        "injection_ended_at_unix_ms": BEGAN + 30_000,
    }
    assert [mark.at for mark in drill_report.marks(report)] == [3, 5, 6]
    assert [(band.start, band.end) for band in drill_report.injection_band(report)] == [(0, 30)]
    assert "0.40 s" in drill_report.grades(report)
    assert drill_report.injection_band({}) == []


def test_matchers_are_read_and_written_as_alertmanager_has_them():
    text = 'alertname="High \\"x\\"", service=~"cart|catalog" team!="a" job!~"b.*"'
    found = parse_matchers(f"{{{text}}}")
    assert [(one["name"], one["value"], one["isRegex"], one["isEqual"]) for one in found] == [
        ("alertname", 'High "x"', False, True),
        ("service", "cart|catalog", True, True),
        ("team", "a", False, False),
        ("job", "b.*", True, False),
    ]
    assert parse_matchers(", ".join(map(matcher_text, found))) == found
    assert parse_matchers(of_labels({"a": "x\\y", "severity": "page"}))[0]["value"] == "x\\y"


@pytest.mark.parametrize("text", ["", "{}", "alertname", 'a="b', 'a="b" ]', "a=b", '="x"', 'a="b""c"'])
def test_what_is_no_matcher_is_refused_with_its_place(text):
    with pytest.raises(ValueError, match=r"expected|needs a matcher"):
        parse_matchers(text)


def test_a_gap_ends_an_episode_and_begins_another():
    points = [(float(at), 1.0) for at in (10, 11, 12, 30, 31)]
    series = [Series({"__name__": "ALERTS", "alertname": "Slow", "alertstate": "firing", "job": "cart"}, points)]
    assert episodes(series, 1.0) == [
        Episode((("job", "cart"),), "firing", 30.0, 32.0),
        Episode((("job", "cart"),), "firing", 10.0, 13.0),
    ]
    assert episodes([], 1.0) == []


def test_alerts_are_read_from_a_text_that_is_still_written():
    assert alerts_of("groups: [{name: g, rules: [{alert: A}, {record: r}, {alert: B}, {alert: A}]}]") == ["A", "B"]
    for text in (
        "",
        "groups:",
        "groups: [",
        "groups: 3",
        "groups: [3]",
        "groups: [{rules: [3, {alert: }]}]",
        "a: &a *a",
    ):
        assert alerts_of(text) == []


def test_no_line_is_drawn_over_what_was_not_measured():
    assert with_gaps([(1, 1.0), (2, 2.0), (9, 3.0)], 1.0) == [(1, 1.0), (2, 2.0), (3.0, None), (9, 3.0)]


def test_a_chart_carries_marks_bands_and_thresholds_and_no_number_that_is_none():
    options = marked_chart(
        [("a", [(0, 1.0), (1, float("nan")), (2, None)])],
        unit="s",
        dark=True,
        clock=False,
        marks=[Mark(1, "act", "red")],
        bands=[Band(0, 2, "blue")],
        thresholds=[0.5],
    )
    line = options["series"][0]
    assert line["data"] == [[0, 1.0], [1, None], [2, None]]
    assert [one.get("xAxis", one.get("yAxis")) for one in line["markLine"]["data"]] == [1, 0.5]
    assert len(line["markArea"]["data"]) == 1


@pytest.fixture
def environment(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    return {"VIEWER_DATA_DIR": str(tmp_path), "VIEWER_TOKEN_FILE": str(token)}


@pytest.mark.parametrize(
    ("more", "anonymous", "hosts"),
    [
        ({}, Role.VIEWER, ("127.0.0.1", "localhost", "::1")),
        ({"HOST": "0.0.0.0"}, None, ()),
        ({"VIEWER_ANONYMOUS_ROLE": "none"}, None, ("127.0.0.1", "localhost", "::1")),
        ({"HOST": "0.0.0.0", "VIEWER_ALLOWED_HOSTS": "Ops.Example, x"}, None, ("ops.example", "x")),
    ],
)
def test_reading_is_open_on_this_machine_and_closed_where_others_can_reach_it(environment, more, anonymous, hosts):
    settings = Settings.from_environment(environment | more)
    assert (settings.anonymous, settings.allowed_hosts) == (anonymous, hosts)
    assert "secret" not in repr(settings)


def test_nobody_can_be_more_than_a_viewer_without_signing_in(environment):
    with pytest.raises(SettingsError, match="viewer or none"):
        Settings.from_environment(environment | {"VIEWER_ANONYMOUS_ROLE": "admin"})
