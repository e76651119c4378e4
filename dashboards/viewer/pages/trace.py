"""One trace: what it was, its waterfall and flame graph (drawn in the browser), and two traces side by side."""

from __future__ import annotations

import datetime as dt
import hashlib
import html
import time
from pathlib import Path
from urllib.parse import urlencode

from nicegui import ui

from dashboards.errors import PeerError
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.shell import page
from dashboards.viewer.panels.colours import of_series
from dashboards.viewer.traces.comparison import Row, Sum, compared
from dashboards.viewer.traces.data import TRACE_ID, Traces
from dashboards.viewer.traces.tree import Tree

ASSETS = Path(__file__).parent.parent / "assets"
_SCRIPT_VERSION = hashlib.sha256((ASSETS / "trace.js").read_bytes()).hexdigest()[:12]  # browsers keep what has one
AROUND_MS = 60_000  # logs of a trace are looked for: clocks differ, and what it caused comes later
LOOK_AGAIN_S = 2.0  # at a trace whose spans may still come in
MAX_ROWS = 2000  # of a comparison: paths of calls, not spans
NOTABLE = 0.02  # of the longer trace: what differs by less is not marked


class TracePage:
    def __init__(self, traces: Traces, trace_id: str) -> None:
        self._traces = traces
        self._trace_id = trace_id.lower()

    async def build(self) -> None:
        with page("Trace", "traces"):
            tree = await _tree(self._traces, self._trace_id)
            if tree is None:
                return
            ui.add_head_html(f'<script src="/assets/trace.js?v={_SCRIPT_VERSION}" defer></script>')
            self._head(tree)
            self._told = ui.html("", sanitize=False).classes("q-mb-sm facts")
            self._view = ui.html("", sanitize=False).classes("card waterfall").style("width: 100%")
            self._show(tree)
        if self._traces.may_grow(tree):
            self._timer = ui.timer(LOOK_AGAIN_S, self._look_again, immediate=False)

    def _show(self, tree: Tree) -> None:
        self._spans = len(tree.nodes)
        self._told.content = _told(tree)
        # Another number makes another element, which loads anew.
        source = f"/trace-data/{html.escape(self._trace_id)}"
        self._view.content = f'<trace-view src="{source}" spans="{self._spans}"></trace-view>'

    async def _look_again(self) -> None:
        """Of a trace that was opened while its spans came in, the rest is shown without being asked for."""
        try:
            tree = await self._traces.tree(self._trace_id)
        except PeerError:
            return
        if len(tree.nodes) != self._spans:
            self._show(tree)
        if not self._traces.may_grow(tree):
            self._timer.cancel()

    def _head(self, tree: Tree) -> None:
        root = tree.root
        with ui.element("div").classes("bar-top"):
            title = f"{html.escape(root.service)}: {html.escape(root.name)}"
            ui.html(f'<h1 class="title">{title}</h1>', sanitize=False)
            ui.label(tree.trace_id).classes("mono soft")
            ui.element("div").classes("grow")
            around = {"trace": self._trace_id, "from": tree.start_us // 1000 - AROUND_MS}
            around["to"] = (tree.start_us + tree.duration_us) // 1000 + AROUND_MS
            ui.link("its logs", f"/logs?{urlencode(around)}")
            other = ui.input(placeholder="compare with trace id").props("outlined dense").classes("mono")
            other.on(
                "keydown.enter",
                lambda: ui.navigate.to(f"/compare?a={self._trace_id}&b={(other.value or '').strip()[:40]}"),
            )


def _told(tree: Tree) -> str:
    age = format_value(time.time() - tree.start_us / 1e6, "s")
    slowest = sorted(tree.nodes, key=lambda node: node.critical_us, reverse=True)[:3]
    spent = ", ".join(
        f"{html.escape(node.service)} {html.escape(node.name)} {format_value(node.critical_us / 1e6, 's')}"
        for node in slowest
        if node.critical_us > 0
    )
    return (
        f"{_facts(tree)} started {_began(tree)} ({age} ago)<div>{_services(tree)}</div>"
        f'<div class="soft">The critical path spent most in: {spent}</div></div>'
    )


def _facts(tree: Tree) -> str:
    errors = f' <span class="pill bad">{tree.errors} errors</span>' if tree.errors else ""
    count = f"{len(tree.nodes)} {'span' if len(tree.nodes) == 1 else 'spans'}"
    return f"<div><b>{format_value(tree.duration_us / 1e6, 's')}</b> · {count}{errors} ·"


def _services(tree: Tree) -> str:
    return "".join(
        f'<span class="svc"><i style="background:{of_series(number)}"></i>{html.escape(name)}</span>'
        for number, name in enumerate(tree.services)
    )


def _began(tree: Tree) -> str:
    began = dt.datetime.fromtimestamp(tree.start_us / 1e6, dt.UTC).astimezone()
    return began.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


async def _tree(traces: Traces, trace_id: str) -> Tree | None:
    """The trace, or None with the reason on the page."""
    if not TRACE_ID.fullmatch(trace_id):
        told = f"A trace id has up to 32 hexadecimal digits, this has not: {trace_id[:80]!r}"
        ui.label(told).classes("bad")
        return None
    try:
        return await traces.tree(trace_id)
    except PeerError as error:
        ui.label(str(error)).classes("bad")
        return None


class ComparePage:
    """What one trace did that another did not, or did longer."""

    def __init__(self, traces: Traces, first: str, second: str) -> None:
        self._traces = traces
        self._ids = (first.lower(), second.lower())

    async def build(self) -> None:
        with page("Two traces", "traces"):
            ui.html('<h1 class="title">Two traces compared</h1>', sanitize=False)
            first, second = [await _tree(self._traces, each) for each in self._ids]
            if first is None or second is None:
                return
            rows = compared(first, second)
            ui.html(_pair(first, second, self._ids), sanitize=False).classes("q-my-sm").style("width: 100%")
            ui.html(_differences(rows, first, second), sanitize=False).classes("card scroll-x q-mb-sm").props(
                "tabindex=0"
            ).style("width: 100%")
            ui.html(_table(rows, first, second), sanitize=False).classes("card scroll-x").props("tabindex=0").style(
                "width: 100%"
            )


def _pair(first: Tree, second: Tree, ids: tuple[str, str]) -> str:
    cards = "".join(
        f'<div class="card"><span class="soft">{letter}</span> <a href="/trace/{html.escape(trace_id)}">'
        f"{html.escape(tree.root.service)}: {html.escape(tree.root.name)}</a>"
        f'<div class="facts">{_facts(tree)} {_began(tree)}</div></div></div>'
        for letter, tree, trace_id in zip("AB", (first, second), ids, strict=True)
    )
    swap = f'<a href="/compare?a={html.escape(ids[1])}&b={html.escape(ids[0])}">the other way round</a>'
    return f'<div class="two">{cards}</div><div class="soft q-mt-sm">{swap}</div>'


def _differences(rows: list[Row], first: Tree, second: Tree) -> str:
    """The three that matter most, in words."""
    least_us = NOTABLE * max(first.duration_us, second.duration_us)
    notable = [row for row in rows if abs(row.longer_us) >= least_us]
    notable.sort(key=lambda row: abs(row.longer_us), reverse=True)
    lines = [
        f"<li><b>{html.escape(' '.join(row.step))}</b> itself took {format_value(abs(row.longer_us) / 1e6, 's')} "
        f"{'longer' if row.longer_us > 0 else 'less'} in B</li>"
        for row in notable[:3]
    ]
    only = [(side, sum(row.only == side for row in rows)) for side in ("first", "second")]
    lines += [
        f"<li>{count} {'path of calls is' if count == 1 else 'paths of calls are'} only in "
        f"{'A' if side == 'first' else 'B'}</li>"
        for side, count in only
        if count
    ]
    return f"<h2>What differs</h2><ul>{''.join(lines) or '<li>Nothing notable.</li>'}</ul>"


def _table(rows: list[Row], first: Tree, second: Tree) -> str:
    least_us = NOTABLE * max(first.duration_us, second.duration_us)
    longest = max((abs(row.longer_us) for row in rows), default=0) or 1
    shown = "".join(_row(row, least_us, longest) for row in rows[:MAX_ROWS])
    more = f'<div class="none">{len(rows) - MAX_ROWS} more are not shown</div>' if len(rows) > MAX_ROWS else ""
    head = (
        "<tr><th>Call</th>"
        "<th class='number hide-narrow'>A: spans</th><th class='number hide-narrow'>all</th>"
        "<th class='number hide-narrow'>itself</th>"
        "<th class='number hide-narrow'>B: spans</th><th class='number hide-narrow'>all</th>"
        "<th class='number hide-narrow'>itself</th>"
        "<th class=number>Itself, B to A</th></tr>"
    )
    return f'<table class="plain compare"><thead>{head}</thead><tbody>{shown}</tbody></table>{more}'


def _row(row: Row, least_us: float, longest: int) -> str:
    service, name = row.step
    only = {"first": "only in A", "second": "only in B"}.get(row.only, "")
    mark = f' <span class="pill {"bad" if row.only == "second" else "soft"}">{only}</span>' if only else ""
    change = row.longer_us
    look = ("bad" if change > 0 else "good") if abs(change) >= least_us else "soft"
    told = f"{'+' if change > 0 else '−'}{format_value(abs(change) / 1e6, 's')}" if change else "–"
    bar = f'<div class="change {look}" style="width:{abs(change) / longest:.0%}"></div>' if change else ""
    return (
        f'<tr><td style="padding-left:{8 + min(row.depth, 24) * 14}px"><b>{html.escape(service)}</b> '
        f"{html.escape(name)}{mark}</td>{_sum(row.first)}{_sum(row.second)}"
        f'<td class="number {look}">{told}{bar}</td></tr>'
    )


def _sum(total: Sum) -> str:
    if not total.count:
        return _numbers("–", "", "")
    errors = f' <span class="bad">●{total.errors}</span>' if total.errors else ""
    times = (format_value(us / 1e6, "s") for us in (total.total_us, total.self_us))
    return _numbers(f"{total.count}{errors}", *times)


def _numbers(*cells: str) -> str:
    """On a phone only the difference is shown: how many spans, and how long, is told by each trace itself."""
    return "".join(f'<td class="number hide-narrow">{cell}</td>' for cell in cells)
