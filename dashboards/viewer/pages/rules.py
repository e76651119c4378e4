"""
The rule editor: a rule file is checked while it is written, its alerts are replayed over what was, and it is saved.

Nothing that is tried has an effect; saving puts the file in force, or changes nothing and says why.
"""

from __future__ import annotations

import asyncio
import html
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from dashboards.errors import DashboardsError, PeerError
from dashboards.viewer.auth.permission import perform, visitor
from dashboards.viewer.auth.roles import Act
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.pages import rule_outcomes as told
from dashboards.viewer.pages.acting import act_button
from dashboards.viewer.pages.alert_tabs import alert_tabs
from dashboards.viewer.pages.editor import editor
from dashboards.viewer.pages.rule_draft import NAME, begun, opened
from dashboards.viewer.pages.shell import is_dark, page
from dashboards.viewer.panels.canvas import Canvas
from dashboards.viewer.panels.marked_chart import marked_chart, with_gaps
from dashboards.viewer.peers.prometheus import Prometheus
from dashboards.viewer.peers.rule_files import RuleFiles

SETTLED_S = 0.8  # after the last key, before the text is tried: a pause in typing, not a letter
WINDOWS = {900: "15 minutes", 3600: "1 hour", 6 * 3600: "6 hours", 24 * 3600: "24 hours"}
DEFAULT_WINDOW_S = 3600
POINTS = 400
MAX_LINES, MAX_BANDS = 8, 60
Json = dict[str, Any]


class RulesPage:
    def __init__(self, files: RuleFiles, prometheus: Prometheus, asked: Mapping[str, str]) -> None:
        self._files = files
        self._prometheus = prometheus
        self._wanted = asked.get("file", "")[:4096]
        self._new = asked.get("new", "")[:100]
        self._alert = asked.get("alert", "")[:200]
        self._window_s = DEFAULT_WINDOW_S
        self._tried = 0  # grows with every change; an answer to an older text is left out

    async def build(self) -> None:
        with page("Edit rules", "alerts"):
            alert_tabs("rules")
            try:
                listed = await self._files.files()
                if not listed:
                    ui.label("The collector has no rule files: rules are kept elsewhere.").classes("card")
                    return
                self._draft = begun(listed, self._new) if self._new else await opened(self._files, listed, self._wanted)
            except DashboardsError as error:
                ui.label(str(error)).classes("bad")
                return
            self._head([str(each["file"]) for each in listed])
            with ui.element("div").classes("two editor"):
                with ui.element("div").classes("stack"):
                    self._texts()
                with ui.element("div").classes("stack"):
                    if visitor().may(Act.TRY_RULES):
                        self._results()
                    else:
                        told_who = "Sign in as an operator to change rules, and to see what they would have done."
                        ui.label(told_who).classes("card")
        if visitor().may(Act.TRY_RULES):
            ui.timer(0.1, self._try_now, once=True)

    def _head(self, files: list[str]) -> None:
        draft = self._draft
        names = {file: Path(file).name for file in ([draft.file, *files] if draft.is_new else files)}
        with ui.element("div").classes("bar-top"):
            ui.select(
                names,
                value=draft.file,
                label="Rule file",
                on_change=lambda event: ui.navigate.to(f"/rules?{urlencode({'file': event.value})}"),
            ).props("outlined dense options-dense")
            act_button("New file", Act.SAVE_RULES, self._ask_name, icon="note_add")
            where = f"{draft.file}, which comes to be when it is saved" if draft.is_new else draft.file
            ui.label(where).classes("soft mono wrap")
            ui.element("div").classes("grow")
            act_button("Run its unit tests", Act.TRY_RULES, self._test, icon="science")
            act_button("Save and put in force", Act.SAVE_RULES, self._save, icon="save", look="good")

    async def _ask_name(self) -> None:
        with ui.dialog() as dialog, ui.card().classes("ask"):
            ui.label("A new rule file").classes("text-weight-bold text-subtitle1")
            name = ui.input("Name", placeholder="storefront").props("outlined dense autofocus").style("width: 100%")

            def done() -> None:
                wanted = (name.value or "").strip()
                if NAME.fullmatch(wanted):
                    dialog.submit(wanted)
                else:
                    ui.notify("Up to 60 small letters, digits, - and _", type="warning")

            name.on("keydown.enter", done)
            with ui.row().classes("q-mt-sm"):
                ui.button("Begin", on_click=done).props("no-caps outline color=primary")
                ui.button("Cancel", on_click=lambda: dialog.submit(None)).props("no-caps flat")
        answer = await dialog
        dialog.delete()
        if answer:
            ui.navigate.to(f"/rules?{urlencode({'new': answer})}")

    def _texts(self) -> None:
        with ui.tabs().props("dense no-caps align=left inline-label") as tabs:
            rules_tab = ui.tab("Rules")
            tests_tab = ui.tab("Unit tests")
        with ui.tab_panels(tabs, value=rules_tab, animated=False).classes("card editor-panels"):
            with ui.tab_panel(rules_tab):
                self._text = editor(self._draft.text, "YAML", "Rules", on_change=self._changed)
            with ui.tab_panel(tests_tab):
                self._tests = editor(self._draft.tests, "YAML", "Unit tests")
        if not visitor().may(Act.TRY_RULES):
            self._text.disable()

    def _results(self) -> None:
        may = visitor().may(Act.TRY_RULES)
        first = "Checking…" if may else "Who may try rules sees here what is wrong with them: sign in."
        self._checked = ui.html(f'<span class="soft">{first}</span>', sanitize=False)
        self._checked.classes("card").style("width: 100%")
        self._tested = ui.html("", sanitize=False).style("width: 100%")
        with ui.element("section").classes("card").style("width: 100%"):
            with ui.element("div").classes("bar-top"):
                ui.html("<h2>What it would have done</h2>", sanitize=False)
                ui.element("div").classes("grow")
                alerts = told.alerts_of(str(self._text.value or ""))
                self._alert = self._alert if self._alert in alerts else (alerts[0] if alerts else "")
                self._chosen = ui.select(
                    alerts, value=self._alert or None, label="Alert", on_change=self._choose
                ).props("outlined dense options-dense")
                ui.select(WINDOWS, value=self._window_s, label="Over the last", on_change=self._choose_window).props(
                    "outlined dense options-dense"
                )
            self._chart = Canvas()
            self._chart.element.style("height: 240px; width: 100%")
            self._chart.element.set_visibility(False)
            self._replayed = ui.html("", sanitize=False).classes("scroll-x").props("tabindex=0")

    async def _choose(self, event: Any) -> None:
        if event.value and event.value != self._alert:
            self._alert = str(event.value)
            await self._try_now()

    async def _choose_window(self, event: Any) -> None:
        self._window_s = int(event.value)
        await self._try_now()

    async def _changed(self) -> None:
        self._tried += 1
        mine = self._tried
        self._tested.content = ""  # it was said of another text
        await asyncio.sleep(SETTLED_S)
        if mine == self._tried:
            await self._try()

    async def _try_now(self) -> None:
        self._tried += 1
        await self._try()

    async def _try(self) -> None:
        """Check, then replay what is sound."""
        if not visitor().may(Act.TRY_RULES):
            return
        mine, text = self._tried, str(self._text.value or "")
        try:
            report = await self._files.check(self._draft.file, text)
        except PeerError as error:
            self._checked.content = f'<p class="bad">{html.escape(str(error))}</p>'
            return
        if mine != self._tried:
            return
        self._checked.content = told.report(report)
        if report.get("errors"):
            return
        self._offer(told.alerts_of(text))
        if self._alert:
            await self._replay(mine, text)

    def _offer(self, alerts: list[str]) -> None:
        if self._alert not in alerts:
            self._alert = alerts[0] if alerts else ""
        if list(self._chosen.options) != alerts:
            self._chosen.set_options(alerts, value=self._alert or None)

    async def _replay(self, mine: int, text: str) -> None:
        now = time.time()
        span = Span(now - self._window_s, now)
        self._replayed.content = '<div class="soft">Replaying…</div>'
        try:
            found = await self._files.backtest(
                self._draft.file, text, from_ms=int(span.start * 1000), to_ms=int(span.end * 1000), alert=self._alert
            )
        except PeerError as error:
            self._replayed.content = f'<p class="bad">{html.escape(str(error))}</p>'
            self._chart.element.set_visibility(False)
            return
        if mine != self._tried:
            return
        rules = list(found.get("rules") or [])
        notices = "".join(f"<div class=soft>{html.escape(str(each))}</div>" for each in found.get("notices") or [])
        self._replayed.content = told.outcomes(rules) + notices
        await self._draw(rules, span)

    async def _draw(self, rules: list[Json], span: Span) -> None:
        """What is compared, with the threshold; in red and amber when the alert would have fired and been pending."""
        lines: list[Any] = []
        thresholds: dict[float, None] = {}
        for rule in rules:
            compared = rule.get("comparison")
            if not compared:
                continue
            thresholds[float(compared["threshold"])] = None
            step = max(1.0, span.seconds // POINTS)
            try:
                series = await self._prometheus.query_range(str(compared["query"]), span, step)
            except PeerError:
                continue  # such as a recording that this text is the first to make
            lines += [(told.named(one.labels), with_gaps(one.points, step)) for one in series]
        bands = [band for rule in rules for alert in rule.get("alerts") or [] for band in told.bands(alert, span)]
        options = marked_chart(
            lines[:MAX_LINES],
            unit="",
            dark=is_dark(),
            clock=True,
            bands=bands[:MAX_BANDS],
            thresholds=[each for each in thresholds if math.isfinite(each)],
            x_range=(span.start, span.end),
        )
        self._chart.element.set_visibility(True)
        self._chart.draw(options)

    async def _test(self) -> None:
        if not visitor().may(Act.TRY_RULES):
            return
        tests = str(self._tests.value or "")
        if not tests.strip():
            ui.notify("This file has no unit tests yet; write some in the other tab.", type="info")
            return
        try:
            verdict = await self._files.test(self._draft.file, str(self._text.value or ""), tests)
        except PeerError as error:
            self._tested.content = f'<div class="card bad">{html.escape(str(error))}</div>'
            return
        self._tested.content = told.verdict(verdict)

    async def _save(self) -> None:
        text, draft = str(self._text.value or ""), self._draft
        was_new = draft.is_new

        async def save(_who: str) -> None:
            await draft.save(self._files, text)

        if await perform(Act.SAVE_RULES, draft.file, save):
            ui.notify("Saved; the rules are in force.", type="positive")
            if was_new:
                ui.navigate.to(f"/rules?{urlencode({'file': draft.file})}")
