"""One number for each series, drawn as its share: bars, dials, slices."""

from __future__ import annotations

import html
import math
from typing import Any

from nicegui import ui

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.grafana.interpolation import Values
from dashboards.viewer.panels import reduction
from dashboards.viewer.panels.canvas import Canvas
from dashboards.viewer.panels.chart import formatter, nothing
from dashboards.viewer.panels.colours import as_text, of_series, steps_of, threshold_colour
from dashboards.viewer.panels.frames import Answer, Frame
from dashboards.viewer.panels.written import shade_of, written


class BarGaugeView:
    """One bar for each series, from the minimum to the maximum."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._content = ui.html("", sanitize=False).classes("bars").props("tabindex=0")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        calculation = reduction.wanted(self._panel.options.get("reduceOptions"))
        numbers = [(frame, reduction.reduced(frame.points, calculation)) for frame in answer.frames]
        seen = [value for _, value in numbers if value is not None]
        highest = max(seen, default=1.0)
        self._content.style(f"--who: {max((len(frame.config.name) for frame in answer.frames), default=0)}")
        self._content.content = "".join(_bar(frame, value, highest, dark=dark) for frame, value in numbers) or (
            '<div class="none">No data</div>'
        )


def _bar(frame: Frame, value: float | None, highest: float, *, dark: bool) -> str:
    low = frame.config.minimum or 0.0
    high = frame.config.maximum if frame.config.maximum is not None else max(highest, low + 1e-12)
    share = 0.0 if value is None or high <= low else max(0.0, min(1.0, (value - low) / (high - low)))
    shade = frame.config.colour or threshold_colour(value, steps_of(frame.config.defaults))
    shade = of_series(0) if shade == "inherit" else shade
    ink = as_text(shade, dark=dark)
    return (
        f'<div class="bar"><span class="name">{html.escape(frame.config.name)}</span>'
        f'<span class="track"><span style="width:{share:.1%};background:{shade}"></span></span>'
        f'<span class="value" style="color:{ink}">{html.escape(written(frame, value))}</span></div>'
    )


class GaugeView:
    """A dial for each series."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._chart = Canvas()
        self._chart.element.classes("panel-chart")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        calculation = reduction.wanted(self._panel.options.get("reduceOptions"))
        frames = answer.frames[:12]
        dials = [
            _dial(frame, reduction.reduced(frame.points, calculation), place, len(frames), dark=dark)
            for place, frame in enumerate(frames)
        ]
        self._chart.draw({"animation": False, "series": dials})


def _dial(frame: Frame, value: float | None, place: int, count: int, *, dark: bool) -> dict[str, Any]:
    config = frame.config
    low = config.minimum or 0.0
    high = (
        config.maximum
        if config.maximum is not None
        else {"percentunit": 1.0, "percent": 100.0}.get(config.unit, max(100.0, value or 0.0))
    )
    steps = steps_of(config.defaults) or [(float("-inf"), of_series(0))]
    ends = [*(max(low, at) for at, _ in steps[1:]), high]
    bands = [
        [max(0.0, min(1.0, (end - low) / ((high - low) or 1))), shade]
        for end, (_, shade) in zip(ends, steps, strict=True)
    ]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    ink = "#c9d1dc" if dark else "#4a5363"
    shade = config.colour or threshold_colour(value, steps)
    return {
        "type": "gauge",
        "min": low,
        "max": high,
        "center": [f"{(place % columns + 0.5) / columns:.1%}", f"{(place // columns + 0.58) / rows:.1%}"],
        "radius": f"{86 / max(columns, rows):.0f}%",
        "startAngle": 210,
        "endAngle": -30,
        "progress": {"show": True, "width": 14 if count == 1 else 9, "itemStyle": {"color": shade}},
        "axisLine": {"lineStyle": {"width": 14 if count == 1 else 9, "color": [[1, "#2a313c" if dark else "#e3e7ed"]]}},
        "axisTick": {"show": False},
        "axisLabel": {"show": False},
        "splitLine": {"show": False},
        "pointer": {"show": False},
        "anchor": {"show": False},
        "title": {"show": count > 1, "offsetCenter": [0, "62%"], "color": ink, "fontSize": 12},
        "detail": {
            "formatter": written(frame, value),
            "color": ink if shade == "inherit" else as_text(shade, dark=dark),
            "fontSize": 22 if count == 1 else 14,
            "offsetCenter": [0, "5%"],
        },
        "data": [{"value": low if value is None else value, "name": config.name}],
        "steps": bands,
    }


class BarChartView:
    """A bar for each series, beside one another."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._chart = Canvas()
        self._chart.element.classes("panel-chart")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        self._chart.draw(_side_by_side(self._panel, answer, dark=dark))


def _side_by_side(panel: Panel, answer: Answer, *, dark: bool) -> dict[str, Any]:
    calculation = reduction.wanted(panel.options.get("reduceOptions"))
    ink, faint = ("#c9d1dc", "#2a313c") if dark else ("#4a5363", "#e3e7ed")
    frames = list(answer.frames)
    unit = frames[0].config.unit if frames else ""
    data = [
        {"value": reduction.reduced(frame.points, calculation), "itemStyle": {"color": shade_of(frame, number)}}
        for number, frame in enumerate(frames)
    ]
    names = {
        "type": "category",
        "data": [frame.config.name for frame in frames],
        "axisLabel": {"color": ink, "fontSize": 11, "hideOverlap": True},
        "axisTick": {"show": False},
        "axisLine": {"lineStyle": {"color": faint}},
    }
    numbers = {
        "type": "value",
        "splitNumber": 4,
        "axisLabel": {"color": ink, "fontSize": 11, ":formatter": formatter(unit)},
        "splitLine": {"lineStyle": {"color": faint}},
    }
    lying = panel.options.get("orientation") == "horizontal"
    return {
        "animation": False,
        "title": {"show": False} if frames else nothing(ink),
        "grid": {"left": 8, "right": 16, "top": 14, "bottom": 4, "containLabel": True},
        "tooltip": {"trigger": "item", "confine": True, ":valueFormatter": formatter(unit)},
        "xAxis": numbers if lying else names,
        "yAxis": {**names, "inverse": True} if lying else numbers,
        "series": [{"type": "bar", "data": data, "barMaxWidth": 40}],
    }


class PieView:
    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._chart = Canvas()
        self._chart.element.classes("panel-chart")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        calculation = reduction.wanted(self._panel.options.get("reduceOptions"))
        ring = self._panel.options.get("pieType") == "donut"
        data = [
            {
                "name": f"{frame.config.name}  {written(frame, value)}",
                "value": value,
                "itemStyle": {"color": shade_of(frame, number)},
            }
            for number, frame in enumerate(answer.frames)
            if (value := reduction.reduced(frame.points, calculation)) is not None
        ]
        ink = "#c9d1dc" if dark else "#4a5363"
        self._chart.draw(
            {
                "animation": False,
                "tooltip": {"trigger": "item", "formatter": "{b} ({d}%)"},
                "legend": {
                    "type": "scroll",
                    "orient": "vertical",
                    "right": 4,
                    "top": "middle",
                    "textStyle": {"color": ink},
                },
                "series": [
                    {
                        "type": "pie",
                        "radius": ["48%", "82%"] if ring else "82%",
                        "center": ["34%", "50%"],
                        "label": {"show": False},
                        "data": data,
                    }
                ],
            }
        )
