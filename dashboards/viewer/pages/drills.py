"""Drills: start one, watch it, read how it went, and how well the stack has borne them over time."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any
from urllib.parse import quote

from nicegui import ui

from dashboards.errors import PeerError
from dashboards.viewer.auth.permission import perform
from dashboards.viewer.auth.roles import Act
from dashboards.viewer.pages import drill_report as told
from dashboards.viewer.pages.acting import act_button
from dashboards.viewer.pages.shell import is_dark, page
from dashboards.viewer.panels.marked_chart import marked_chart
from dashboards.viewer.peers.drills import Drills

REFRESH_S = 2.0
LIVE_S = 1.0  # how often a running drill tells what it has come to
RUN = re.compile(r"[a-z][a-z0-9-]{0,59}-\d{8}T\d{6}\.\d{3}Z")
LIVE_PATH = "/drills/live"
Json = dict[str, Any]


class DrillsPage:
    def __init__(self, drills: Drills) -> None:
        self._drills = drills
        self._running: str | None = None

    async def build(self) -> None:
        with page("Drills", "drills"):
            with ui.element("div").classes("bar-top"):
                ui.html('<h1 class="title">Drills</h1>', sanitize=False)
                ui.label("Break something on purpose, and see whether it is noticed and mended in time.").classes(
                    "soft"
                )
            self._error = ui.label("").classes("bad")
            self._now = ui.element("div").style("width: 100%")
            self._score = ui.html("", sanitize=False).style("width: 100%")
            cards = ui.element("div").classes("cards wide q-my-sm")
            ui.html('<h2 class="title">History</h2>', sanitize=False)
            self._history = (
                ui.html("", sanitize=False).classes("card scroll-x q-mt-sm").props("tabindex=0").style("width: 100%")
            )
            try:
                drills, history = await asyncio.gather(self._drills.all(), self._drills.history())
            except PeerError as error:
                self._error.set_text(f"The drills of this stack cannot be asked: {error}")
                return
            last = {each["drill"]: each for each in history.get("drills") or []}
            with cards:
                for drill in drills:
                    self._card(drill, last.get(str(drill.get("name"))))
            self._show(history)
            await self._follow()
        ui.timer(REFRESH_S, self._follow, immediate=False)

    def _card(self, drill: Json, history: Json | None) -> None:
        name = str(drill.get("name"))
        with ui.element("section").classes("card drill"):
            if drill.get("problem"):
                ui.label(name).classes("text-weight-bold")
                ui.label(str(drill["problem"])).classes("bad")
                return
            ui.label(str(drill.get("title"))).classes("text-weight-bold")
            ui.label(str(drill.get("description"))).classes("soft told-short").tooltip(str(drill.get("description")))
            ui.label(f"{name}, at most {float(drill.get('timeout_s') or 0):.0f} s").classes("soft row-end")
            with ui.row().classes("items-center"):
                act_button("Start", Act.START_DRILL, lambda: self._start(name), icon="play_arrow")
                if history is not None:
                    run = history["runs"][-1]
                    link = f'<a href="/drill/{quote(run["run"])}">{told.verdict_pill(run["verdict"], run["score"])}</a>'
                    ui.html(link, sanitize=False)

    async def _start(self, name: str) -> None:
        async def start(_who: str) -> None:
            await self._drills.start(name)

        if await perform(Act.START_DRILL, name, start):
            ui.navigate.to(LIVE_PATH)

    async def _follow(self) -> None:
        try:
            running = (await self._drills.running()).get("running")
        except PeerError as error:
            self._error.set_text(str(error))
            return
        self._error.set_text("")
        if running == self._running:
            return
        ended = self._running is not None and running is None
        self._running = running
        self._now.clear()
        if running:
            with self._now, ui.element("div").classes("card question"):
                ui.label(f"Running: {running.partition(' (')[0]}").classes("text-weight-bold")
                ui.link("Watch it", LIVE_PATH)
        if ended:
            self._show(await self._drills.history())

    def _show(self, history: Json) -> None:
        score, never = history.get("score"), history.get("never_run") or []
        lacks = f"<div class=soft>Never run: {html.escape(', '.join(map(str, never)))}</div>" if never else ""
        if score is not None:
            self._score.content = (
                f'<div class="card q-mt-sm facts"><b>Resilience {score:.0f}</b> of 100, over the last run of each'
                f"{lacks}</div>"
            )
        runs = [(each["drill"], run) for each in history.get("drills") or [] for run in each["runs"]]
        runs.sort(key=lambda pair: int(pair[1]["started_at_unix_ms"]), reverse=True)
        self._history.content = _runs(runs) if runs else '<div class="none">No drill was run yet.</div>'


def _runs(runs: list[tuple[str, Json]]) -> str:
    names = list(dict.fromkeys(name for _, run in runs for name in run["grades"]))
    heads = "".join(f"<th class=number>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        f'<tr><td class="mono nowrap">{told.when(run["started_at_unix_ms"])}</td>'
        f"<td>{told.verdict_pill(run['verdict'], run['score'])}</td>"
        f'<td><a href="/drill/{quote(run["run"])}">{html.escape(drill)}</a></td>'
        f"{_cells(run['grades'], names)}</tr>"
        for drill, run in runs
    )
    head = f"<tr><th>Begun</th><th>Verdict</th><th>Drill</th>{heads}</tr>"
    return f'<table class="plain"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _cells(grades: Json, names: list[str]) -> str:
    return "".join(f"<td class=number>{told.seconds(grades.get(name))}</td>" for name in names)


class LivePage:
    """The drill that runs now; when it has ended, its report."""

    def __init__(self, drills: Drills) -> None:
        self._drills = drills
        self._run: str | None = None
        self._stoppable = False

    async def build(self) -> None:
        with page("Drill", "drills"):
            self._heading = ui.html("", sanitize=False).style("width: 100%")
            self._buttons = ui.row().classes("items-center q-mb-sm")
            self._waiting = ui.html("", sanitize=False).style("width: 100%")
            self._grades = ui.html("", sanitize=False).style("width: 100%")
            self._parts = ui.element("div").classes("two q-mt-sm")
            self._parts.set_visibility(False)  # nothing to tell yet
            with self._parts:
                with ui.element("div").classes("card"):
                    ui.html("<h2>Timeline, newest first</h2>", sanitize=False)
                    self._timeline = ui.html("", sanitize=False)
                with ui.element("div").classes("card scroll-x").props("tabindex=0"):
                    ui.html("<h2>What is expected</h2>", sanitize=False)
                    self._expectations = ui.html("", sanitize=False)
            await self._follow()
        ui.timer(LIVE_S, self._follow, immediate=False)

    async def _follow(self) -> None:
        try:
            now = await self._drills.running()
        except PeerError as error:
            self._heading.content = f'<p class="bad">{html.escape(str(error))}</p>'
            return
        report = now.get("report")
        if not now.get("running"):
            self._ended()
        elif report is None:
            self._heading.content = (
                f'<h1 class="title">{html.escape(str(now["running"]).partition(" (")[0])} begins…</h1>'
            )
        else:
            self._run = str(report.get("run"))
            self._show(report)
        self._offer_stop(bool(now.get("running")) and bool(now.get("started_here")))

    def _ended(self) -> None:
        if self._run is not None and RUN.fullmatch(self._run):
            ui.navigate.to(f"/drill/{self._run}")
            return
        self._heading.content = '<div class="none">No drill is running. <a href="/drills">Start one</a></div>'

    def _show(self, report: Json) -> None:
        phase = html.escape(str(report.get("phase")))
        self._heading.content = (
            f'<div class="bar-top"><h1 class="title">{html.escape(str(report.get("title")))}</h1>'
            f'<span class="pill warn">{phase}</span>'
            f"<span class=soft>{float(report.get('duration_s') or 0):.0f} s so far</span></div>"
        )
        waiting = "".join(f"<div>{html.escape(str(each))}</div>" for each in report.get("waiting_for") or [])
        self._waiting.content = f'<div class="card q-mb-sm"><span class=soft>Waited for</span>{waiting or " –"}</div>'
        self._grades.content = told.grades(report)
        self._parts.set_visibility(True)
        self._timeline.content = told.timeline(report, newest_first=True)
        self._expectations.content = told.expectations(report)

    def _offer_stop(self, stoppable: bool) -> None:
        if stoppable == self._stoppable:
            return
        self._stoppable = stoppable
        self._buttons.clear()
        if stoppable:
            with self._buttons:
                act_button("Stop and roll back", Act.STOP_DRILL, self._stop, icon="stop", look="bad")

    async def _stop(self) -> None:
        async def stop(_who: str) -> None:
            await self._drills.stop()

        if await perform(Act.STOP_DRILL, self._run or "drill", stop):
            ui.notify("It undoes what it broke, then ends.", type="positive")


class ReportPage:
    def __init__(self, drills: Drills, run: str) -> None:
        self._drills = drills
        self._run = run

    async def build(self) -> None:
        with page("Drill report", "drills"):
            try:
                report = await self._report()
            except PeerError as error:
                ui.label(str(error)).classes("bad")
                return
            self._heading(report)
            ui.html(told.grades(report), sanitize=False).style("width: 100%")
            self._charts(report)
            with ui.element("div").classes("two q-mt-sm"):
                with ui.element("div").classes("card"):
                    ui.html(f"<h2>Timeline</h2>{told.timeline(report)}", sanitize=False)
                with ui.element("div").classes("card scroll-x").props("tabindex=0"):
                    ui.html(f"<h2>What was expected</h2>{told.expectations(report)}", sanitize=False)

    async def _report(self) -> Json:
        """A drill that has just ended draws its charts before it writes its report."""
        for patience in (1.0, 2.0, 3.0, None):
            try:
                return await self._drills.report(self._run)
            except PeerError as error:
                if patience is None or error.status != 404:
                    raise
            await asyncio.sleep(patience)
        raise AssertionError("unreachable")

    def _heading(self, report: Json) -> None:
        reasons = "".join(f'<p class="bad">{html.escape(str(each))}</p>' for each in report.get("reasons") or [])
        address = f"/drill/{quote(self._run)}/page"
        began = report.get("injected_at_unix_ms") or report.get("started_at_unix_ms")
        service = quote(str(report.get("service")))
        window = ""
        if isinstance(began, int):
            window = f"&from={began - 60_000}&to={began + int(float(report.get('duration_s') or 0) * 1000) + 30_000}"
        ui.html(
            f'<div class="bar-top"><h1 class="title">{html.escape(str(report.get("title")))}</h1>'
            f"{told.verdict_pill(str(report.get('verdict')), report.get('score'))}"
            f"<span class=soft>{told.when(report.get('started_at_unix_ms'))}, "
            f"{float(report.get('duration_s') or 0):.0f} s</span></div>"
            f'<div class="card q-mb-sm">{reasons}<div>{html.escape(str(report.get("description")))}</div>'
            f'<div class=links><a href="{address}">as one page, to keep or send</a>'
            f'<a href="/d/steersman-service?var-service={service}{window}">the service at that time</a>'
            f'<a href="/remediations?service={service}">what the worker did</a></div></div>',
            sanitize=False,
        ).style("width: 100%")

    def _charts(self, report: Json) -> None:
        marks, bands = told.marks(report), told.injection_band(report)
        with ui.element("div").classes("two q-mt-sm"):
            for chart in report.get("charts") or []:
                lines = [(str(line["name"]), line["points"]) for line in chart.get("series") or []]
                with ui.element("div").classes("card"):
                    ui.label(str(chart.get("title"))).classes("text-weight-bold")
                    unit = {"s": "s", "/s": "reqps"}.get(str(chart.get("unit")), "")
                    options = marked_chart(lines, unit=unit, dark=is_dark(), clock=False, marks=marks, bands=bands)
                    ui.echart(options).style("height: 210px; width: 100%")
