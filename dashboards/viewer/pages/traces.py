"""Find traces by form, and one trace as a waterfall."""

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
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.shell import page
from dashboards.viewer.panels.colours import of_series
from dashboards.viewer.peers.jaeger import Jaeger
from dashboards.viewer.traces.tree import Node, Tree, build_tree

LOOKBACKS = {"5m": "5 minutes", "15m": "15 minutes", "1h": "1 hour", "6h": "6 hours", "24h": "24 hours", "2d": "2 days"}
LIMIT = 30
MAX_SPANS = 5000
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
                ["", *operations], label="Operation", value=asked.get("operation", ""), with_input=True
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
            ui.button("Find", on_click=search).props("unelevated no-caps color=primary")
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
        ui.label(f"{len(trees)} traces.{cut}").classes("soft")
        ui.html(_listed(trees), sanitize=False).classes("scroll-x card")

    def _scatter(self, trees: list[Tree]) -> None:
        data = [
            {
                "value": [tree.start_us // 1000, tree.duration_us / 1e6, len(tree.nodes)],
                "name": tree.trace_id,
                "itemStyle": {"color": "#e5484d" if tree.errors else "#4c8dff"},
            }
            for tree in trees
        ]
        ui.echart(
            {
                "animation": False,
                "grid": {"left": 8, "right": 12, "top": 12, "bottom": 4, "containLabel": True},
                "xAxis": {"type": "time", "axisLabel": {"color": "#8a94a6"}, "splitLine": {"show": False}},
                "yAxis": {
                    "type": "value",
                    "axisLabel": {"color": "#8a94a6", ":formatter": "(v) => window.steersman.seconds(v)"},
                    "splitLine": {"lineStyle": {"color": "#8a94a633"}},
                },
                "series": [{"type": "scatter", "symbolSize": 9, "data": data, "cursor": "pointer"}],
            },
            on_point_click=lambda event: ui.navigate.to(f"/trace/{event.name}"),
        ).style("height: 170px; width: 100%").classes("card q-mb-sm")


def _listed(trees: list[Tree]) -> str:
    slowest = max(tree.duration_us for tree in trees)
    rows = []
    for tree in trees:
        root = tree.root
        began = dt.datetime.fromtimestamp(tree.start_us / 1e6, dt.UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        errors = f' <span class="pill bad">{tree.errors} errors</span>' if tree.errors else ""
        share = tree.duration_us / slowest
        rows.append(
            f'<tr><td class="mono">{began}</td>'
            f'<td><a href="/trace/{html.escape(tree.trace_id)}">'
            f"{html.escape(root.service)}: {html.escape(root.name)}</a>{errors}</td>"
            f'<td class="number">{len(tree.nodes)}</td><td>{html.escape(", ".join(tree.services))}</td>'
            f'<td class="number">{format_value(tree.duration_us / 1e6, "s")}'
            f'<div style="height:3px;border-radius:2px;background:var(--accent);width:{share:.0%};min-width:2px;'
            f'margin-left:auto"></div></td></tr>'
        )
    head = (
        "<tr><th>Started</th><th>Root</th><th class=number>Spans</th><th>Services</th><th class=number>Took</th></tr>"
    )
    return f'<table class="plain"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


class TracePage:
    def __init__(self, jaeger: Jaeger, trace_id: str) -> None:
        self._jaeger = jaeger
        self._trace_id = trace_id

    async def build(self) -> None:
        with page("Trace", "traces"):
            if not re.fullmatch(r"[0-9a-fA-F]{1,32}", self._trace_id):
                ui.label(f"A trace id has up to 32 hexadecimal digits, this has not: {self._trace_id[:80]}").classes(
                    "bad"
                )
                return
            try:
                tree = build_tree(await self._jaeger.trace(self._trace_id))
            except PeerError as error:
                ui.label(str(error)).classes("bad")
                return
            if tree is None:
                ui.label("The trace has no spans.").classes("none")
                return
            self._head(tree)
            ui.html(waterfall(tree), sanitize=False).classes("card waterfall")

    def _head(self, tree: Tree) -> None:
        root = tree.root
        began = (
            dt.datetime.fromtimestamp(tree.start_us / 1e6, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        )
        age = format_value(time.time() - tree.start_us / 1e6, "s")
        with ui.element("div").classes("bar-top"):
            title = f"{html.escape(root.service)}: {html.escape(root.name)}"
            ui.html(f'<h1 class="title">{title}</h1>', sanitize=False)
            ui.label(tree.trace_id).classes("mono soft")
        errors = f'<span class="pill bad">{tree.errors} errors</span>' if tree.errors else ""
        services = "".join(
            f'<span class="svc"><i style="background:{of_series(number)}"></i>{html.escape(name)}</span>'
            for number, name in enumerate(tree.services)
        )
        slowest = sorted(tree.nodes, key=lambda node: node.critical_us, reverse=True)[:3]
        spent = ", ".join(
            f"{html.escape(node.service)} {html.escape(node.name)} {format_value(node.critical_us / 1e6, 's')}"
            for node in slowest
            if node.critical_us > 0
        )
        ui.html(
            f'<div class="facts"><b>{format_value(tree.duration_us / 1e6, "s")}</b> · {len(tree.nodes)} spans · '
            f"started {began} ({age} ago) {errors}<div>{services}</div>"
            f'<div class="soft">The critical path spent most in: {spent}</div></div>',
            sanitize=False,
        ).classes("q-mb-sm")


def waterfall(tree: Tree) -> str:
    """HTML: a row for each span, its details folded below it. The critical path is the dark line in a bar."""
    shades = {service: of_series(number) for number, service in enumerate(tree.services)}
    rows = [_span_row(tree, node, shades[node.service]) for node in tree.nodes[:MAX_SPANS]]
    cut = len(tree.nodes) - MAX_SPANS
    more = f'<div class="none">{cut} more spans are not shown</div>' if cut > 0 else ""
    ticks = "".join(
        f'<span style="left:{place:.0%}">{format_value(tree.duration_us * place / 1e6, "s")}</span>'
        for place in (0, 0.25, 0.5, 0.75)
    )
    return f'<div class="axis"><span></span><div class="ticks">{ticks}</div></div>{"".join(rows)}{more}'


def _span_row(tree: Tree, node: Node, shade: str) -> str:
    left = (node.start_us - tree.start_us) / tree.duration_us
    width = node.duration_us / tree.duration_us
    took = format_value(node.duration_us / 1e6, "s")
    alone = format_value(node.self_us / 1e6, "s")
    error = '<span class="bad">●</span> ' if node.failed else ""
    critical = (
        f'<u style="width:{node.critical_us / max(1, node.duration_us):.1%}"></u>' if node.critical_us > 0 else ""
    )
    side = "right:" + f"{1 - left:.2%}" if left + width > 0.8 else "left:" + f"{left + width:.2%}"
    return (
        f"<details><summary>"
        f'<span class="who" style="padding-left:{min(node.depth, 24) * 12}px"><i style="background:{shade}"></i>'
        f"{error}<b>{html.escape(node.service)}</b> {html.escape(node.name)}</span>"
        f'<span class="lane"><span class="span" style="left:{left:.3%};width:max(2px,{width:.3%});background:{shade}">'
        f'{critical}</span><em style="{side}">{took}</em></span></summary>'
        f'<div class="inside"><p class="soft">{took}, of which {alone} in no child; '
        f"starts {format_value((node.start_us - tree.start_us) / 1e6, 's')} after the trace · "
        f'<span class="mono">{html.escape(node.span_id)}</span></p>'
        f"{_pairs('Attributes', node.tags)}{_pairs('Resource', node.process)}"
        f"{_events(node, tree)}{_warned(node)}</div></details>"
    )


def _pairs(title: str, pairs: object) -> str:
    if not isinstance(pairs, dict) or not pairs:
        return ""
    rows = "".join(
        f'<tr><td class="soft">{html.escape(str(key))}</td><td class="mono">{html.escape(str(value))}</td></tr>'
        for key, value in sorted(pairs.items())
    )
    return f'<h4>{title}</h4><table class="pairs">{rows}</table>'


def _events(node: Node, tree: Tree) -> str:
    lines = []
    for log in node.logs:
        fields = {field.get("key"): field.get("value") for field in log.get("fields") or []}
        at = format_value((int(log.get("timestamp") or 0) - tree.start_us) / 1e6, "s")
        said = ", ".join(f"{key}={value}" for key, value in fields.items())
        lines.append(f'<li><span class="soft">+{at}</span> <span class="mono">{html.escape(said)}</span></li>')
    return f"<h4>Events</h4><ul>{''.join(lines)}</ul>" if lines else ""


def _warned(node: Node) -> str:
    return "".join(f'<p class="warn">{html.escape(str(text))}</p>' for text in node.warnings)
