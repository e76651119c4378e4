"""A course over time with what happened meanwhile: marks at moments, bands over spans, a threshold; for ECharts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.viewer.panels.chart import GAP_STEPS, formatter
from dashboards.viewer.panels.colours import of_series

Points = Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Mark:
    at: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Band:
    start: float
    end: float
    colour: str
    text: str = ""


def with_gaps(points: Sequence[tuple[float, float]], step: float) -> Points:
    """The points with a break wherever one is missing, so that no line is drawn over what was not."""
    found: list[tuple[float, float | None]] = []
    for at, value in points:
        if found and at - found[-1][0] > GAP_STEPS * step:
            found.append((found[-1][0] + step, None))
        found.append((at, value))
    return found


def marked_chart(
    lines: Sequence[tuple[str, Points]],
    *,
    unit: str,
    dark: bool,
    clock: bool,
    marks: Sequence[Mark] = (),
    bands: Sequence[Band] = (),
    thresholds: Sequence[float] = (),
    legend: bool = True,
    x_range: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """
    Args:
        clock: x is Unix seconds, shown as times of day; else seconds since something, shown with their sign.
    """
    ink, faint = ("#c9d1dc", "#2a313c") if dark else ("#4a5363", "#e3e7ed")
    scale = 1000 if clock else 1
    series: list[dict[str, Any]] = [
        {
            "name": name,
            "type": "line",
            "showSymbol": False,
            "data": [[at * scale, value if value is None or math.isfinite(value) else None] for at, value in points],
            "lineStyle": {"width": 1.6},
            "itemStyle": {"color": of_series(number)},
        }
        for number, (name, points) in enumerate(lines)
    ] or [{"type": "line", "data": []}]
    series[0]["markLine"] = {
        "symbol": "none",
        "silent": False,
        "data": [*(_mark(each, scale) for each in marks), *map(_threshold, thresholds)],
    }
    series[0]["markArea"] = {"silent": True, "data": [_band(each, scale, ink) for each in bands]}
    x: dict[str, Any] = {
        "type": "time" if clock else "value",
        "min": x_range[0] * scale if x_range else "dataMin",
        "max": x_range[1] * scale if x_range else "dataMax",
        "axisLabel": {"color": ink, "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": faint}},
        "splitLine": {"show": False},
    }
    if not clock:
        x["axisLabel"][":formatter"] = "(v) => (v > 0 ? '+' : '') + Math.round(v) + ' s'"
    return {
        "animation": False,
        "grid": {"left": 8, "right": 18, "top": 30 if legend else 14, "bottom": 4, "containLabel": True},
        "legend": {"show": legend, "top": 0, "left": 0, "type": "scroll", "textStyle": {"color": ink}, "itemHeight": 3},
        "tooltip": {"trigger": "axis", "confine": True, ":valueFormatter": formatter(unit)},
        "xAxis": x,
        "yAxis": {
            "type": "value",
            "min": 0 if _all_positive(lines) else None,
            "axisLabel": {"color": ink, ":formatter": formatter(unit)},
            "splitLine": {"lineStyle": {"color": faint}},
        },
        "series": series,
    }


def _all_positive(lines: Sequence[tuple[str, Points]]) -> bool:
    return all(value is None or not value < 0 for _, points in lines for _, value in points)


def _mark(mark: Mark, scale: int) -> dict[str, Any]:
    return {
        "xAxis": mark.at * scale,
        "name": mark.text,
        "lineStyle": {"color": mark.colour, "type": "dashed", "width": 1.4},
        "label": {"show": False},
        "emphasis": {"label": {"show": True, "formatter": mark.text, "color": mark.colour}},
    }


def _threshold(value: float) -> dict[str, Any]:
    style = {"color": "#e5484d", "type": "dashed"}
    return {"yAxis": value, "name": "threshold", "lineStyle": style, "label": {"show": False}}


def _band(band: Band, scale: int, ink: str) -> list[dict[str, Any]]:
    first: dict[str, Any] = {
        "xAxis": band.start * scale,
        "itemStyle": {"color": band.colour, "opacity": 0.16},
        "label": {"show": bool(band.text), "position": "insideTopLeft", "color": ink, "fontSize": 11},
    }
    if band.text:
        first["name"] = band.text
    return [first, {"xAxis": band.end * scale}]
