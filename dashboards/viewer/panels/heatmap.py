"""A heatmap: how many fell into which band when. Classic histogram buckets are taken apart into bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.panels.chart import nothing
from dashboards.viewer.panels.frames import Answer, Frame

MAX_COLUMNS = 160  # of cells over time; more are narrower than a screen can show
CALCULATED_BANDS = 14
SECONDS_BELOW_S = 900  # of a range: labels by the minute would repeat themselves
_DARK = ("#171b22", "#5b3a1d", "#b8651b", "#f5902f", "#ffd9a0")
_LIGHT = ("#ffffff", "#ffe3c2", "#ffb866", "#e27d1e", "#8a3f00")
Cells = Mapping[tuple[int, int], float]  # by column and band


@dataclass(frozen=True, slots=True)
class Grid:
    """`bands` from the lowest upwards; `times` are Unix seconds, in order."""

    times: Sequence[float]
    bands: Sequence[str]
    cells: Cells

    @property
    def highest(self) -> float:
        return max(self.cells.values(), default=0.0)


def grid_of(panel: Panel, answer: Answer) -> Grid:
    unit = str(panel.defaults.get("unit") or _axis_unit(panel))
    if panel.options.get("calculate") or not all(_bound(frame) is not None for frame in answer.frames):
        if any(target.format == "heatmap" for target in panel.targets):
            return _rows(answer)
        return _calculated(answer, unit)
    return _buckets(answer, unit)


def _axis_unit(panel: Panel) -> str:
    axis = panel.options.get("yAxis")
    return str(axis.get("unit") or "") if isinstance(axis, dict) else ""


def _bound(frame: Frame) -> float | None:
    """The upper bound of a bucket: its label `le`, or a legend that is a number."""
    text = frame.labels.get("le") or frame.config.name
    try:
        return float(text)
    except ValueError:
        return None


def _columns(answer: Answer) -> tuple[list[float], dict[float, int]]:
    """Where columns begin, over the whole range as charts beside have it; and the column of each moment."""
    seen = sorted({at for frame in answer.frames for at, _ in frame.points})
    if not seen:
        return [], {}
    step = answer.step
    first = min(seen[0], answer.span.start // step * step)
    count = round((max(seen[-1], answer.span.end // step * step) - first) / step) + 1
    every = max(1, math.ceil(count / MAX_COLUMNS))
    times = [first + place * step for place in range(0, count, every)]
    return times, {at: round((at - first) / step) // every for at in seen}


def _buckets(answer: Answer, unit: str) -> Grid:
    """Each bucket counts what all below it count too; a band is the difference to the next lower one."""
    summed: dict[float, dict[float, float]] = {}
    for frame in answer.frames:
        bound = _bound(frame)
        if bound is not None:
            at_bound = summed.setdefault(bound, {})
            for at, value in frame.points:
                if math.isfinite(value):
                    at_bound[at] = at_bound.get(at, 0.0) + value
    times, column = _columns(answer)
    cells: dict[tuple[int, int], float] = {}
    below: dict[float, float] = {}
    bounds = sorted(summed)
    for band, bound in enumerate(bounds):
        for at, value in summed[bound].items():
            inside = value - below.get(at, 0.0)
            if inside > 0:
                place = (column[at], band)
                cells[place] = cells.get(place, 0.0) + inside
        below = {**below, **summed[bound]}
    return _trimmed(Grid(times, [_named(bound, unit) for bound in bounds], cells))


def _named(bound: float, unit: str) -> str:
    return "more" if math.isinf(bound) else f"≤ {format_value(bound, unit)}"


def _rows(answer: Answer) -> Grid:
    """Each series is a band already, named by its legend."""
    times, column = _columns(answer)
    cells = {
        (column[at], band): value
        for band, frame in enumerate(answer.frames)
        for at, value in frame.points
        if math.isfinite(value) and value > 0
    }
    return Grid(times, [frame.config.name for frame in answer.frames], cells)


def _calculated(answer: Answer, unit: str) -> Grid:
    """Values that are no buckets are counted into bands of equal height."""
    values = [value for frame in answer.frames for _, value in frame.points if math.isfinite(value)]
    if not values:
        return Grid([], [], {})
    low, high = min(values), max(values)
    height = (high - low) / CALCULATED_BANDS or 1.0
    times, column = _columns(answer)
    cells: dict[tuple[int, int], float] = {}
    for frame in answer.frames:
        for at, value in frame.points:
            if math.isfinite(value):
                place = (column[at], min(CALCULATED_BANDS - 1, int((value - low) / height)))
                cells[place] = cells.get(place, 0.0) + 1
    return Grid(times, [format_value(low + height * (band + 1), unit) for band in range(CALCULATED_BANDS)], cells)


def _trimmed(grid: Grid) -> Grid:
    """Without the empty bands above and below what there is; one is kept on each side."""
    used = [band for _, band in grid.cells]
    if not used:
        return grid
    low, high = max(0, min(used) - 1), min(len(grid.bands) - 1, max(used) + 1)
    cells = {(column, band - low): value for (column, band), value in grid.cells.items()}
    return Grid(grid.times, grid.bands[low : high + 1], cells)


def heatmap_options(panel: Panel, answer: Answer, *, dark: bool) -> dict[str, Any]:
    grid = grid_of(panel, answer)
    seconds = "second: '2-digit', " if answer.span.seconds < SECONDS_BELOW_S else ""
    ink, faint = ("#c9d1dc", "#2a313c") if dark else ("#4a5363", "#e3e7ed")
    return {
        "animation": False,
        "title": {"show": False} if grid.cells else nothing(ink, "Nothing was counted in this range of time"),
        "textStyle": {"fontFamily": "inherit", "color": ink},
        "grid": {"left": 8, "right": 12, "top": 10, "bottom": 26, "containLabel": True},
        "tooltip": {
            "confine": True,
            "backgroundColor": "#171b22" if dark else "#ffffff",
            "borderColor": faint,
            "textStyle": {"color": ink, "fontSize": 12},
            ":formatter": "(p) => new Date(+p.name).toLocaleTimeString([], {hour12: false}) "
            "+ '<br>' + p.data[3] + ': <b>' "
            "+ window.steersman.scaled(p.data[2], 1000, ['', 'K', 'M']) + '</b>'",
        },
        "xAxis": {
            "type": "category",
            "data": [str(round(at * 1000)) for at in grid.times],
            "axisLabel": {
                "color": ink,
                "fontSize": 11,
                "hideOverlap": True,
                ":formatter": "(v) => new Date(+v).toLocaleTimeString([], "
                f"{{hour: '2-digit', minute: '2-digit', {seconds}hour12: false}})",
            },
            "axisTick": {"show": False},
            "axisLine": {"lineStyle": {"color": faint}},
        },
        "yAxis": {
            "type": "category",
            "data": list(grid.bands),
            "axisLabel": {"color": ink, "fontSize": 11, "hideOverlap": True},
            "axisTick": {"show": False},
            "axisLine": {"show": False},
        },
        "visualMap": {
            "min": 0,
            "max": grid.highest or 1,
            "dimension": 2,
            "calculable": False,
            "orient": "horizontal",
            "right": 8,
            "bottom": 0,
            "itemWidth": 8,
            "itemHeight": 90,
            "textStyle": {"color": ink, "fontSize": 10},
            "text": [format_value(grid.highest, "short"), "0"],
            "textGap": 6,
            "inRange": {"color": list(_DARK if dark else _LIGHT)},
        },
        "series": [
            {
                "type": "heatmap",
                "data": [
                    [column, band, round(value, 6), grid.bands[band]] for (column, band), value in grid.cells.items()
                ],
                "progressive": 0,
                "emphasis": {"itemStyle": {"borderColor": ink, "borderWidth": 1}},
            }
        ],
    }
