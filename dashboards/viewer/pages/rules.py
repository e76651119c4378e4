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
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from nicegui import ui

from dashboards.errors import PeerError
from dashboards.viewer.auth.permission import perform, visitor
from dashboards.viewer.auth.roles import Act
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.acting import act_button
from dashboards.viewer.pages.alert_rule import COLOURS
from dashboards.viewer.pages.alert_tabs import alert_tabs
from dashboards.viewer.pages.shell import is_dark, page
from dashboards.viewer.panels.marked_chart import Band, marked_chart, with_gaps
from dashboards.viewer.peers.prometheus import Prometheus
from dashboards.viewer.peers.rule_files import RuleFiles

SETTLED_S = 0.8  # after the last key, before the text is tried: a pause in typing, not a letter
WINDOWS = {900: "15 minutes", 3600: "1 hour", 6 * 3600: "6 hours", 24 * 3600: "24 hours"}
DEFAULT_WINDOW_S = 3600
POINTS = 400
MAX_LINES, MAX_BANDS = 8, 60
Json = dict[str, Any]


def alerts_of(text: str) -> list[str]:
    """The names of a file's alerts, in order; nothing of a text that is no YAML yet."""
    try:
        document = yaml.safe_load(text)
        groups = document.get("groups") or [] if isinstance(document, dict) else []
        rules = [rule for group in groups if isinstance(group, dict) for rule in group.get("rules") or []]
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return []
    names = (str(rule["alert"]) for rule in rules if isinstance(rule, dict) and rule.get("alert"))
    return list(dict.fromkeys(names))


class RulesPage:
    def __init__(self, files: RuleFiles, prometheus: Prometheus, asked: Mapping[str, str]) -> None:
        self._files = files
        self._prometheus = prometheus
        self._file = asked.get("file", "")[:4096]
        self._alert = asked.get("alert", "")[:200]
        self._window_s = DEFAULT_WINDOW_S
        self._version = ""
        self._tried = 0  # grows with every change; an answer to an older text is left out

    async def build(self) -> None:
        with page("Edit rules", "alerts"):
            alert_tabs("rules")
            try:
                listed = await self._files.files()
                if not listed:
                    ui.label("The collector has no rule files: rules are kept elsewhere.").classes("card")
                    return
                names = {str(each["file"]): Path(str(each["file"])).name for each in listed}
                self._file = self._file if self._file in names else next(iter(names))
                found = await self._files.read(self._file)
            except PeerError as error:
                ui.label(str(error)).classes("bad")
                return
            self._version = str(found["version"])
            self._head(names)
            with ui.element("div").classes("two editor"):
                with ui.element("div").classes("stack"):
                    self._texts(str(found["text"]), str(found["tests"]))
                with ui.element("div").classes("stack"):
                    self._results()
        if visitor().may(Act.TRY_RULES):
            ui.timer(0.1, self._try_now, once=True)

    def _head(self, names: Mapping[str, str]) -> None:
        with ui.element("div").classes("bar-top"):
            ui.select(
                dict(names),
                value=self._file,
                label="Rule file",
                on_change=lambda event: ui.navigate.to(f"/rules?file={event.value}"),
            ).props("outlined dense options-dense")
            ui.label(self._file).classes("soft mono wrap")
            ui.element("div").classes("grow")
            act_button("Run its unit tests", Act.TRY_RULES, self._test, icon="science")
            act_button("Save and put in force", Act.SAVE_RULES, self._save, icon="save", look="good")

    def _texts(self, text: str, tests: str) -> None:
        theme: Literal["vscodeDark", "vscodeLight"] = "vscodeDark" if is_dark() else "vscodeLight"
        with ui.tabs().props("dense no-caps align=left inline-label") as tabs:
            rules_tab = ui.tab("Rules")
            tests_tab = ui.tab("Unit tests")
        with ui.tab_panels(tabs, value=rules_tab, animated=False).classes("card editor-panels"):
            with ui.tab_panel(rules_tab):
                self._text = ui.codemirror(text, language="YAML", theme=theme, on_change=self._changed)
                self._text.classes("editor-text").props('aria-label="Rules"')
            with ui.tab_panel(tests_tab):
                self._tests = ui.codemirror(tests, language="YAML", theme=theme).classes("editor-text")
        if not visitor().may(Act.TRY_RULES):
            self._text.disable()
            ui.label("Sign in as an operator to change rules, and to see what they would have done.").classes("soft")

    def _results(self) -> None:
        self._checked = ui.html("", sanitize=False).classes("card").style("width: 100%")
        self._tested = ui.html("", sanitize=False).style("width: 100%")
        with ui.element("section").classes("card").style("width: 100%"):
            with ui.element("div").classes("bar-top"):
                ui.html("<h2>What it would have done</h2>", sanitize=False)
                ui.element("div").classes("grow")
                alerts = alerts_of(str(self._text.value or ""))
                self._alert = self._alert if self._alert in alerts else (alerts[0] if alerts else "")
                self._chosen = ui.select(
                    alerts, value=self._alert or None, label="Alert", on_change=self._choose
                ).props("outlined dense options-dense")
                ui.select(WINDOWS, value=self._window_s, label="Over the last", on_change=self._choose_window).props(
                    "outlined dense options-dense"
                )
            self._chart = ui.echart({}).style("height: 240px; width: 100%")
            self._chart.set_visibility(False)
            self._replayed = ui.html("", sanitize=False).classes("scroll-x")

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
            report = await self._files.check(self._file, text)
        except PeerError as error:
            self._checked.content = f'<p class="bad">{html.escape(str(error))}</p>'
            return
        if mine != self._tried:
            return
        self._checked.content = _report(report)
        if report.get("errors"):
            return
        self._offer(alerts_of(text))
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
                self._file, text, from_ms=int(span.start * 1000), to_ms=int(span.end * 1000), alert=self._alert
            )
        except PeerError as error:
            self._replayed.content = f'<p class="bad">{html.escape(str(error))}</p>'
            self._chart.set_visibility(False)
            return
        if mine != self._tried:
            return
        rules = list(found.get("rules") or [])
        notices = "".join(f"<div class=soft>{html.escape(str(each))}</div>" for each in found.get("notices") or [])
        self._replayed.content = _outcomes(rules) + notices
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
            lines += [(_named(one.labels), with_gaps(one.points, step)) for one in series]
        bands = [band for rule in rules for alert in rule.get("alerts") or [] for band in _bands(alert, span)]
        options = marked_chart(
            lines[:MAX_LINES],
            unit="",
            dark=is_dark(),
            clock=True,
            bands=bands[:MAX_BANDS],
            thresholds=[each for each in thresholds if math.isfinite(each)],
            x_range=(span.start, span.end),
        )
        self._chart.set_visibility(True)
        self._chart.options.clear()
        self._chart.options.update(options)
        self._chart.update()

    async def _test(self) -> None:
        if not visitor().may(Act.TRY_RULES):
            return
        tests = str(self._tests.value or "")
        if not tests.strip():
            ui.notify("This file has no unit tests yet; write some in the other tab.", type="info")
            return
        try:
            verdict = await self._files.test(self._file, str(self._text.value or ""), tests)
        except PeerError as error:
            self._tested.content = f'<div class="card bad">{html.escape(str(error))}</div>'
            return
        self._tested.content = _verdict(verdict)

    async def _save(self) -> None:
        text = str(self._text.value or "")

        async def save(_who: str) -> None:
            self._version = await self._files.save(self._file, text, self._version)

        if await perform(Act.SAVE_RULES, self._file, save):
            ui.notify("Saved; the rules are in force.", type="positive")


def _report(report: Json) -> str:
    rows = "".join(
        f'<li class="{look}"><b>line {int(one.get("line") or 0)}</b> {html.escape(str(one.get("rule") or ""))} '
        f"{html.escape(str(one.get('message')))}</li>"
        for key, look in (("errors", "bad"), ("lint", "warn"))
        for one in report.get(key) or []
    )
    if not rows:
        count = sum(int(each) for each in (report.get("rules") or {}).values())
        return f'<div class="good">✓ {count} rules, nothing to say against them</div>'
    return f'<ul class="findings">{rows}</ul>'


def _outcomes(rules: list[Json]) -> str:
    head = (
        "<tr><th>Rule</th><th>This text</th><th>In force</th><th class=number>In both, only here, only there</th></tr>"
    )
    rows = "".join(map(_outcome, rules))
    return f'<table class="plain cards-on-phone"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _outcome(rule: Json) -> str:
    labels = {key: str(value) for key, value in (rule.get("labels") or {}).items() if key not in ("severity", "team")}
    fixed = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()) if "{{" not in value)
    today = rule.get("today") or {}
    same = f"{today['sameFirings']}, {today['onlyHere']}, {today['onlyToday']}" if today else "–"
    errors = "".join(
        f'<div class="bad">{html.escape(str(each.get("error")))}</div>' for each in rule.get("errors") or []
    )
    return (
        f"<tr><td><b>{html.escape(str(rule.get('name')))}</b><div class=soft>{html.escape(fixed)}</div>{errors}</td>"
        f"<td>{_counts(rule.get('summary') or {})}</td>"
        f"<td>{_counts(today['summary']) if today else 'not there'}</td><td class=number>{same}</td></tr>"
    )


def _counts(one: Json) -> str:
    fired = int(one.get("fired") or 0)
    if not fired:
        return f"did not fire, was pending {int(one['pending'])} times" if one.get("pending") else "quiet"
    return (
        f"fired {fired} {'time' if fired == 1 else 'times'}, {format_value(float(one.get('firingSeconds') or 0), 's')} "
        f"in all, the longest {format_value(float(one.get('longestSeconds') or 0), 's')}"
        + (f", flapped {one['flaps']} times" if one.get("flaps") else "")
    )


def _bands(alert: Json, span: Span) -> list[Band]:
    ended = _seconds(alert.get("endedAt")) or span.end
    active = _seconds(alert.get("activeAt")) or span.start
    fired = span.start if alert.get("firedBefore") else _seconds(alert.get("firedAt"))
    bands = [Band(max(active, span.start), fired or ended, COLOURS["pending"])]
    return bands + ([Band(max(fired, span.start), ended, COLOURS["firing"])] if fired else [])


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None


def _named(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "__name__") or "value"


def _verdict(verdict: Json) -> str:
    if verdict.get("passed"):
        return f'<div class="card good">✓ {int(verdict.get("tests") or 0)} unit tests pass</div>'
    failures = "".join(f"<pre>{html.escape(str(each))}</pre>" for each in verdict.get("failures") or [])
    return f'<div class="card bad">Unit tests fail{failures}</div>'
