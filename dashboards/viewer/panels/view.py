"""A panel on the page: made once, filled at every refresh."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from nicegui import events, ui

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.grafana.interpolation import Values, interpolate
from dashboards.viewer.grafana.links import Pointed, link_of
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.panels import reduction, service_graph, states
from dashboards.viewer.panels.chart import chart_options
from dashboards.viewer.panels.colours import of_series, steps_of, threshold_colour
from dashboards.viewer.panels.field import mapped
from dashboards.viewer.panels.frames import Answer, Frame
from dashboards.viewer.panels.heatmap import heatmap_options
from dashboards.viewer.panels.histogram import histogram_options
from dashboards.viewer.panels.records import logs_html, traces_html
from dashboards.viewer.panels.table_view import TableView

MAX_LEGEND_ROWS = 60
TRACE_KINDS = ("jaeger", "tempo")


class View(Protocol):
    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        """Draw what has been answered. Called in the page's own context."""


class ChartView:
    """Lines, bars or points over time, with a legend of numbers below."""

    def __init__(self, panel: Panel, open_trace: Callable[[str], None]) -> None:
        self._panel = panel
        self._open_trace = open_trace
        self._chart = ui.echart({}, on_point_click=self._clicked).classes("panel-chart")
        self._legend = ui.html("", sanitize=False).classes("legend")
        self._links: dict[str, str] = {}  # where a click on a series leads, by its name

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        self._links = {}
        for frame in answer.frames:
            found = link_of(
                frame.config.defaults.get("links"), Pointed(frame.config.name, frame.labels), values, answer.span
            )
            if found is not None:
                self._links[frame.config.name] = found[1]
        options = chart_options(self._panel, answer, dark=dark)
        self._chart.options.clear()
        self._chart.options.update(options)
        self._chart.update()
        legend = self._panel.options.get("legend")
        shown = not isinstance(legend, dict) or legend.get("showLegend", True)
        options = legend if isinstance(legend, dict) else {}
        self._legend.content = _legend(answer.frames, options, self._links) if shown else ""

    def _clicked(self, event: events.EChartPointClickEventArguments) -> None:
        if event.series_name == "exemplars":
            self._open_trace(event.name)
        elif event.series_name in self._links:
            ui.navigate.to(self._links[event.series_name])


def _legend(frames: Sequence[Frame], options: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """A table of the asked-for calculations; a line of names if none is asked for."""

    def name_of(frame: Frame) -> str:
        name = html.escape(frame.config.name)
        address = links.get(frame.config.name)
        return f'<a href="{html.escape(address)}">{name}</a>' if address else name

    calculations = [name for name in options.get("calcs") or [] if name in reduction.NAMES]
    if not calculations:
        return "".join(
            f'<span class="entry"><i style="background:{_shade(frame, number)}"></i>{name_of(frame)}</span>'
            for number, frame in enumerate(frames[:MAX_LEGEND_ROWS])
        )
    heads = "".join(f"<th>{reduction.NAMES[name]}</th>" for name in calculations)
    rows = []
    for number, frame in enumerate(frames[:MAX_LEGEND_ROWS]):
        cells = "".join(
            f"<td>{html.escape(_written(frame, reduction.reduced(frame.points, name)))}</td>" for name in calculations
        )
        mark = f'<i style="background:{_shade(frame, number)}"></i>'
        rows.append(f"<tr><td>{mark}{name_of(frame)}</td>{cells}</tr>")
    return f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _shade(frame: Frame, number: int) -> str:
    return frame.config.colour or of_series(number)


def _written(frame: Frame, value: float | None) -> str:
    text, _ = mapped(value, frame.config.defaults)
    return text if text is not None else format_value(value, frame.config.unit, frame.config.decimals)


class StatView:
    """One large number for each series, with its recent course behind it."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._content = ui.html("", sanitize=False).classes("stats")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        options = self._panel.options
        calculation = reduction.wanted(options.get("reduceOptions"))
        self._content.classes(replace="stats many" if len(answer.frames) > 4 else "stats")
        whole = options.get("colorMode") == "background"
        named = options.get("textMode") in ("name", "value_and_name") or len(answer.frames) > 1
        cells = [
            _stat(
                frame, reduction.reduced(frame.points, calculation), whole=whole, named=named, graph=_has_graph(options)
            )
            for frame in answer.frames
        ]
        self._content.content = "".join(cells) or '<div class="none">No data</div>'


def _has_graph(options: Mapping[str, Any]) -> bool:
    return bool(options.get("graphMode", "area") == "area")


def _stat(frame: Frame, value: float | None, *, whole: bool, named: bool, graph: bool) -> str:
    text, shade = mapped(value, frame.config.defaults)
    shade = shade or frame.config.colour or threshold_colour(value, steps_of(frame.config.defaults))
    number = html.escape(text if text is not None else format_value(value, frame.config.unit, frame.config.decimals))
    name = f'<div class="name">{html.escape(frame.config.name)}</div>' if named else ""
    style = f"background:{shade};color:#fff" if whole else f"color:{shade}"
    line = sparkline(frame.points, "#ffffff" if whole else shade) if graph else ""
    return f'<div class="stat" style="{style}">{line}{name}<div class="value">{number}</div></div>'


def sparkline(points: Sequence[tuple[float, float]], shade: str) -> str:
    """A small area chart as SVG, 100 by 30 units, stretched to its place."""
    finite = [(at, value) for at, value in points if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    (first, _), (last, _) = finite[0], finite[-1]
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    width, height = (last - first) or 1.0, (high - low) or 1.0
    places = [f"{(at - first) / width * 100:.1f},{28 - (value - low) / height * 24:.1f}" for at, value in finite]
    shade = "currentColor" if shade == "inherit" else shade
    return (
        '<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true">'
        f'<polygon points="0,30 {" ".join(places)} 100,30" fill="{shade}" opacity="0.14"/>'
        f'<polyline points="{" ".join(places)}" fill="none" stroke="{shade}" opacity="0.55" stroke-width="1" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )


class BarGaugeView:
    """One bar for each series, from the minimum to the maximum."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._content = ui.html("", sanitize=False).classes("bars")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        calculation = reduction.wanted(self._panel.options.get("reduceOptions"))
        numbers = [(frame, reduction.reduced(frame.points, calculation)) for frame in answer.frames]
        seen = [value for _, value in numbers if value is not None]
        highest = max(seen, default=1.0)
        self._content.content = "".join(_bar(frame, value, highest) for frame, value in numbers) or (
            '<div class="none">No data</div>'
        )


def _bar(frame: Frame, value: float | None, highest: float) -> str:
    low = frame.config.minimum or 0.0
    high = frame.config.maximum if frame.config.maximum is not None else max(highest, low + 1e-12)
    share = 0.0 if value is None or high <= low else max(0.0, min(1.0, (value - low) / (high - low)))
    shade = frame.config.colour or threshold_colour(value, steps_of(frame.config.defaults))
    shade = of_series(0) if shade == "inherit" else shade
    return (
        f'<div class="bar"><span class="name">{html.escape(frame.config.name)}</span>'
        f'<span class="track"><span style="width:{share:.1%};background:{shade}"></span></span>'
        f'<span class="value" style="color:{shade}">{html.escape(_written(frame, value))}</span></div>'
    )


class GaugeView:
    """A dial for each series."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._chart = ui.echart({}).classes("panel-chart")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        calculation = reduction.wanted(self._panel.options.get("reduceOptions"))
        frames = answer.frames[:12]
        dials = [
            _dial(frame, reduction.reduced(frame.points, calculation), place, len(frames), dark=dark)
            for place, frame in enumerate(frames)
        ]
        self._chart.options.clear()
        self._chart.options.update({"animation": False, "series": dials})
        self._chart.update()


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
        "progress": {"show": True, "width": 14, "itemStyle": {"color": shade}},
        "axisLine": {"lineStyle": {"width": 14, "color": [[1, "#2a313c" if dark else "#e3e7ed"]]}},
        "axisTick": {"show": False},
        "axisLabel": {"show": False},
        "splitLine": {"show": False},
        "pointer": {"show": False},
        "anchor": {"show": False},
        "title": {"show": count > 1, "offsetCenter": [0, "62%"], "color": ink, "fontSize": 12},
        "detail": {"formatter": _written(frame, value), "color": shade, "fontSize": 22, "offsetCenter": [0, "5%"]},
        "data": [{"value": low if value is None else value, "name": config.name}],
        "steps": bands,
    }


class PieView:
    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._chart = ui.echart({}).classes("panel-chart")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        calculation = reduction.wanted(self._panel.options.get("reduceOptions"))
        ring = self._panel.options.get("pieType") == "donut"
        data = [
            {
                "name": f"{frame.config.name}  {_written(frame, value)}",
                "value": value,
                "itemStyle": {"color": _shade(frame, number)},
            }
            for number, frame in enumerate(answer.frames)
            if (value := reduction.reduced(frame.points, calculation)) is not None
        ]
        ink = "#c9d1dc" if dark else "#4a5363"
        self._chart.options.clear()
        self._chart.options.update(
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
        self._chart.update()


class TextView:
    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        content = str(panel.options.get("content") or panel.raw.get("content") or "")
        self._content = content
        mode = panel.options.get("mode") or panel.raw.get("mode") or "markdown"
        # A stranger's HTML is shown without what could act: NiceGUI's markdown is sanitised.
        self._element = ui.markdown(content) if mode != "code" else ui.code(content)
        self._element.classes("text")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        self._element.content = interpolate(self._content, values)


class EChartView:
    """A panel that is one ECharts option, made anew at every refresh."""

    def __init__(self, panel: Panel, options: Callable[..., dict[str, Any]]) -> None:
        self._panel = panel
        self._options = options
        self._chart = ui.echart({}).classes("panel-chart")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        self._chart.options.clear()
        self._chart.options.update(self._options(self._panel, answer, dark=dark))
        self._chart.update()


class StatesView:
    """State timeline and status history."""

    def __init__(self, panel: Panel, *, history: bool) -> None:
        self._history = history
        self._content = ui.html("", sanitize=False).classes("states")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        self._content.content = states.drawn(answer.frames, answer.span, answer.step, history=self._history)


class RecordsView:
    """Logs, or traces: a list whose rows lead to a trace."""

    def __init__(self, panel: Panel) -> None:
        self._content = ui.html("", sanitize=False).classes("table")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        if answer.records:
            self._content.content = logs_html(answer.records)
        elif answer.traces:
            self._content.content = traces_html(answer.traces)
        else:
            self._content.content = '<div class="none">Nothing in this range of time</div>'


class GraphView:
    """Who calls whom; a click on a node finds its traces."""

    def __init__(self, panel: Panel) -> None:
        self._content = ui.html("", sanitize=False).classes("table map-box")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        seconds = answer.span.seconds
        graph = service_graph.drawn(service_graph.of_calls(answer.edges, seconds), answer.edges, seconds, tall=False)
        self._content.content = graph if answer.edges else '<div class="none">No call in this range of time</div>'


class UnknownView:
    """Names what the viewer cannot draw, instead of leaving a hole."""

    def __init__(self, panel: Panel) -> None:
        ui.label(f"The viewer does not draw panels of type “{panel.kind}”; Grafana does.").classes("none")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        pass


def make_view(panel: Panel, open_trace: Callable[[str], None]) -> View:
    match panel.kind:
        case "timeseries" | "graph" | "barchart" | "trend":
            return ChartView(panel, open_trace)
        case "stat" | "singlestat":
            return StatView(panel)
        case "gauge":
            return GaugeView(panel)
        case "bargauge":
            return BarGaugeView(panel)
        case "table" | "table-old" if any(target.kind in TRACE_KINDS for target in panel.targets):
            return RecordsView(panel)
        case "table" | "table-old":
            return TableView(panel)
        case "heatmap":
            return EChartView(panel, heatmap_options)
        case "histogram":
            return EChartView(panel, histogram_options)
        case "state-timeline" | "status-history":
            return StatesView(panel, history=panel.kind == "status-history")
        case "logs" | "traces":
            return RecordsView(panel)
        case "nodeGraph":
            return GraphView(panel)
        case "piechart" | "grafana-piechart-panel":
            return PieView(panel)
        case "text":
            return TextView(panel)
    return UnknownView(panel)
