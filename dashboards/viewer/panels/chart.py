"""Time series as an ECharts option."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.panels.colours import of_series, steps_of
from dashboards.viewer.panels.field import FieldConfig
from dashboards.viewer.panels.frames import Answer, Frame
from dashboards.viewer.peers.prometheus import Exemplar

EXEMPLAR_COLUMNS = 60  # of a chart: a diamond is as wide
GAP_STEPS = 2.5  # more than this between two points is a gap, not a line
_FORMATS = {
    # Units whose axis labels the browser writes itself: JavaScript functions of one value.
    "percentunit": "(v) => (Math.round(v * 1000) / 10) + '%'",
    "percent": "(v) => (Math.round(v * 10) / 10) + '%'",
    "s": "(v) => window.steersman.seconds(v)",
    "ms": "(v) => window.steersman.seconds(v / 1e3)",
    "µs": "(v) => window.steersman.seconds(v / 1e6)",
    "ns": "(v) => window.steersman.seconds(v / 1e9)",
    "bytes": "(v) => window.steersman.scaled(v, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB'])",
    "decbytes": "(v) => window.steersman.scaled(v, 1000, ['B', 'kB', 'MB', 'GB', 'TB'])",
    "Bps": "(v) => window.steersman.scaled(v, 1024, ['B/s', 'KiB/s', 'MiB/s', 'GiB/s'])",
    "binBps": "(v) => window.steersman.scaled(v, 1024, ['B/s', 'KiB/s', 'MiB/s', 'GiB/s'])",
    "bps": "(v) => window.steersman.scaled(v, 1000, ['b/s', 'kb/s', 'Mb/s', 'Gb/s'])",
}
BINARY = ("bytes", "Bps", "binBps")
_PLAIN = "(v) => window.steersman.scaled(v, 1000, ['', 'K', 'M', 'G', 'T'])"
# Served once with every page; used by axis labels and tooltips.
SCRIPT = """
window.steersman = {
  digits(v) { const a = Math.abs(v); return a >= 100 ? v.toFixed(0) : +v.toPrecision(3) + ''; },
  scaled(v, base, names) {
    if (v === null || v === undefined || isNaN(v)) return '–';
    let i = 0; while (Math.abs(v) >= base && i < names.length - 1) { v /= base; i++; }
    return this.digits(v) + (names[i] ? ' ' + names[i] : '');
  },
  seconds(v) {
    if (v === null || v === undefined || isNaN(v)) return '–';
    const a = Math.abs(v);
    if (a === 0) return '0 s';
    if (a < 1e-6) return this.digits(v * 1e9) + ' ns';
    if (a < 1e-3) return this.digits(v * 1e6) + ' µs';
    if (a < 1) return this.digits(v * 1e3) + ' ms';
    if (a < 60) return this.digits(v) + ' s';
    if (a < 3600) return this.digits(v / 60) + ' min';
    if (a < 86400) return this.digits(v / 3600) + ' h';
    return this.digits(v / 86400) + ' d';
  },
};
"""


def formatter(unit: str) -> str:
    """JavaScript that writes one value of the unit; for the key `:formatter`."""
    if unit in _FORMATS:
        return _FORMATS[unit]
    suffix = {"reqps": " req/s", "ops": " ops/s", "cps": " c/s", "hertz": " Hz"}.get(unit, "")
    return f"(v) => ({_PLAIN})(v) + '{suffix}'" if suffix else _PLAIN


def chart_options(panel: Panel, answer: Answer, *, dark: bool) -> dict[str, Any]:
    stacked = _stacking(panel)
    frames = [_turned(frame) for frame in (_shares(answer.frames) if stacked == "percent" else answer.frames)]
    right = any(frame.config.right_axis for frame in frames)
    left_unit = next((frame.config.unit for frame in frames if not frame.config.right_axis), "")
    right_unit = next((frame.config.unit for frame in frames if frame.config.right_axis), "")
    ink, faint = ("#c9d1dc", "#2a313c") if dark else ("#4a5363", "#e3e7ed")
    series = [_line(frame, number, answer.step, stacked=bool(stacked)) for number, frame in enumerate(frames)]
    series += _exemplar_points(answer)
    if series:
        series[0]["markLine"] = _marks(panel, answer.annotations)
    axes = [_axis(frames, left_unit, ink, faint, right=False, stacked=bool(stacked))]
    if right:
        axes.append(_axis(frames, right_unit, ink, faint, right=True, stacked=bool(stacked)))
    if series and answer.annotations:
        series.append(_annotation_points(answer.annotations, len(axes)))
        axes.append({"type": "value", "min": 0, "max": 1, "show": False, "axisLabel": {"show": False}})
    return {
        "animation": False,
        "backgroundColor": "transparent",
        "title": nothing(ink) if not frames else {"show": False},
        "textStyle": {"fontFamily": "inherit", "color": ink},
        "color": [line["itemStyle"]["color"] for line in series if "itemStyle" in line],
        "grid": {"left": 8, "right": 12 if not right else 8, "top": 14, "bottom": 4, "containLabel": True},
        "legend": {"show": False},
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "appendToBody": True,
            "order": "valueDesc",
            "axisPointer": {"type": "line", "lineStyle": {"color": ink, "opacity": 0.4}},
            "backgroundColor": "#171b22" if dark else "#ffffff",
            "borderColor": faint,
            "textStyle": {"color": ink, "fontSize": 12},
            ":valueFormatter": formatter(left_unit),
        },
        "xAxis": {
            "type": "time",
            "min": round(answer.span.start * 1000),
            "max": round(answer.span.end * 1000),
            "axisLine": {"lineStyle": {"color": faint}},
            "axisLabel": {"color": ink, "hideOverlap": True, "fontSize": 11},
            "splitLine": {"show": False},
        },
        "yAxis": axes,
        "series": series,
    }


def nothing(ink: str, words: str = "No data in this range of time") -> dict[str, Any]:
    """What stands in a chart that has nothing to show: an empty one looks broken."""
    style = {"color": ink, "fontSize": 13, "fontWeight": "normal", "fontFamily": "inherit"}
    return {"text": words, "left": "center", "top": "middle", "textStyle": style}


def _axis(frames: Sequence[Frame], unit: str, ink: str, faint: str, *, right: bool, stacked: bool) -> dict[str, Any]:
    mine = [frame.config for frame in frames if frame.config.right_axis == right]
    logarithmic = any(_scale(config) == "log" for config in mine)
    axis: dict[str, Any] = {
        "type": "log" if logarithmic else "value",
        "position": "right" if right else "left",
        "scale": not (stacked or any(config.minimum == 0 or _style(config) == "bars" for config in mine)),
        "axisLabel": {"color": ink, "fontSize": 11, ":formatter": formatter(unit)},
        "splitLine": {"show": not right, "lineStyle": {"color": faint}},
        "splitNumber": 4,
    }
    minima = [config.minimum for config in mine if config.minimum is not None]
    maxima = [config.maximum for config in mine if config.maximum is not None]
    if minima:
        axis["min"] = min(minima)
    if maxima:
        axis["max"] = max(maxima)
    if unit == "percentunit" and axis.get("min") == 0 and axis.get("max") == 1:
        axis["interval"] = 0.25  # by itself: 30, 60, 90 and 100 %
    values = [value for frame in frames if frame.config.right_axis == right for _, value in frame.points]
    if not maxima and not any(values):
        axis |= {"max": 1, "interval": 0.5}  # of nothing but zeros, the axis would end at 1.2
    elif not maxima and not stacked and unit in BINARY and minima == [0.0] * len(minima) and minima:
        axis |= _binary(max(value for value in values if math.isfinite(value)))
    elif unit in ("", "none", "short") and all(value == round(value) for value in values if math.isfinite(value)):
        axis["minInterval"] = 1  # what is counted has no halves
    return axis


def _binary(highest: float) -> dict[str, float]:
    """Ticks at powers of two: at tenths of them, an axis of bytes reads 95.4 MiB, 191 MiB."""
    interval = 2.0 ** math.ceil(math.log2(max(highest, 1.0) / 4))
    return {"interval": interval, "max": math.ceil(highest / interval) * interval}


def _style(config: FieldConfig) -> str:
    return str(config.custom.get("drawStyle") or "line")


def _scale(config: FieldConfig) -> str:
    distribution = config.custom.get("scaleDistribution")
    return str(distribution.get("type")) if isinstance(distribution, dict) else "linear"


def _stacking(panel: Panel) -> str:
    """`normal`, `percent`, or nothing."""
    stacking = panel.custom.get("stacking")
    mode = stacking.get("mode") if isinstance(stacking, dict) else None
    return str(mode) if mode in ("normal", "percent") else ""


def _shares(frames: Sequence[Frame]) -> list[Frame]:
    """Of what all of them come to at each moment."""
    totals: dict[float, float] = {}
    for frame in frames:
        for at, value in frame.points:
            totals[at] = totals.get(at, 0.0) + (value if math.isfinite(value) else 0.0)
    return [
        replace(
            frame,
            points=[(at, value / totals[at] if totals[at] else 0.0) for at, value in frame.points],
            config=replace(frame.config, unit="percentunit", minimum=0.0, maximum=1.0),
        )
        for frame in frames
    ]


def _turned(frame: Frame) -> Frame:
    """Downwards, what goes out beside what comes in."""
    if frame.config.custom.get("transform") != "negative-Y":
        return frame
    return replace(
        frame, points=[(at, -value) for at, value in frame.points], config=replace(frame.config, minimum=None)
    )


def _line(frame: Frame, number: int, step: float, *, stacked: bool) -> dict[str, Any]:
    config = frame.config
    shade = config.colour or of_series(number)
    style = _style(config)
    fill = config.custom.get("fillOpacity")
    opacity = (float(fill) if isinstance(fill, int | float) else 8.0) / 100
    line: dict[str, Any] = {
        "type": "bar" if style == "bars" else "line",
        "name": config.name,
        "data": _gapped(frame.points, step),
        "itemStyle": {"color": shade},
        "yAxisIndex": 1 if config.right_axis else 0,
        "emphasis": {"focus": "series"},
        "triggerLineEvent": bool(config.defaults.get("links")),
    }
    if style != "bars":
        width = config.custom.get("lineWidth")
        dashed = config.custom.get("lineStyle")
        line |= {
            "showSymbol": style == "points" or len(frame.points) == 1,
            "symbolSize": 4,
            "lineStyle": {
                "width": 0 if style == "points" else float(width) if isinstance(width, int | float) else 1.5,
                "type": "dashed" if isinstance(dashed, dict) and dashed.get("fill") == "dash" else "solid",
            },
            "areaStyle": {"opacity": opacity},
            "smooth": 0.3 if config.custom.get("lineInterpolation") == "smooth" else False,
        }
        if str(config.custom.get("lineInterpolation", "")).startswith("step"):
            line["step"] = "start" if config.custom["lineInterpolation"] == "stepBefore" else "end"
    if stacked:
        line["stack"] = "all"
        line["areaStyle"] = {"opacity": max(opacity, 0.4)}
    return line


def _gapped(points: Sequence[tuple[float, float]], step: float) -> list[list[float | None]]:
    """[ms, value], with an empty point in every gap, so that no line crosses it."""
    found: list[list[float | None]] = []
    before: float | None = None
    for at, value in points:
        if before is not None and at - before > GAP_STEPS * step:
            found.append([round((before + step) * 1000), None])
        found.append([round(at * 1000), value if math.isfinite(value) else None])
        before = at
    return found


def _exemplar_points(answer: Answer) -> list[dict[str, Any]]:
    if not answer.exemplars:
        return []
    slowest: dict[int, Exemplar] = {}  # of each column: more would hide the lines
    for one in answer.exemplars:
        column = int((one.at - answer.span.start) / answer.span.seconds * EXEMPLAR_COLUMNS)
        if column not in slowest or slowest[column].value < one.value:
            slowest[column] = one
    data = [
        {"value": [round(one.at * 1000), one.value], "name": one.trace_id, "trace": one.trace_id}
        for one in slowest.values()
    ]
    return [
        {
            "type": "scatter",
            "name": "exemplars",
            "symbol": "diamond",
            "symbolSize": 7,
            "data": data,
            "itemStyle": {"color": "#8fb4ff", "opacity": 0.85},
            "tooltip": {"trigger": "item", "formatter": "trace {b}<br>a click opens it"},
            "cursor": "pointer",
            "z": 5,
        }
    ]


def _annotation_points(annotations: Sequence[Mapping[str, Any]], axis: int) -> dict[str, Any]:
    """A small triangle at the foot of each annotation's line, which tells its text under the pointer."""
    data = []
    for mark in annotations:
        tags = " ".join(f"#{tag}" for tag in mark.get("tags") or [])
        text = html.escape(str(mark.get("text") or "")).replace("\n", "<br>")
        told = f'<div class="told">{text}<br><span class="soft">{html.escape(tags)}</span></div>'
        data.append({"value": [mark["time"], 0], "tooltip": {"formatter": told}})
    return {
        "type": "scatter",
        "name": "annotations",
        "yAxisIndex": axis,
        "symbol": "triangle",
        "symbolSize": 9,
        "data": data,
        "itemStyle": {"color": "#a97bff"},
        "tooltip": {"trigger": "item"},
        "z": 6,
    }


def _marks(panel: Panel, annotations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    style = panel.custom.get("thresholdsStyle")
    lines: list[dict[str, Any]] = []
    if isinstance(style, dict) and style.get("mode") not in (None, "off"):
        lines += [
            {"yAxis": at, "lineStyle": {"color": shade, "type": "dashed", "width": 1}, "label": {"show": False}}
            for at, shade in steps_of(panel.defaults)
            if math.isfinite(at)
        ]
    lines += [
        {
            "xAxis": mark["time"],
            "lineStyle": {"color": "#a97bff", "type": "dashed", "width": 1},
            "label": {"show": False},
            "name": mark.get("text", ""),
        }
        for mark in annotations
    ]
    return {"symbol": "none", "silent": True, "data": lines}
