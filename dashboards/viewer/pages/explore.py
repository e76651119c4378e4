"""One PromQL expression, on a chart and as a table."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlencode

from nicegui import ui
from starlette.datastructures import QueryParams

from dashboards.errors import PeerError
from dashboards.viewer.grafana.dashboard import Panel, Target, parse_dashboard
from dashboards.viewer.grafana.interpolation import builtin, interpolate
from dashboards.viewer.grafana.timerange import Span, span_of
from dashboards.viewer.pages.dashboard import RANGES
from dashboards.viewer.pages.explore_tabs import explore_tabs
from dashboards.viewer.pages.shell import is_dark, page
from dashboards.viewer.panels.chart_view import ChartView
from dashboards.viewer.panels.frames import Answer, frames_of
from dashboards.viewer.panels.queries import SCRAPE_INTERVAL_S
from dashboards.viewer.panels.table_view import TableView
from dashboards.viewer.peers.prometheus import Prometheus

POINTS = 600
EXAMPLE = "sum by (job) (rate(http_server_request_duration_seconds_count[1m]))"
_PANEL = {
    "title": "explore",
    "panels": [
        {
            "type": "timeseries",
            "options": {"legend": {"calcs": ["lastNotNull", "min", "mean", "max"]}},
            "targets": [{"refId": "A", "expr": "", "legendFormat": "__auto"}],
        }
    ],
}


class ExplorePage:
    def __init__(self, prometheus: Prometheus, asked: QueryParams) -> None:
        self._prometheus = prometheus
        self._expr = asked.get("expr", "")
        self._start = asked.get("from", "now-15m")
        self._end = asked.get("to", "now")

    async def build(self) -> None:
        names = asyncio.create_task(self._names())
        with page("Explore", "explore"):
            explore_tabs("metrics", self._start, self._end)
            with ui.element("div").classes("bar-top"):
                ui.html('<h1 class="title">Explore</h1>', sanitize=False)
                expr = (
                    ui.input("PromQL", value=self._expr, placeholder=EXAMPLE)
                    .props('outlined dense input-class="mono"')
                    .classes("grow")
                )
                ranges = RANGES if self._start in RANGES else {self._start: self._start, **RANGES}
                start = ui.select(ranges, value=self._start, label="Range").props("outlined dense options-dense")

                def run() -> None:
                    ui.navigate.to(f"/explore?{urlencode({'expr': expr.value or '', 'from': start.value})}")

                expr.on("keydown.enter", run)
                start.on_value_change(run)
                ui.button("Run", on_click=run).props("outline no-caps color=primary")
            if not self._expr:
                example = ui.link(EXAMPLE, f"/explore?{urlencode({'expr': EXAMPLE})}").classes("mono")
                example.tooltip("Try this one")
            else:
                await self._show()
            expr.set_autocomplete(await names)

    async def _names(self) -> list[str]:
        """Of all metrics of the last hour, for completion."""
        now = time.time()
        try:
            return await self._prometheus.label_values("__name__", "", Span(now - 3600, now))
        except PeerError:
            return []

    async def _show(self) -> None:
        now = time.time()
        span = span_of(self._start, self._end, now) or Span(now - 900, now)
        step = span.step(POINTS, SCRAPE_INTERVAL_S)
        values = builtin(span, step, SCRAPE_INTERVAL_S)
        expr = interpolate(self._expr, values, promql=True)
        panel: Panel = parse_dashboard(_PANEL).panels[0]
        target: Target = panel.targets[0]
        try:
            series, latest = await asyncio.gather(
                self._prometheus.query_range(expr, span, step), self._prometheus.query(expr, span.end)
            )
        except PeerError as error:
            with ui.element("div").classes("card"):
                ui.label(str(error)).classes("bad mono")
                _point_at(str(error), expr)
            return
        with ui.element("section").classes("panel").style("height: 380px"), ui.element("div").classes("body"):
            chart = ChartView(panel, lambda trace: ui.navigate.to(f"/trace/{trace}"))
        frames = frames_of(panel, target, series, values)
        chart.show(Answer(frames, (), (), span, step), values, dark=is_dark())
        with ui.element("section").classes("card q-mt-sm"):
            table = TableView(panel)
        table.show(Answer(frames_of(panel, target, latest, values), (), (), span, step), values, dark=is_dark())


def _point_at(message: str, expr: str) -> None:
    """Prometheus says `line:column: parse error`; the place is shown below the expression."""
    line, _, rest = message.removeprefix('invalid parameter "query": ').partition(":")
    column = rest.partition(":")[0]
    if not line.isdecimal() or not column.isdecimal():
        return
    lines = expr.splitlines() or [""]
    if 1 <= int(line) <= len(lines):
        marked = f"{lines[int(line) - 1]}\n{' ' * (int(column) - 1)}^"
        ui.code(marked, language="text").classes("w-full")
