"""Log records by service, severity, text and trace, newest first; each leads to its trace."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from nicegui import ui
from starlette.datastructures import QueryParams

from dashboards.errors import PeerError
from dashboards.viewer.grafana.timerange import Span, span_of
from dashboards.viewer.pages.dashboard import RANGES
from dashboards.viewer.pages.explore_tabs import explore_tabs
from dashboards.viewer.pages.shell import page
from dashboards.viewer.panels.records import logs_html
from dashboards.viewer.panels.sources import MAX_RECORDS, Sources
from dashboards.viewer.peers.jaeger import Jaeger

SEVERITIES = {"": "any", "INFO": "info or worse", "WARN": "warning or worse", "ERROR": "error or worse"}
MAX_TEXT = 1000  # characters, as the collector's API takes them


class LogsPage:
    """Its form is in the address, so that a search can be sent to somebody."""

    def __init__(self, sources: Sources, jaeger: Jaeger, asked: QueryParams) -> None:
        self._sources = sources
        self._jaeger = jaeger
        self._start = asked.get("from", "now-15m")
        self._end = asked.get("to", "now")
        self._service = asked.get("service", "")[:200]
        severity = asked.get("severity", "")
        self._severity = severity if severity in SEVERITIES else ""
        self._text = asked.get("text", "")[:MAX_TEXT]
        self._trace = asked.get("trace", "")[:32]

    async def build(self) -> None:
        try:
            services = await self._jaeger.services()
        except PeerError:
            services = []  # one may still be typed into the address
        with page("Logs", "explore"):
            explore_tabs("logs", self._start, self._end, self._service)
            self._form(sorted({*services, self._service} - {""}))
            await self._results()

    def _form(self, services: list[str]) -> None:
        with ui.element("div").classes("bar-top"):
            ui.html('<h1 class="title">Logs</h1>', sanitize=False)
            named = {"": "all", **{name: name for name in services}}
            service = ui.select(named, value=self._service, label="Service").props("outlined dense options-dense")
            severity = ui.select(SEVERITIES, value=self._severity, label="Severity").props(
                "outlined dense options-dense"
            )
            text = ui.input("Contains", value=self._text).props("outlined dense").classes("grow")
            trace = ui.input("Trace id", value=self._trace).props('outlined dense input-class="mono"')
            ranges = RANGES if self._start in RANGES else {self._start: self._start, **RANGES}
            start = ui.select(ranges, value=self._start, label="Range").props("outlined dense options-dense")

            def search() -> None:
                fields = {
                    "service": service.value,
                    "severity": severity.value,
                    "text": (text.value or "").strip(),
                    "trace": (trace.value or "").strip().lower(),
                    "from": start.value,
                    "to": self._end if start.value == self._start else "now",
                }
                ui.navigate.to(f"/logs?{urlencode({name: value for name, value in fields.items() if value})}")

            for field in (text, trace):
                field.on("keydown.enter", search)
            for chosen in (service, severity, start):
                chosen.on_value_change(search)
            ui.button("Find", on_click=search).props("outline no-caps color=primary")

    async def _results(self) -> None:
        now = time.time()
        span = span_of(self._start, self._end, now) or Span(now - 900, now)
        fields = {"service": self._service, "severity": self._severity, "text": self._text, "trace_id": self._trace}
        try:
            records = await self._sources.log_records(
                {name: value for name, value in fields.items() if value}, span, MAX_RECORDS
            )
        except PeerError as error:
            ui.label(str(error)).classes("bad")
            return
        if not records:
            ui.label("No log record fits. A longer range, or fewer conditions?").classes("none")
            return
        is_cut = len(records) == MAX_RECORDS
        cut = f" The newest {MAX_RECORDS} are shown; narrow the search to see others." if is_cut else ""
        ui.label(f"{len(records)} {'record' if len(records) == 1 else 'records'}.{cut}").classes("soft")
        ui.html(logs_html(records), sanitize=False).classes("scroll-x card").style("width: 100%").props("tabindex=0")
