"""Silences of the Alertmanager: which there are, a new one, an end to one."""

from __future__ import annotations

import datetime as dt
import html
import re
from typing import Any

from nicegui import ui

from dashboards.errors import PeerError
from dashboards.viewer.auth.permission import perform
from dashboards.viewer.auth.roles import Act
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.acting import act_button
from dashboards.viewer.pages.alert_tabs import alert_tabs
from dashboards.viewer.pages.shell import page
from dashboards.viewer.peers.alertmanager import Alertmanager

REFRESH_S = 4.0
MAX_COMMENT = 1000
MAX_EXPIRED = 30  # the latest
DURATIONS = {1: "1 hour", 2: "2 hours", 4: "4 hours", 8: "8 hours", 24: "1 day", 72: "3 days", 168: "1 week"}
STYLES = {"active": "good", "pending": "warn", "expired": "soft"}
_ORDER = {"active": 0, "pending": 1, "expired": 2}
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:\\.|[^"\\])*)"\s*(?:,|$|(?=\s))')
Json = dict[str, Any]


def parse_matchers(text: str) -> list[Json]:
    """
    `alertname="HighLatency", service=~"cart|catalog"` as Alertmanager's API has it; commas may be left out.

    Raises:
        ValueError: it is not that; the message says where.
    """
    text = text.strip().removeprefix("{").removesuffix("}").strip()
    found: list[Json] = []
    at = 0
    while at < len(text):
        match = _MATCHER.match(text, at)
        if match is None:
            raise ValueError(f'expected name="value" at {text[at : at + 40]!r}')
        name, operator, value = match.groups()
        plain = re.sub(r"\\(.)", r"\1", value)
        found.append(
            {"name": name, "value": plain, "isRegex": operator.endswith("~"), "isEqual": not operator.startswith("!")}
        )
        at = match.end()
    if not found:
        raise ValueError('a silence needs a matcher, such as alertname="HighRequestLatency"')
    return found


def matcher_text(matcher: Json) -> str:
    equal = matcher.get("isEqual", True)
    operator = ("=~" if equal else "!~") if matcher.get("isRegex") else ("=" if equal else "!=")
    value = str(matcher.get("value")).replace("\\", "\\\\").replace('"', '\\"')
    return f'{matcher.get("name")}{operator}"{value}"'


def of_labels(labels: Json) -> str:
    """Matchers for just these labels."""
    return ", ".join(
        matcher_text({"name": name, "value": value}) for name, value in sorted(labels.items()) if name != "severity"
    )


class SilencesPage:
    def __init__(self, alertmanager: Alertmanager, wanted: str) -> None:
        """
        Args:
            wanted: Matchers that a new silence begins with.
        """
        self._alertmanager = alertmanager
        self._wanted = wanted
        self._shown: list[tuple[str, str]] | None = None

    async def build(self) -> None:
        with page("Silences", "alerts"):
            alert_tabs("silences")
            self._form()
            self._error = ui.label("").classes("bad")
            self._list = ui.element("div").classes("stack").style("width: 100%")
            await self._refresh()
        ui.timer(REFRESH_S, self._refresh, immediate=False)

    def _form(self) -> None:
        with ui.element("section").classes("card q-mb-sm").style("width: 100%"):
            ui.html("<h2>A new silence</h2>", sanitize=False)
            with ui.element("div").classes("bar-top"):
                matchers = (
                    ui.input("Alerts with", value=self._wanted, placeholder='alertname="…", service="…"')
                    .props('outlined dense input-class="mono"')
                    .classes("grow")
                )
                hours = ui.select(DURATIONS, value=2, label="For").props("outlined dense options-dense")
                comment = ui.input("Why").props(f"outlined dense maxlength={MAX_COMMENT}").classes("grow")

                async def make() -> None:
                    await self._make(matchers.value or "", int(hours.value), (comment.value or "").strip())

                act_button("Silence", Act.SILENCE, make, icon="notifications_off")

    async def _make(self, text: str, hours: int, comment: str) -> None:
        if not comment:
            ui.notify("Say why: whoever misses the alert will ask.", type="warning")
            return
        try:
            matchers = parse_matchers(text)
        except ValueError as error:
            ui.notify(str(error), type="warning")
            return
        now = dt.datetime.now(dt.UTC)

        async def silence(who: str) -> None:
            await self._alertmanager.silence(
                {
                    "matchers": matchers,
                    "startsAt": now.isoformat(),
                    "endsAt": (now + dt.timedelta(hours=hours)).isoformat(),
                    "createdBy": who,
                    "comment": comment[:MAX_COMMENT],
                }
            )

        if await perform(Act.SILENCE, text, silence):
            ui.notify("Silenced.", type="positive")
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            silences = await self._alertmanager.silences()
        except PeerError as error:
            self._error.set_text(f"The Alertmanager cannot be asked: {error}")
            return
        self._error.set_text("")
        silences.sort(key=lambda one: (_ORDER.get(_state(one), 3), str(one.get("endsAt"))), reverse=False)
        expired = [one for one in silences if _state(one) == "expired"]
        expired.sort(key=lambda one: str(one.get("endsAt")), reverse=True)
        shown = [one for one in silences if _state(one) != "expired"] + expired[:MAX_EXPIRED]
        key = [(str(one.get("id")), _state(one)) for one in shown]
        if key == self._shown:
            return
        self._shown = key
        self._list.clear()
        with self._list:
            if not shown:
                ui.label("Nothing is silenced.").classes("card good").style("width: 100%")
            for one in shown:
                self._card(one)

    def _card(self, silence: Json) -> None:
        state = _state(silence)
        matchers = ", ".join(matcher_text(each) for each in silence.get("matchers") or [])
        with ui.element("div").classes("card row items-center"):
            ui.html(
                f'<div><span class="pill {STYLES.get(state, "soft")}">{html.escape(state)}</span> '
                f'<b class="mono">{html.escape(matchers)}</b>'
                f"<div>{html.escape(str(silence.get('comment') or ''))}</div>"
                f'<div class="soft">by {html.escape(str(silence.get("createdBy")))}, '
                f"{_until(silence, state)}</div></div>",
                sanitize=False,
            ).classes("grow").style("flex: 1")
            if state != "expired":
                act_button("Expire", Act.EXPIRE_SILENCE, lambda: self._expire(silence), icon="alarm_off")

    async def _expire(self, silence: Json) -> None:
        silence_id = str(silence.get("id"))

        async def expire(_who: str) -> None:
            await self._alertmanager.expire(silence_id)

        what = ", ".join(matcher_text(each) for each in silence.get("matchers") or [])
        if await perform(Act.EXPIRE_SILENCE, f"{silence_id} {what}", expire):
            await self._refresh()


def _state(silence: Json) -> str:
    return str((silence.get("status") or {}).get("state"))


def _until(silence: Json, state: str) -> str:
    try:
        end = dt.datetime.fromisoformat(str(silence.get("endsAt")))
    except ValueError:
        return ""
    away = abs((end - dt.datetime.now(dt.UTC)).total_seconds())
    local = end.astimezone().strftime("%m-%d %H:%M")
    span = format_value(away, "s")
    return f"ended {local}, {span} ago" if state == "expired" else f"until {local}, for another {span}"
