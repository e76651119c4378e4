"""The HTML page: whole in one file, and nothing of the reported text becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from remediation.drills import drawing, page
from remediation.drills.report import Drawn, Happening, Line, report_of


@pytest.fixture
def report(course, firing):
    course.inject()
    course.look(samples={"arrivals / 20.0": (3.0,), "p99": (1.8,)})
    course.run(4)
    course.look(alerts=(firing,))
    course.run(10)
    made = report_of(course.engine, 1_772_366_400_123, 1000.0, course.now)
    points = [(float(at), 0.1 if at < 0 else 1.8) for at in range(-10, 15)]
    drawn = [Drawn(title="latency", unit="s", series=[Line(name="p99", points=points), Line(name="p50", points=[])])]
    return made.model_copy(update={"charts": drawn})


class Reader(HTMLParser):
    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_it_tells_verdict_grades_and_each_event(report):
    text = " ".join(read(page.html(report)).text)
    for words in ("FAIL", "A surge", "time to detect", "Slow firing", "catalog", report.run, *report.reasons):
        assert words in text


def test_nothing_is_loaded_from_anywhere(report):
    html = page.html(report)
    assert {"script", "link", "img", "iframe"}.isdisjoint({tag for tag, _ in read(html).seen})
    assert not re.search(r"https?://|url\(|@import|src=|href=", html)


def test_it_knows_light_dark_and_paper(report):
    html = page.html(report)
    assert "prefers-color-scheme:dark" in html
    assert "@media print" in html


def test_reported_text_is_no_markup(report):
    evil = "<script>alert(1)</script>"
    hostile = report.model_copy(
        update={
            "title": evil,
            "description": evil,
            "reasons": [evil],
            "service": evil,
            "timeline": [Happening(at_s=1.0, kind='x"><b>', event=f"{evil} firing", detail=evil)],
            "charts": [Drawn(title=evil, unit="<b>", series=[Line(name=evil, points=[(0.0, 1.0)])])],
        }
    )
    reader = read(page.html(hostile))
    assert "script" not in {tag for tag, _ in reader.seen}
    assert "".join(reader.text).count(evil) >= 6


def test_alert_action_and_recovery_are_marked_where_they_were(report):
    marks = drawing.marks(report)
    assert [(mark.kind, mark.words) for mark in marks] == [("alert", "Slow")]
    svg = drawing.svg(report, report.charts[0])
    (x,) = (float(value) for value in re.findall(r'class="mk" x1="([\d.]+)"', svg))
    share = (marks[0].at_s + 10) / 24
    assert x == pytest.approx(drawing.LEFT + share * (drawing.WIDTH - drawing.LEFT - drawing.RIGHT), abs=0.1)


def test_a_moment_stands_at_the_same_place_in_every_chart(report):
    late = Drawn(title="late", series=[Line(name="a", points=[(6.0, 1.0), (14.0, 1.0)])])
    both = report.model_copy(update={"charts": [*report.charts, late]})
    places = {tuple(re.findall(r'class="mk" x1="([\d.]+)"', drawing.svg(both, chart))) for chart in both.charts}
    assert len(places) == 1
    assert places != {()}


def test_a_line_is_broken_where_there_is_no_sample(report):
    points = [(0.0, 1.0), (1.0, 1.0), (2.0, None), (3.0, 1.0), (4.0, 1.0), (20.0, 1.0), (21.0, 1.0)]
    svg = drawing.svg(report, Drawn(title="gaps", series=[Line(name="a", points=points)]))
    (path,) = re.findall(r'class="line" d="([^"]+)"', svg)
    assert path.count("M") == 3
    assert path.count("L") == 3


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.7, 1.0, 19.9, 99.0, 123456.0])
def test_the_scale_holds_the_highest_value(report, value):
    svg = drawing.svg(report, Drawn(title="scale", series=[Line(name="a", points=[(0.0, value), (5.0, 0.0)])]))
    (path,) = re.findall(r'class="line" d="M[\d.]+ ([\d.]+)', svg)
    assert drawing.TOP <= float(path) <= drawing.HEIGHT - drawing.BOTTOM


def test_a_chart_without_samples_says_so(report):
    assert "no samples" in drawing.svg(report, Drawn(title="none", series=[]))
