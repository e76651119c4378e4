"""Find traces by form, or by the filter language."""

from __future__ import annotations

import datetime as dt
import html
import json
import re
import time
from urllib.parse import urlencode

from nicegui import ui
from starlette.datastructures import QueryParams

from dashboards.errors import PeerError
from dashboards.viewer.grafana.timerange import parse_interval
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.explore_tabs import LOOKBACKS, explore_tabs
from dashboards.viewer.pages.shell import is_dark, page
from dashboards.viewer.peers.jaeger import Jaeger
from dashboards.viewer.peers.trace_search import TraceSearch
from dashboards.viewer.traces.found import Found, of_summary, of_tree
from dashboards.viewer.traces.tree import build_tree

LIMIT = 30
MAX_FILTER = 10_000  # characters, as the collector takes them
EXAMPLE = '{ service = "checkout" && duration > 1s } >> { status = error }'
_TAG = re.compile(r'([^\s=]+)=("(?:\\.|[^"\\])*"|\S+)')


class SearchPage:
    """Its form is in the address, so that a search can be sent to somebody."""

    def __init__(self, jaeger: Jaeger, search: TraceSearch, asked: QueryParams) -> None:
        self._jaeger = jaeger
        self._search = search
        self._asked = asked

    async def build(self) -> None:
        asked = self._asked
        with page("Traces", "traces"):
            try:
                services = await self._jaeger.services()
                service = asked.get("service") or (services[0] if services else "")
                operations = await self._jaeger.operations(service) if service else []
            except PeerError as error:
                ui.label(str(error)).classes("bad")
                return
            explore_tabs("traces", f"now-{asked.get('lookback', '1h')}"[:20], "now", service)
            self._form(services, service, operations)
            if service or asked.get("filter"):
                await self._results(service)

    def _form(self, services: list[str], service: str, operations: list[str]) -> None:
        asked = self._asked
        with ui.element("div").classes("bar-top"):
            ui.html('<h1 class="title">Traces</h1>', sanitize=False)
            picked = ui.select(
                services or [""], label="Service", value=service, on_change=lambda event: self._go(service=event.value)
            ).props("outlined dense options-dense")
            operation = ui.select(
                ["", *operations], label="Operation", value=asked.get("operation") or None, with_input=True
            ).props("outlined dense options-dense clearable")
            tags = ui.input("Tags", value=asked.get("tags", ""), placeholder="http.route=/orders error=true").props(
                "outlined dense"
            )
            slower = ui.input("At least", value=asked.get("min", ""), placeholder="300ms").props("outlined dense")
            lookback = ui.select(LOOKBACKS, label="Lookback", value=asked.get("lookback", "1h")).props(
                "outlined dense options-dense"
            )

            def search() -> None:
                self._go(
                    service=picked.value,
                    operation=operation.value,
                    tags=tags.value,
                    min=slower.value,
                    lookback=lookback.value,
                )

            for field in (tags, slower):
                field.on("keydown.enter", search)
            ui.button("Find", on_click=search).props("outline no-caps color=primary")
            found = ui.input(placeholder="trace id").props("outlined dense")
            found.on("keydown.enter", lambda: ui.navigate.to(f"/trace/{(found.value or '').strip()}"))
            wanted = (
                ui.input("Filter, in place of the form", value=asked.get("filter", ""), placeholder=EXAMPLE)
                .props('outlined dense input-class="mono"')
                .classes("filter")
            )
            wanted.on(
                "keydown.enter",
                lambda: self._go(service=picked.value, filter=(wanted.value or "").strip(), lookback=lookback.value),
            )

    def _go(self, **fields: str | None) -> None:
        ui.navigate.to(f"/traces?{urlencode({name: value for name, value in fields.items() if value})}")

    async def _results(self, service: str) -> None:
        try:
            found = await (self._filtered() if self._asked.get("filter") else self._by_form(service))
        except PeerError as error:
            ui.label(str(error)).classes("bad")
            return
        if not found:
            ui.label("No trace fits. A longer lookback, or fewer conditions?").classes("none")
            return
        found.sort(key=lambda each: each.start_us, reverse=True)
        _scatter(found)
        cut = f" The newest {LIMIT} are shown; narrow the search to see others." if len(found) == LIMIT else ""
        ui.label(f"{len(found)} {'trace' if len(found) == 1 else 'traces'}.{cut}").classes("soft")
        ui.html(_listed(found), sanitize=False).classes("scroll-x card").props("tabindex=0")

    def _lookback(self) -> str:
        lookback = self._asked.get("lookback", "1h")
        return lookback if lookback in LOOKBACKS else "1h"

    async def _filtered(self) -> list[Found]:
        now = time.time()
        start = now - (parse_interval(self._lookback()) or 3600.0)
        wanted = self._asked["filter"][:MAX_FILTER]
        return [of_summary(each) for each in await self._search.search(wanted, start=start, end=now, limit=LIMIT)]

    async def _by_form(self, service: str) -> list[Found]:
        asked = self._asked
        parameters = {"service": service, "lookback": self._lookback(), "limit": str(LIMIT)}
        if asked.get("operation"):
            parameters["operation"] = asked["operation"]
        if asked.get("min"):
            parameters["minDuration"] = asked["min"]
        if asked.get("tags"):
            parameters["tags"] = json.dumps({key: value.strip('"') for key, value in _TAG.findall(asked["tags"])})
        traces = await self._jaeger.search(parameters)
        return [of_tree(tree, service) for trace in traces if (tree := build_tree(trace)) is not None]


def _scatter(found: list[Found]) -> None:
    """Of traces that stand newest first."""
    data = [
        {
            "value": [each.start_us // 1000, each.duration_us / 1e6, each.spans],
            "name": each.trace_id,
            "itemStyle": {"color": "#e5484d" if each.errors else "#4c8dff"},
        }
        for each in found
    ]
    ink = "#c9d1dc" if is_dark() else "#4a5363"
    ui.echart(
        {
            "animation": False,
            "grid": {"left": 8, "right": 24, "top": 12, "bottom": 4, "containLabel": True},
            "xAxis": {
                "type": "time",
                "min": found[-1].start_us // 1000 - 1000,  # a second at either side: dots are not cut in half
                "max": found[0].start_us // 1000 + 1000,
                "axisLabel": {"color": ink, "hideOverlap": True, "fontSize": 11},
                "splitLine": {"show": False},
            },
            "yAxis": {
                "type": "value",
                "splitNumber": 4,
                "axisLabel": {"color": ink, "fontSize": 11, ":formatter": "(v) => window.steersman.seconds(v)"},
                "splitLine": {"lineStyle": {"color": "#8a94a633"}},
            },
            "series": [{"type": "scatter", "symbolSize": 9, "data": data, "cursor": "pointer"}],
        },
        on_point_click=lambda event: ui.navigate.to(f"/trace/{event.name}"),
    ).style("height: 170px; width: 100%").classes("card q-mb-sm")


def _listed(found: list[Found]) -> str:
    slowest = max(each.duration_us for each in found)
    rows = []
    for number, each in enumerate(found):
        began = dt.datetime.fromtimestamp(each.start_us / 1e6, dt.UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        errors = f' <span class="pill bad">{each.errors} errors</span>' if each.errors else ""
        entry = f'<div class="soft">{html.escape(each.entry)}</div>' if each.entry else ""
        rows.append(
            f'<tr><td class="nowrap">{_choice("a", each, chosen=number == 0)}'
            f"{_choice('b', each, chosen=number == 1)}</td>"
            f'<td class="mono">{began}</td>'
            f'<td><a href="/trace/{html.escape(each.trace_id)}">{html.escape(each.root)}</a>{errors}{entry}</td>'
            f'<td class="number hide-narrow">{each.spans}</td>'
            f'<td class="hide-narrow">{html.escape(", ".join(each.services))}</td>'
            f'<td class="number">{format_value(each.duration_us / 1e6, "s")}'
            f'<div style="height:3px;border-radius:2px;background:var(--accent);width:{each.duration_us / slowest:.0%};'
            f'min-width:2px;margin-left:auto"></div></td></tr>'
        )
    head = (
        "<tr><th>A, B</th><th>Started</th><th>Root</th><th class='number hide-narrow'>Spans</th>"
        "<th class='hide-narrow'>Services</th>"
        "<th class=number>Took</th></tr>"
    )
    table = f'<table class="plain"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
    button = '<button class="linklike">Compare A with B</button>'
    return f'<form action="/compare">{table}{button if len(found) > 1 else ""}</form>'


def _choice(name: str, each: Found, *, chosen: bool) -> str:
    label = f"{name.upper()}: {each.root}, {format_value(each.duration_us / 1e6, 's')}"
    return (
        f'<input type="radio" name="{name}" value="{html.escape(each.trace_id)}" '
        f'aria-label="{html.escape(label)}"{" checked" if chosen else ""}>'
    )
