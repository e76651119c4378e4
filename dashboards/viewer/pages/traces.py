"""Find traces by form."""

from __future__ import annotations

import datetime as dt
import html
import json
import re
from urllib.parse import urlencode

from nicegui import ui
from starlette.datastructures import QueryParams

from dashboards.errors import PeerError
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.explore_tabs import LOOKBACKS, explore_tabs
from dashboards.viewer.pages.shell import is_dark, page
from dashboards.viewer.peers.jaeger import Jaeger
from dashboards.viewer.traces.tree import Tree, build_tree

LIMIT = 30
_TAG = re.compile(r'([^\s=]+)=("(?:\\.|[^"\\])*"|\S+)')


class SearchPage:
    """Its form is in the address, so that a search can be sent to somebody."""

    def __init__(self, jaeger: Jaeger, asked: QueryParams) -> None:
        self._jaeger = jaeger
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
            if service:
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

    def _go(self, **fields: str | None) -> None:
        ui.navigate.to(f"/traces?{urlencode({name: value for name, value in fields.items() if value})}")

    async def _results(self, service: str) -> None:
        asked = self._asked
        lookback = asked.get("lookback", "1h")
        parameters = {"service": service, "lookback": lookback if lookback in LOOKBACKS else "1h", "limit": str(LIMIT)}
        if asked.get("operation"):
            parameters["operation"] = asked["operation"]
        if asked.get("min"):
            parameters["minDuration"] = asked["min"]
        if asked.get("tags"):
            parameters["tags"] = json.dumps({key: value.strip('"') for key, value in _TAG.findall(asked["tags"])})
        try:
            traces = await self._jaeger.search(parameters)
        except PeerError as error:
            ui.label(str(error)).classes("bad")
            return
        trees = [tree for trace in traces if (tree := build_tree(trace)) is not None]
        if not trees:
            ui.label("No trace fits. A longer lookback, or fewer conditions?").classes("none")
            return
        trees.sort(key=lambda tree: tree.start_us, reverse=True)
        self._scatter(trees)
        cut = f" The newest {LIMIT} are shown; narrow the search to see others." if len(trees) == LIMIT else ""
        ui.label(f"{len(trees)} {'trace' if len(trees) == 1 else 'traces'}.{cut}").classes("soft")
        ui.html(_listed(trees, service), sanitize=False).classes("scroll-x card").props("tabindex=0")

    def _scatter(self, trees: list[Tree]) -> None:
        """Of traces that stand newest first."""
        data = [
            {
                "value": [tree.start_us // 1000, tree.duration_us / 1e6, len(tree.nodes)],
                "name": tree.trace_id,
                "itemStyle": {"color": "#e5484d" if tree.errors else "#4c8dff"},
            }
            for tree in trees
        ]
        ink = "#c9d1dc" if is_dark() else "#4a5363"
        ui.echart(
            {
                "animation": False,
                "grid": {"left": 8, "right": 24, "top": 12, "bottom": 4, "containLabel": True},
                "xAxis": {
                    "type": "time",
                    "min": trees[-1].start_us // 1000 - 1000,  # a second at either side: dots are not cut in half
                    "max": trees[0].start_us // 1000 + 1000,
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


def _entry(tree: Tree, service: str) -> str:
    """Where the trace came into the service that is looked for: behind a gateway, all roots are alike."""
    found = next((node for node in tree.nodes if node.service == service), tree.root)
    if found is tree.root:
        return ""
    return f'<div class="soft">{html.escape(service)}: {html.escape(found.name)}</div>'


def _listed(trees: list[Tree], service: str) -> str:
    slowest = max(tree.duration_us for tree in trees)
    rows = []
    for number, tree in enumerate(trees):
        root = tree.root
        began = dt.datetime.fromtimestamp(tree.start_us / 1e6, dt.UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        errors = f' <span class="pill bad">{tree.errors} errors</span>' if tree.errors else ""
        share = tree.duration_us / slowest
        rows.append(
            f'<tr><td class="nowrap">{_choice("a", tree, chosen=number == 0)}'
            f"{_choice('b', tree, chosen=number == 1)}</td>"
            f'<td class="mono">{began}</td>'
            f'<td><a href="/trace/{html.escape(tree.trace_id)}">'
            f"{html.escape(root.service)}: {html.escape(root.name)}</a>{errors}{_entry(tree, service)}</td>"
            f'<td class="number hide-narrow">{len(tree.nodes)}</td>'
            f'<td class="hide-narrow">{html.escape(", ".join(tree.services))}</td>'
            f'<td class="number">{format_value(tree.duration_us / 1e6, "s")}'
            f'<div style="height:3px;border-radius:2px;background:var(--accent);width:{share:.0%};min-width:2px;'
            f'margin-left:auto"></div></td></tr>'
        )
    head = (
        "<tr><th>A, B</th><th>Started</th><th>Root</th><th class='number hide-narrow'>Spans</th>"
        "<th class='hide-narrow'>Services</th>"
        "<th class=number>Took</th></tr>"
    )
    table = f'<table class="plain"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
    button = '<button class="linklike">Compare A with B</button>'
    return f'<form action="/compare">{table}{button if len(trees) > 1 else ""}</form>'


def _choice(name: str, tree: Tree, *, chosen: bool) -> str:
    label = f"{name.upper()}: {tree.root.service} {tree.root.name}, {format_value(tree.duration_us / 1e6, 's')}"
    return (
        f'<input type="radio" name="{name}" value="{html.escape(tree.trace_id)}" '
        f'aria-label="{html.escape(label)}"{" checked" if chosen else ""}>'
    )
