"""
A backtest as a picture: for every rule that did something, its value with the threshold, and its states over time.

Plain SVG that stands alone, in a browser, a report or a pull request; colours differ in lightness too, so that they can
be told apart in print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np
from numpy.typing import NDArray

from collector.errors import CollectorError
from collector.gotemplate.goformat import format_float
from collector.model.alert import ALERT_NAME
from collector.model.duration import format_duration
from collector.model.series import METRIC_NAME, Labels, is_absent
from collector.rules.backtest.replay import Replay, Window
from collector.rules.backtest.result import Result, title
from collector.rules.backtest.threshold import Comparison, comparison
from collector.rules.backtest.timeline import Episode
from collector.rules.remote import Grid, Table

WIDTH = 1080
LEFT, RIGHT = 230, 24  # margins of the plots: labels of rows stand left
PLOT = WIDTH - LEFT - RIGHT
CHART = 120  # height of a value's plot
ROW, BAR = 22, 12
MAX_RULES = 30
MAX_ROWS = 12  # label sets of one rule
MAX_LINES = 8  # series of one plot
MAX_POINTS = 11_000  # one question to the peer
TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)

_FIRING, _PENDING, _TODAY, _TODAY_PENDING = "#c62828", "#f2b134", "#607d8b", "#b9c7ce"
_LINES = ("#1565c0", "#2e7d32", "#6a1b9a", "#00838f", "#5d4037", "#ad1457", "#37474f", "#9e9d24")
_STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #263238 }
.title { font-size: 18px; font-weight: 600 } .rule { font-size: 14px; font-weight: 600 }
.soft { fill: #607d8b } .mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 11px }
.grid { stroke: #e3e8eb } .frame { fill: none; stroke: #cfd8dc } .threshold { stroke: #c62828; stroke-dasharray: 5 4 }
.halo { paint-order: stroke; stroke: #ffffff; stroke-width: 3px }
.line { fill: none; stroke-width: 1.5; stroke-linejoin: round }
"""


def draw(results: Sequence[Result], replay: Replay) -> str:
    """The picture. Values are asked for anew; a rule whose values cannot be had is drawn without them."""
    shown = [one for one in results if one.replayed.episodes or (one.today and one.today.episodes)][:MAX_RULES]
    canvas = _Canvas(replay.window)
    canvas.heading(results, len(shown))
    for result in shown:
        canvas.rule(result, _values(result, replay))
    return canvas.svg()


Values = tuple[Comparison, Grid, Table]


def _values(result: Result, replay: Replay) -> Values | None:
    compared = comparison(result.replayed.rule.expr)
    if compared is None:
        return None
    window, interval_ms = replay.window, result.replayed.interval_ms
    grid = replay.grid(result.replayed.group, window.from_ms)
    coarser = math.ceil(grid.count / MAX_POINTS)
    grid = Grid(grid.start_ms, interval_ms * coarser, max(1, grid.count // coarser))
    try:
        return (
            compared,
            grid,
            replay.expressions.over(compared.expr, grid.shifted(-result.replayed.group.query_offset_ms)),
        )
    except CollectorError as error:
        replay.notice(f"{result.replayed.rule.name}: no values in the picture: {error}")
        return None


class _Canvas:
    def __init__(self, window: Window) -> None:
        self._window = window
        self._parts: list[str] = []
        self._y = 0.0

    def svg(self) -> str:
        height = round(self._y + 24)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            f'role="img" aria-label="Backtest of alerting rules">\n<style>{_STYLE}</style>\n'
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(self._parts) + "\n</svg>\n"
        )

    def _text(self, x: float, y: float, text: str, *, kind: str = "", anchor: str = "") -> None:
        kind = f' class="{kind}"' if kind else ""
        anchor = f' text-anchor="{anchor}"' if anchor else ""
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}"{kind}{anchor}>{escape(text)}</text>')

    def _x(self, unix_ms: float) -> float:
        span = self._window.to_ms - self._window.from_ms
        return LEFT + PLOT * min(1.0, max(0.0, (unix_ms - self._window.from_ms) / span))

    # Parts, from the top

    def heading(self, results: Sequence[Result], shown: int) -> None:
        window = self._window
        self._text(24, 36, "What these rules would have done", kind="title")
        span = format_duration((window.to_ms - window.from_ms) // 1000 * 1000)
        self._text(24, 56, f"{_moment(window.from_ms)} to {_moment(window.to_ms)} UTC ({span})", kind="soft")
        fired = sum(one.summary.fired for one in results)
        quiet = len(results) - shown
        self._text(24, 74, f"{len(results)} rules, {fired} firings; {quiet} rules not drawn", kind="soft")
        x = WIDTH - RIGHT - 350
        for colour, name in ((_PENDING, "pending"), (_FIRING, "firing"), (_TODAY, "today's rule firing")):
            self._parts.append(f'<rect x="{x}" y="46" width="22" height="{BAR}" rx="2" fill="{colour}"/>')
            self._text(x + 28, 56, name)
            x += 100
        self._y = 92

    def rule(self, result: Result, values: Values | None) -> None:
        rule = result.replayed.rule
        self._parts.append(f'<line x1="24" x2="{WIDTH - RIGHT}" y1="{self._y:.1f}" y2="{self._y:.1f}" class="grid"/>')
        self._y += 24
        self._text(24, self._y, _shortened(title(result), 70), kind="rule")
        self._text(WIDTH - RIGHT, self._y, _counts(result), kind="soft", anchor="end")
        self._y += 17
        waits = f"for {format_duration(rule.for_ms)}"
        if rule.keep_firing_for_ms:
            waits += f", keep firing for {format_duration(rule.keep_firing_for_ms)}"
        self._text(24, self._y, f"{_shortened(rule.expr, 118)}   ({waits})", kind="soft mono")
        self._y += 12
        if values is not None and len(values[2].labels):
            self._chart(*values)
        self._states(result)
        self._axis()
        self._y += 16

    def _chart(self, compared: Comparison, grid: Grid, table: Table) -> None:
        top = self._y
        rows = _loudest(table)
        common = _common(table.labels)
        scale = _Scale.of([table.values[row] for row in rows], compared.threshold, top)
        for value in scale.ticks():
            y = scale.y(value)
            self._parts.append(f'<line x1="{LEFT}" x2="{LEFT + PLOT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            self._text(LEFT - 8, y + 4, format_float(value), kind="soft", anchor="end")
        self._parts.append(f'<rect x="{LEFT}" y="{top:.1f}" width="{PLOT}" height="{CHART}" class="frame"/>')
        for position, row in enumerate(rows):
            colour = _LINES[position % len(_LINES)]
            for path in self._paths(grid.times_ms, table.values[row], scale):
                self._parts.append(f'<path d="{path}" class="line" stroke="{colour}"/>')
            name = _labels_text(_distinct(table.labels[row], common)) or "value"
            self._text(38, top + 14 + 15 * position, _shortened(name, 24))
            self._parts.append(f'<rect x="24" y="{top + 5 + 15 * position:.1f}" width="8" height="8" fill="{colour}"/>')
        y = scale.y(compared.threshold)
        self._parts.append(f'<line x1="{LEFT}" x2="{LEFT + PLOT}" y1="{y:.1f}" y2="{y:.1f}" class="threshold"/>')
        limit = f"{compared.operator} {format_float(compared.threshold)}"
        self._text(LEFT + PLOT - 4, y - 4, limit, kind="soft halo", anchor="end")
        self._y = top + CHART + 8

    def _paths(self, times_ms: NDArray[np.int64], values: NDArray[np.float64], scale: _Scale) -> Iterator[str]:
        """One path for each unbroken run; of the points that share a pixel, the lowest and the highest."""
        drawable = ~is_absent(values) & np.isfinite(values)
        columns = ((times_ms - self._window.from_ms) * PLOT // (self._window.to_ms - self._window.from_ms)).astype(int)
        breaks = np.flatnonzero(np.diff(np.flatnonzero(np.concatenate(([True], ~drawable, [True])))) > 1)
        edges = np.flatnonzero(np.concatenate(([True], ~drawable, [True])))
        for at in breaks.tolist():
            run = slice(int(edges[at]), int(edges[at + 1]) - 1)
            points = list(_thinned(columns[run], times_ms[run], values[run]))
            if len(points) == 1:  # a lone point would be invisible
                points.append((points[0][0] + (self._window.to_ms - self._window.from_ms) // PLOT, points[0][1]))
            yield "M" + "L".join(f"{self._x(at_ms):.1f},{scale.y(value):.1f}" for at_ms, value in points)

    def _states(self, result: Result) -> None:
        rows = _by_labels(result.replayed.episodes)
        today = _by_labels(result.today.episodes if result.today else ())
        own = {ALERT_NAME, *(name for name, _ in result.replayed.rule.labels)}
        every = sorted(rows.keys() | today.keys())
        common = _common(every)
        for labels in every[:MAX_ROWS]:
            shown = tuple(pair for pair in _distinct(labels, common) if pair[0] not in own)
            self._text(LEFT - 8, self._y + 11, _shortened(_labels_text(shown) or "alert", 29), anchor="end")
            height = ROW if result.today is None else ROW + 8
            self._bars(rows.get(labels, []), self._y + 1, BAR, (_PENDING, _FIRING))
            if result.today is not None:
                self._bars(today.get(labels, []), self._y + 1 + BAR + 2, 6, (_TODAY_PENDING, _TODAY))
            self._y += height
        if len(every) > MAX_ROWS:
            self._text(LEFT, self._y + 11, f"and {len(every) - MAX_ROWS} more label sets", kind="soft")
            self._y += ROW

    def _bars(self, episodes: Iterable[Episode], y: float, height: int, colours: tuple[str, str]) -> None:
        self._parts.append(f'<rect x="{LEFT}" y="{y:.1f}" width="{PLOT}" height="{height}" fill="#f4f6f7"/>')
        for one in episodes:
            ended = self._window.to_ms if one.ended_at_ms is None else one.ended_at_ms
            fired = ended if one.fired_at_ms is None else one.fired_at_ms
            for begin, end, colour in ((one.active_at_ms, fired, colours[0]), (fired, ended, colours[1])):
                x, width = self._x(begin), self._x(end) - self._x(begin)
                if end <= begin:
                    continue
                title = escape(_told(one))
                self._parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.0):.1f}" height="{height}" fill="{colour}">'
                    f"<title>{title}</title></rect>"
                )

    def _axis(self) -> None:
        window = self._window
        span_s = (window.to_ms - window.from_ms) / 1000
        step_s = next((step for step in TICK_STEPS_S if span_s / step <= 10), math.ceil(span_s / 10 / 86_400) * 86_400)
        step_ms = step_s * 1000
        for at_ms in range(-(-window.from_ms // step_ms) * step_ms, window.to_ms + 1, step_ms):
            x = self._x(at_ms)
            self._parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{self._y:.1f}" y2="{self._y + 4:.1f}" class="frame"/>'
            )
            shown = _moment(at_ms)
            self._text(
                x,
                self._y + 16,
                shown[11:] if step_s < 60 else shown[11:16] if step_s < 86_400 else shown[:10],
                kind="soft",
                anchor="middle",
            )
        self._y += 20


class _Scale:
    """From values to heights, with room above the highest."""

    def __init__(self, low: float, high: float, top: float) -> None:
        self._low, self._high, self._top = low, high, top

    @classmethod
    def of(cls, rows: Sequence[NDArray[np.float64]], threshold: float, top: float) -> _Scale:
        finite = [row[~is_absent(row) & np.isfinite(row)] for row in rows]
        everything = np.concatenate([*finite, [threshold if math.isfinite(threshold) else 0.0]])
        low, high = min(0.0, float(everything.min())), float(everything.max())
        return cls(low, high + (high - low or 1.0) * 0.08, top)

    def y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return self._top + CHART * (1 - min(1.0, max(0.0, share)))

    def ticks(self) -> list[float]:
        rough = (self._high - self._low) / 4
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
        first = math.ceil(self._low / step)
        return [round(number * step, 12) for number in range(first, math.floor(self._high / step) + 1)]


def _thinned(
    columns: NDArray[np.int64], times_ms: NDArray[np.int64], values: NDArray[np.float64]
) -> Iterator[tuple[float, float]]:
    begins = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
    ends = np.append(begins[1:], len(columns))
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        part = values[begin:end]
        for at in sorted({0, int(part.argmin()), int(part.argmax()), end - begin - 1}):
            yield float(times_ms[begin + at]), float(part[at])


def _loudest(table: Table) -> list[int]:
    """The rows with the highest values."""
    peaks = [float(np.max(row[~is_absent(row) & np.isfinite(row)], initial=-math.inf)) for row in table.values]
    return sorted(sorted(range(len(peaks)), key=lambda row: -peaks[row])[:MAX_LINES], key=lambda row: table.labels[row])


def _by_labels(episodes: Iterable[Episode]) -> dict[Labels, list[Episode]]:
    rows: dict[Labels, list[Episode]] = {}
    for one in episodes:
        rows.setdefault(one.labels, []).append(one)
    return rows


def _counts(result: Result) -> str:
    one = result.summary
    text = f"fired {one.fired}×, {format_duration(one.firing_ms)} in all; flaps {one.flaps}"
    today = result.today_summary
    if today is not None:
        text += f"; today: fired {today.fired}×"
    for policy, count in result.remediations.items():
        text += f"; {policy} {count}×"
    return text


def _told(one: Episode) -> str:
    parts = [f"pending {_moment(one.active_at_ms)}"]
    parts += [f"firing {_moment(one.fired_at_ms)}"] if one.fired_at_ms is not None else []
    parts += [f"over {_moment(one.ended_at_ms)}"] if one.ended_at_ms is not None else []
    return ", ".join(parts)


def _common(several: Sequence[Labels]) -> set[tuple[str, str]]:
    """The labels that all of several series have, which tell nothing; none of a single series."""
    return set.intersection(*map(set, several)) if len(several) > 1 else set()


def _distinct(labels: Labels, common: set[tuple[str, str]]) -> Labels:
    return tuple(pair for pair in labels if pair not in common)


def _labels_text(labels: Labels) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels if name != METRIC_NAME)


def _shortened(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _moment(unix_ms: int) -> str:
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
