"""What the worker does and did: a list that is live, one run in full, its questions, and the kill switch."""

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
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.pages import record as told
from dashboards.viewer.pages.acting import act_button, ask_reason
from dashboards.viewer.pages.shell import is_dark, page
from dashboards.viewer.panels.canvas import Canvas
from dashboards.viewer.panels.marked_chart import Mark, marked_chart, with_gaps
from dashboards.viewer.peers.prometheus import Prometheus
from dashboards.viewer.peers.remediation import Remediation, Verdict

REFRESH_S = 2.0
CHART_REFRESH_S = 6.0  # a chart costs a query each, and a person does not see more
LIMIT = 100
MAX_CHARTS = 4
MAX_LINES = 6
POINTS = 240
_RUN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
Record = dict[str, Any]


class RemediationsPage:
    def __init__(self, remediation: Remediation, service: str) -> None:
        self._remediation = remediation
        self._service = service
        self._asked: frozenset[str] | None = None  # the runs whose questions are shown
        self._switch_shown: bool | None = None

    async def build(self) -> None:
        with page("Remediations", "remediations"):
            of = f" of {html.escape(self._service)}" if self._service else ""
            with ui.element("div").classes("bar-top"):
                ui.html(f'<h1 class="title">Remediations{of}</h1>', sanitize=False)
                if self._service:
                    ui.link("of all services", "/remediations")
                ui.element("div").classes("grow")
                self._switch = ui.row().classes("items-center")
            self._questions = ui.column().style("width: 100%; gap: 8px")
            self._list = (
                ui.html("", sanitize=False).classes("card scroll-x q-mt-sm").props("tabindex=0").style("width: 100%")
            )
            await self._refresh()
        ui.timer(REFRESH_S, self._refresh, immediate=False)

    async def _refresh(self) -> None:
        try:
            records, switch = await asyncio.gather(
                self._remediation.records(service=self._service, limit=LIMIT), self._remediation.kill_switch()
            )
        except PeerError as error:
            self._list.content = f'<p class="bad">{html.escape(str(error))}</p>'
            return
        self._show_switch(switch)
        waiting = [record for record in records if told.open_question(record) is not None]
        ids = frozenset(str(record.get("id")) for record in waiting)
        if ids != self._asked:
            self._asked = ids
            self._questions.clear()
            with self._questions:
                for record in waiting:
                    question(record, self._remediation)
        self._list.content = _table(records) if records else '<div class="none">Nothing had to be done yet.</div>'

    def _show_switch(self, switch: Record) -> None:
        on = bool(switch.get("on"))
        if on == self._switch_shown:
            return
        self._switch_shown = on
        self._switch.clear()
        with self._switch:
            if on:
                why = f"Stopped by {switch.get('by')}: {switch.get('reason')}. The worker does nothing."
                ui.label(why).classes("bad text-weight-bold").props("role=alert")
                act_button("Allow actions again", Act.TURN_KILL_SWITCH, self._allow, icon="play_arrow", look="good")
            else:
                act_button("Stop all actions", Act.TURN_KILL_SWITCH, self._stop, icon="front_hand", look="bad")

    async def _stop(self) -> None:
        text = "No worker acts until it is allowed again. What runs now ends where it is, and waits for people."
        reason = await ask_reason("Stop every automatic action?", text, "Stop", typed="stop", bad=True)
        if reason is not None:
            await self._turn(on=True, reason=reason)

    async def _allow(self) -> None:
        reason = await ask_reason("Allow automatic actions again?", "Alerts that fire are answered at once.", "Allow")
        if reason is not None:
            await self._turn(on=False, reason=reason)

    async def _turn(self, *, on: bool, reason: str) -> None:
        async def turn(who: str) -> None:
            await self._remediation.turn_kill_switch(on=on, by=who, reason=reason)

        if await perform(Act.TURN_KILL_SWITCH, "on" if on else "off", turn):
            await self._refresh()


def question(record: Record, remediation: Remediation) -> None:
    """A card with what a run asks, and the two answers."""
    run_id = str(record.get("id"))

    async def answer(verdict: Verdict) -> None:
        what = f"{record.get('alertname')} on {record.get('service')}"
        reason = await ask_reason(f"{verdict.capitalize()}?", what, verdict.capitalize(), bad=verdict == "refuse")
        if reason is None:
            return

        async def tell(who: str) -> None:
            await remediation.answer(run_id, verdict, by=who, reason=reason)

        if await perform(Act.ANSWER_RUN, f"{verdict} {run_id}", tell):
            ui.notify("Told; the run goes on.", type="positive")

    with ui.element("div").classes("card question"):
        ui.label(f"{record.get('alertname')} on {record.get('service')} asks").classes("soft")
        ui.label(told.open_question(record) or "").classes("text-weight-bold")
        with ui.row().classes("items-center"):
            act_button("Approve", Act.ANSWER_RUN, lambda: answer("approve"), icon="check", look="good")
            act_button("Refuse", Act.ANSWER_RUN, lambda: answer("refuse"), icon="close", look="bad")
            ui.link("the record", f"/remediation/{quote(run_id)}")


def _table(records: list[Record]) -> str:
    rows = [
        f'<tr><td class="mono nowrap">{told.moment(record.get("started_at_unix_ms"))}</td>'
        f"<td>{told.pill(record)}</td><td><b>{html.escape(str(record.get('service')))}</b></td>"
        f'<td><a href="/remediation/{quote(str(record.get("id")))}">'
        f"{html.escape(str(record.get('alertname')))}</a></td>"
        f"<td>{html.escape(_actions(record))}</td><td class=number>{told.took(record)}</td>"
        f"<td>{html.escape(str(record.get('outcome') or ''))}</td></tr>"
        for record in records
    ]
    head = (
        "<tr><th>Started</th><th>State</th><th>Service</th><th>Alert</th><th>Actions</th>"
        "<th class=number>Took</th><th>Outcome</th></tr>"
    )
    return f'<table class="plain cards-on-phone"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def _actions(record: Record) -> str:
    return ", ".join(told.change(action) for action in record.get("actions") or []) or "–"


class RecordPage:
    def __init__(self, remediation: Remediation, prometheus: Prometheus, run_id: str) -> None:
        self._remediation = remediation
        self._prometheus = prometheus
        self._run_id = run_id
        self._charts: dict[str, Canvas] = {}
        self._waits: bool | None = None
        self._record: Record = {}

    async def build(self) -> None:
        with page("Remediation", "remediations"):
            if not _RUN_ID.fullmatch(self._run_id):
                ui.label(f"No remediation can have the id {self._run_id[:80]!r}").classes("bad")
                return
            self._heading = ui.html("", sanitize=False).style("width: 100%")
            self._question = ui.column().style("width: 100%")
            with ui.element("div").classes("two"):
                self._timeline = _section("What happened")
                with ui.element("div").classes("stack"):
                    self._actions = _section("Actions")
                    self._evidence = _section("Evidence, before and after")
                    self._traces = _section("Exemplar traces")
                    self._approvals = _section("Questions")
                    self._alert = _section("The alert")
            self._chart_row = ui.element("div").classes("two q-mt-sm")
            await self._refresh()
        ui.timer(REFRESH_S, self._follow, immediate=False)
        ui.timer(0.05, self._draw, once=True)
        ui.timer(CHART_REFRESH_S, self._redraw, immediate=False)

    async def _follow(self) -> None:
        if self._record.get("state") not in told.FINISHED:
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            record = self._record = await self._remediation.record(self._run_id)
        except PeerError as error:
            self._heading.content = f'<p class="bad">{html.escape(str(error))}</p>'
            return
        self._heading.content = told.heading(record)
        for section, shown in (
            (self._timeline, told.timeline(record)),
            (self._actions, told.actions(record)),
            (self._evidence, told.evidence(record) + told.noted(record)),
            (self._traces, told.traces(record)),
            (self._approvals, told.approvals(record)),
            (self._alert, told.alert(record)),
        ):
            section.content = shown
        self._approvals.parent_slot.parent.set_visibility(bool(record.get("approvals")))  # type: ignore[union-attr]
        waits = told.open_question(record) is not None
        if waits != self._waits:
            self._waits = waits
            self._question.clear()
            if waits:
                with self._question:
                    question(record, self._remediation)

    async def _redraw(self) -> None:
        if self._record.get("state") not in told.FINISHED:
            await self._draw()

    async def _draw(self) -> None:
        """What was measured, over the time of the run, with the actions in it."""
        start, end = (at / 1000 for at in told.span_ms(self._record))
        span = Span(start, end)
        marks = [
            Mark(at / 1000, told.change(action), "#4c8dff")
            for action in self._record.get("actions") or []
            if isinstance(at := action.get("at_unix_ms"), int)
        ]
        began = self._record.get("started_at_unix_ms")
        if isinstance(began, int):
            marks.append(Mark(began / 1000, "accepted", "#e5484d"))
        for name, query in told.measured(self._record)[:MAX_CHARTS]:
            step = max(1.0, span.seconds // POINTS)
            try:
                found = await self._prometheus.query_range(query, span, step)
            except PeerError:
                continue  # the numbers themselves stand in the evidence
            if not found:
                continue
            lines = [(_named(series.labels, name), with_gaps(series.points, step)) for series in found[:MAX_LINES]]
            unit = "s" if "seconds" in name else ""
            options = marked_chart(lines, unit=unit, dark=is_dark(), clock=True, marks=marks, legend=len(lines) > 1)
            self._put(name, options)

    def _put(self, name: str, options: dict[str, Any]) -> None:
        if name not in self._charts:
            with self._chart_row, ui.element("div").classes("card"):
                ui.label(name).classes("text-weight-bold")
                self._charts[name] = Canvas()
                self._charts[name].element.style("height: 180px; width: 100%")
        self._charts[name].draw(options)


def _section(title: str) -> ui.html:
    with ui.element("div").classes("card scroll-x").props("tabindex=0"):
        ui.html(f"<h2>{title}</h2>", sanitize=False)
        return ui.html("", sanitize=False)


def _named(labels: Any, name: str) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()) if key != "__name__") or name
