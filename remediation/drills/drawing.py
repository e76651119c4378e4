"""Charts as inline SVG: lines over the drill's time, with injection, alert, action and recovery marked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from typing import NamedTuple

from remediation.drills.report import Drawn, Report
from remediation.drills.tracker import Status

WIDTH, HEIGHT = 960, 232
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 60, 24  # around the plot: scale, names of the marks, and times
LABEL_ROWS = 2  # above the plot; a mark that finds no room there has its words as a tooltip
COLOURS = 8  # --s0 to --s7 of the page
MOST_MARKS = 24  # of one kind; a drill that flaps that often is told by its timeline
NARROW = 6.2  # pixels of a character of the labels, on average


class Mark(NamedTuple):
    at_s: float
    kind: str  # inject, alert, action, met: as the page's colours are named
    words: str


class Band(NamedTuple):
    from_s: float
    to_s: float


def marks(report: Report) -> list[Mark]:
    """
    When alerts fired, actions came, and what was graded as recovery was reached; by time. Of the alerts, those that the
    drill is about, or all if it is about none: what else fires stands in the timeline.
    """
    found = [Mark(each.at_s, "action", each.event) for each in report.timeline if each.kind == "action"]
    fired = [each for each in report.timeline if each.kind == "alert" and each.event.endswith(" firing")]
    alerts = [Mark(each.at_s, "alert", each.event.removesuffix(" firing")) for each in fired]
    wanted = " ".join(each.wanted for each in report.expectations)
    found += [mark for mark in alerts if mark.words in wanted] or alerts
    for each in report.expectations:
        recovers = any(
            g.expectation == each.name and g.grade in ("recover", "return", "resolve") for g in report.grades
        )
        if recovers and each.status is Status.MET and each.began_s is not None and each.took_s is not None:
            found.append(Mark(each.began_s + each.took_s, "met", each.name))
    return sorted(found)[:MOST_MARKS]


def band(report: Report) -> Band | None:
    """When the injection was in force."""
    if report.injected_at_unix_ms is None:
        return None
    ended = report.injection_ended_at_unix_ms
    over_s = report.started_at_unix_ms / 1000 + report.duration_s - report.injected_at_unix_ms / 1000
    return Band(0.0, over_s if ended is None else (ended - report.injected_at_unix_ms) / 1000)


def svg(report: Report, chart: Drawn) -> str:
    points = [point for line in chart.series for point in line.points]
    values = [value for _, value in points if value is not None]
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">'
    title = f'<text class="t" x="0" y="14">{escape(chart.title)}</text>'
    if not values:
        return f'{head}{title}<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">no samples</text></svg>'
    # All charts of a report over the same time, so that a moment stands at the same place in each.
    times = [at for each in (*report.charts, chart) for line in each.series for at, _ in line.points]
    low_s, high_s = min(times), max(times)
    frame = _Frame(low_s, max(high_s, low_s + 1.0), _ceiling(max(values)))
    parts = [head, title, "".join(_names(chart)), _band(report, frame), "".join(_scale(frame, chart.unit))]
    parts += [_line(frame, index, line.points) for index, line in enumerate(chart.series)]
    parts += _marks(report, frame)
    return "".join(parts) + "</svg>"


class _Frame(NamedTuple):
    low_s: float
    high_s: float
    top: float  # the value at the upper edge; 0 is at the lower

    def x(self, at_s: float) -> float:
        share = (at_s - self.low_s) / (self.high_s - self.low_s)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - max(0.0, value) / self.top * (HEIGHT - TOP - BOTTOM)


def _ceiling(value: float) -> float:
    """The next of 1, 2, 3, 4, 5, 6, 8 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10, 20) if step * power >= value * 1.02)


def _ticks(top: float) -> list[float]:
    leading = top / 10.0 ** math.floor(math.log10(top) + 1e-9)
    if top in (1, 2):
        return [float(n) for n in range(int(top) + 1)]  # replicas come whole
    parts = {1: 4, 2: 4, 3: 3, 4: 4, 5: 5, 6: 3, 8: 4}.get(round(leading), 4)
    return [top * n / parts for n in range(parts + 1)]


def _scale(frame: _Frame, unit: str) -> Iterator[str]:
    for value in _ticks(frame.top):
        y = frame.y(value)
        look = "axis" if value == 0 else "g"
        yield f'<line class="{look}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        shown = f"{value:g}" + (escape(unit) if value else "")
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
    span = frame.high_s - frame.low_s
    step = next((s for s in (5, 10, 20, 30, 60, 120, 300, 600) if span / s <= 11), 1200)
    for n in range(math.ceil(frame.low_s / step), math.floor(frame.high_s / step) + 1):
        yield f'<text x="{frame.x(n * step):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{n * step:g} s</text>'


def _names(chart: Drawn) -> Iterator[str]:
    """Which line is which, at the right of the title; a single line is told by the title."""
    if len(chart.series) < 2:
        return
    x = float(WIDTH - RIGHT)
    for index, line in reversed(list(enumerate(chart.series))):
        x -= NARROW * len(line.name) + 18
        yield f'<rect x="{x:.0f}" y="8" width="12" height="3" rx="1.5" fill="var(--s{index % COLOURS})"/>'
        yield f'<text x="{x + 17:.0f}" y="14">{escape(line.name)}</text>'
        x -= 16


def _band(report: Report, frame: _Frame) -> str:
    shown = band(report)
    if shown is None:
        return ""
    left, right = frame.x(shown.from_s), frame.x(shown.to_s)
    return f'<rect class="band" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'


def _line(frame: _Frame, index: int, points: list[tuple[float, float | None]]) -> str:
    """Broken where there is no sample."""
    path, pen_down = [], False
    longest = 3 * min((b[0] - a[0] for a, b in pairwise(points)), default=1.0)
    previous_s = -math.inf
    for at, value in points:
        if value is None:
            pen_down = False
            continue
        pen_down = pen_down and at - previous_s <= longest
        path.append(f"{'L' if pen_down else 'M'}{frame.x(at):.1f} {frame.y(value):.1f}")
        pen_down, previous_s = True, at
    return f'<path class="line" d="{"".join(path)}" stroke="var(--s{index % COLOURS})"/>'


def _marks(report: Report, frame: _Frame) -> Iterator[str]:
    free_from = [float(LEFT)] * LABEL_ROWS
    for mark in marks(report):
        if not frame.low_s <= mark.at_s <= frame.high_s:
            continue
        x = frame.x(mark.at_s)
        colour = f"var(--{mark.kind})"
        yield f'<line class="mk" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="{colour}"/>'
        yield (
            f'<path d="M{x - 5:.1f} {TOP - 7}h10l-5 7z" fill="{colour}">'
            f"<title>{escape(mark.words)}, {mark.at_s:+.1f} s</title></path>"
        )
        width = NARROW * len(mark.words)
        left = min(x - 4, WIDTH - RIGHT - width)
        row = next((row for row in range(LABEL_ROWS) if left >= free_from[row]), None)
        if row is not None and width < WIDTH / 3:
            y = TOP - 11 - 14 * row
            yield f'<text x="{left:.1f}" y="{y}" style="fill:{colour}">{escape(mark.words)}</text>'
            free_from[row] = left + width + 10
