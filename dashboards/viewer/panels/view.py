"""A panel on the page: made once, filled at every refresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from nicegui import ui

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.grafana.interpolation import Values, interpolate
from dashboards.viewer.panels import service_graph, states
from dashboards.viewer.panels.canvas import Canvas
from dashboards.viewer.panels.chart_view import ChartView
from dashboards.viewer.panels.frames import Answer
from dashboards.viewer.panels.gauge_view import BarChartView, BarGaugeView, GaugeView, PieView
from dashboards.viewer.panels.heatmap import heatmap_options
from dashboards.viewer.panels.histogram import histogram_options
from dashboards.viewer.panels.queries import TRACE_KINDS
from dashboards.viewer.panels.records import logs_html, traces_html
from dashboards.viewer.panels.stat_view import StatView
from dashboards.viewer.panels.table_view import TableView


class View(Protocol):
    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        """Draw what has been answered. Called in the page's own context."""


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
        self._chart = Canvas()
        self._chart.element.classes("panel-chart")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        self._chart.draw(self._options(self._panel, answer, dark=dark))


class StatesView:
    """State timeline and status history."""

    def __init__(self, panel: Panel, *, history: bool) -> None:
        self._history = history
        self._content = ui.html("", sanitize=False).classes("states").props("tabindex=0")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        self._content.content = states.drawn(answer.frames, answer.span, answer.step, history=self._history)


class RecordsView:
    """Logs, or traces: a list whose rows lead to a trace."""

    def __init__(self, panel: Panel) -> None:
        self._content = ui.html("", sanitize=False).classes("table").props("tabindex=0")

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
        self._content = ui.html("", sanitize=False).classes("table map-box").props("tabindex=0")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        seconds = answer.span.seconds
        graph = service_graph.both_forms(service_graph.of_calls(answer.edges, seconds), answer.edges, seconds)
        self._content.content = graph if answer.edges else '<div class="none">No call in this range of time</div>'


class UnknownView:
    """Names what the viewer cannot draw, instead of leaving a hole."""

    def __init__(self, panel: Panel) -> None:
        ui.label(f"The viewer does not draw panels of type “{panel.kind}”; Grafana does.").classes("none")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        pass


def make_view(panel: Panel, open_trace: Callable[[str], None]) -> View:
    match panel.kind:
        case "timeseries" | "trend":
            return ChartView(panel, open_trace)
        case "barchart":
            return BarChartView(panel)
        case "stat":
            return StatView(panel)
        case "gauge":
            return GaugeView(panel)
        case "bargauge":
            return BarGaugeView(panel)
        case "table" if any(target.kind in TRACE_KINDS for target in panel.targets):
            return RecordsView(panel)
        case "table":
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
        case "piechart":
            return PieView(panel)
        case "text":
            return TextView(panel)
    return UnknownView(panel)
