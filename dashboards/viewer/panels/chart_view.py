"""Lines, bars or points over time on the page."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui import events, ui

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.grafana.interpolation import Values
from dashboards.viewer.grafana.links import Pointed, link_of
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.panels import reduction
from dashboards.viewer.panels.canvas import Canvas
from dashboards.viewer.panels.chart import chart_options, nothing
from dashboards.viewer.panels.frames import Answer, Frame
from dashboards.viewer.panels.written import shade_of, written
from dashboards.viewer.peers.prometheus import Exemplar

MAX_LEGEND_ROWS = 60
MAX_TRACES = 4  # of the exemplars, that are named below the chart


class ChartView:
    """Lines, bars or points over time, with a legend of numbers below."""

    def __init__(self, panel: Panel, open_trace: Callable[[str], None]) -> None:
        self._panel = panel
        self._open_trace = open_trace
        self._chart = Canvas({"title": nothing("#7f8ea3", "…")}, on_point_click=self._clicked)
        self._chart.element.classes("panel-chart")
        self._legend = ui.html("", sanitize=False).classes("legend").props("tabindex=0")
        self._links: dict[str, str] = {}  # where a click on a series leads, by its name

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        self._links = {}
        for frame in answer.frames:
            found = link_of(
                frame.config.defaults.get("links"), Pointed(frame.config.name, frame.labels), values, answer.span
            )
            if found is not None:
                self._links[frame.config.name] = found[1]
        self._chart.draw(chart_options(self._panel, answer, dark=dark))
        legend = self._panel.options.get("legend")
        shown = not isinstance(legend, dict) or legend.get("showLegend", True)
        options = legend if isinstance(legend, dict) else {}
        content = _legend(answer.frames, options, self._links) if shown and answer.frames else ""
        self._legend.content = content + _slowest(answer.exemplars, answer.frames)

    def _clicked(self, event: events.EChartPointClickEventArguments) -> None:
        if event.series_name == "exemplars":
            self._open_trace(event.name)
        elif event.series_name in self._links:
            ui.navigate.to(self._links[event.series_name])


def _slowest(exemplars: Sequence[Exemplar], frames: Sequence[Frame]) -> str:
    """The traces that stand out, as links: for the keyboard, and for fingers that a diamond is too small for."""
    worst = {one.trace_id: one for one in sorted(exemplars, key=lambda one: one.value)}
    if not worst:
        return ""
    unit = frames[0].config.unit if frames else ""
    links = " ".join(
        f'<a href="/trace/{html.escape(one.trace_id)}">{html.escape(format_value(one.value, unit))}</a>'
        for one in sorted(worst.values(), key=lambda one: one.value, reverse=True)[:MAX_TRACES]
    )
    return f'<div class="slowest">Slowest traces {links}</div>'


def _legend(frames: Sequence[Frame], options: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """A table of the asked-for calculations; a line of names if none is asked for."""

    def name_of(frame: Frame) -> str:
        name = html.escape(frame.config.name)
        address = links.get(frame.config.name)
        return f'<a href="{html.escape(address)}">{name}</a>' if address else name

    calculations = [name for name in options.get("calcs") or [] if name in reduction.NAMES]
    if not calculations:
        return "".join(
            f'<span class="entry"><i style="background:{shade_of(frame, number)}"></i>{name_of(frame)}</span>'
            for number, frame in enumerate(frames[:MAX_LEGEND_ROWS])
        )
    heads = "".join(f"<th>{reduction.NAMES[name]}</th>" for name in calculations)
    rows = []
    for number, frame in enumerate(frames[:MAX_LEGEND_ROWS]):
        cells = "".join(
            f"<td>{html.escape(written(frame, reduction.reduced(frame.points, name)))}</td>" for name in calculations
        )
        mark = f'<i style="background:{shade_of(frame, number)}"></i>'
        rows.append(f"<tr><td>{mark}{name_of(frame)}</td>{cells}</tr>")
    return f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
