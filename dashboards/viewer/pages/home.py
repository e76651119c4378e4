"""Where one begins: what is wrong now, what is being done about it, and the dashboards."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from nicegui import ui

from dashboards.errors import PeerError
from dashboards.viewer.auth.roles import Act
from dashboards.viewer.library import Library
from dashboards.viewer.pages import record as told
from dashboards.viewer.pages.acting import act_button
from dashboards.viewer.pages.shell import page
from dashboards.viewer.peers.drills import Drills
from dashboards.viewer.peers.prometheus import Prometheus
from dashboards.viewer.peers.remediation import Remediation

REFRESH_S = 2.0
MAX_NAMED = 3
Json = Mapping[str, Any]


class HomePage:
    def __init__(self, library: Library, prometheus: Prometheus, remediation: Remediation, drills: Drills) -> None:
        self._library = library
        self._prometheus = prometheus
        self._remediation = remediation
        self._drills = drills

    async def build(self) -> None:
        with page("Dashboards", "dashboards"):
            self._now = ui.html("", sanitize=False).classes("now").props('role="status" aria-label="Now"')
            with ui.element("div").classes("bar-top"):
                ui.html('<h1 class="title">Dashboards</h1>', sanitize=False)
                ui.element("div").classes("grow")
                act_button("Import", Act.SAVE_DASHBOARD, lambda: ui.navigate.to("/import"), icon="upload")
            with ui.element("div").classes("cards"):
                for each in self._library.all():
                    with ui.link(target=f"/d/{each.uid}").classes("card"):
                        ui.label(each.title).classes("text-weight-bold")
                        ui.label(each.description or f"{len(each.panels)} panels").classes("soft")
        ui.timer(0.05, self._refresh, once=True)
        ui.timer(REFRESH_S, self._refresh, immediate=False)

    async def _refresh(self) -> None:
        alerts, runs, drill = await asyncio.gather(self._alerts(), self._runs(), self._drill())
        self._now.content = alerts + runs + drill

    async def _alerts(self) -> str:
        try:
            return alerts_cell(await self._prometheus.alerts())
        except PeerError as error:
            return _cell("bad", "/alerts", "Alerts", "not known", str(error))

    async def _runs(self) -> str:
        try:
            return runs_cell(await self._remediation.records(limit=20))
        except PeerError as error:
            return _cell("bad", "/remediations", "Remediation", "not known", str(error))

    async def _drill(self) -> str:
        try:
            now = await self._drills.running()
        except PeerError:
            return ""  # a stack without drills, such as one on other servers
        if not now.get("running"):
            return _cell("soft", "/drills", "Drill", "none runs", "Break something on purpose")
        name = str(now["running"]).partition(" (")[0]  # who runs it stands behind, by process id
        title = (now.get("report") or {}).get("title")
        return _cell("warn", "/drills/live", "Drill", f"{name} runs", str(title or "Watch it"))


def alerts_cell(alerts: Sequence[Json]) -> str:
    firing = [each for each in alerts if each.get("state") == "firing"]
    pending = len(alerts) - len(firing)
    if not firing:
        more = f"{pending} pending" if pending else "nothing is pending"
        return _cell("warn" if pending else "good", "/alerts", "Alerts", "none fires", more)
    names = [
        " ".join(str(labels[key]) for key in ("alertname", "service") if labels.get(key))
        for labels in (each.get("labels") or {} for each in firing)
    ]
    shown = ", ".join(dict.fromkeys(names[:MAX_NAMED])) + (" and others" if len(names) > MAX_NAMED else "")
    return _cell("bad", "/alerts", "Alerts", f"{len(firing)} {'fires' if len(firing) == 1 else 'fire'}", shown)


def runs_cell(records: Sequence[Json]) -> str:
    """The run that is under way, or the last one."""
    if not records:
        return _cell("soft", "/remediations", "Remediation", "none yet", "Nothing had to be done")
    at_work = [each for each in records if each.get("state") not in told.FINISHED]
    one = (at_work or records)[0]
    state = str(one.get("state"))
    look = "warn" if at_work else told.STATE_STYLES.get(state, "soft")
    done = [told.change(action) for action in one.get("actions") or []]
    about = f"{one.get('alertname')} on {one.get('service')}" + (f": {done[-1]}" if done else "")
    address = f"/remediation/{quote(str(one.get('id')))}"
    word = f"{len(at_work)} at work" if at_work else f"last one {state.replace('_', ' ')}"
    return _cell(look, address, "Remediation", word, about)


def _cell(look: str, address: str, name: str, word: str, more: str) -> str:
    return (
        f'<a class="card" href="{html.escape(address)}"><span class="soft">{html.escape(name)}</span>'
        f'<b class="{look}">{html.escape(word)}</b><span class="soft told-short">{html.escape(more)}</span></a>'
    )
