"""One dashboard: its panels on Grafana's grid, its variables, its range of time; every state is in the address."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from dashboards.viewer.grafana.dashboard import Panel, Variable
from dashboards.viewer.grafana.interpolation import ALL, interpolate
from dashboards.viewer.grafana.links import panel_links
from dashboards.viewer.grafana.repeat import Scoped, repeated
from dashboards.viewer.grafana.timerange import Span, parse_interval, span_of
from dashboards.viewer.grafana_store import GrafanaStore
from dashboards.viewer.pages.dashboard_state import State
from dashboards.viewer.pages.shell import is_dark, page
from dashboards.viewer.panels.queries import Queries
from dashboards.viewer.panels.view import View, make_view
from dashboards.viewer.peers.prometheus import Prometheus

RANGES = {
    "now-5m": "5 minutes",
    "now-15m": "15 minutes",
    "now-30m": "30 minutes",
    "now-1h": "1 hour",
    "now-3h": "3 hours",
    "now-6h": "6 hours",
    "now-12h": "12 hours",
    "now-24h": "24 hours",
    "now-2d": "2 days",
    "now-7d": "7 days",
}
REFRESHES = {"": "off", "1s": "1 s", "5s": "5 s", "10s": "10 s", "30s": "30 s", "1m": "1 min", "5m": "5 min"}
SMALL_ROWS = 5  # grid rows up to which a panel needs little height on a phone
PAIRED_COLUMNS = 8  # grid columns up to which two such panels stand beside one another there


@dataclass(slots=True)
class Placed:
    panel: Panel
    scope: Mapping[str, Sequence[str]]  # the variables of a repeated panel
    view: View
    title: ui.label
    error: ui.label


class DashboardPage:
    def __init__(
        self,
        state: State,
        prometheus: Prometheus,
        store: GrafanaStore,
        queries: Queries,
        tagged: Callable[[Sequence[str]], Sequence[tuple[str, str]]],
    ) -> None:
        """
        Args:
            tagged: The titles and uids of the dashboards that have all of these tags.
        """
        self._state = state
        self._queries = queries
        self._tagged = tagged
        self._store = store
        self._prometheus = prometheus
        self._placed: list[Placed] = []
        self._busy = False
        self._filling: asyncio.Future[list[None]] | None = None
        self._timer: ui.timer | None = None

    async def build(self) -> None:
        state = self._state
        self._client = ui.context.client
        self._client.on_disconnect(self._leave)
        await state.offer(self._prometheus, self._span())
        with page(state.dashboard.title, "dashboards"):
            with ui.element("div").classes("bar-top"):
                ui.html(f"<h1>{_escaped(state.dashboard.title)}</h1>", sanitize=False)
                if state.dashboard.description:
                    ui.icon("info_outline", size="18px").classes("soft").tooltip(state.dashboard.description)
                ui.element("div").classes("grow")
                for variable in state.dashboard.variables:
                    if not variable.hidden and variable.kind != "datasource":
                        self._select(variable)
                self._time_controls()
            self._links()
            with ui.element("div").classes("grid"):
                for scoped in repeated(state.dashboard.panels, state.repeats()):
                    self._place(scoped)
        ui.timer(0.05, self.refresh, once=True)
        self._restart_timer()

    def _links(self) -> None:
        """Other dashboards by their tags, and addresses, as the dashboard names them."""
        state, span = self._state, self._span()
        found: list[tuple[str, str]] = []
        for link in state.dashboard.links:
            if link.get("type") == "dashboards":
                pairs = [("from", state.start), ("to", state.end)] if link.get("keepTime") else []
                if link.get("includeVars"):
                    pairs += [(f"var-{name}", value) for name, values in state.chosen.items() for value in values]
                asked = f"?{urlencode(pairs)}" if pairs else ""
                tags = [str(tag) for tag in link.get("tags") or []]
                found += [(title, f"/d/{uid}{asked}") for title, uid in self._tagged(tags)]
            else:
                found += panel_links([link], state.values(), span)
        if found:
            with ui.element("nav").classes("board-links").props('aria-label="Dashboards"'):
                for title, address in found:
                    made = ui.link(title, address)
                    if address.partition("?")[0] == f"/d/{state.dashboard.uid}":
                        made.classes("here").props('aria-current="page"')

    def _select(self, variable: Variable) -> None:
        state = self._state
        if variable.kind == "textbox":
            ui.input(variable.label, value="".join(state.chosen[variable.name])).props("outlined dense").on(
                "change", lambda event: self._choose(variable, [str(event.args)])
            )
            return
        options = {value: value for value in state.offered[variable.name]}
        if variable.include_all:
            options = {ALL: "All", **options}
        current = [value for value in state.chosen[variable.name] if value in options]
        ui.select(
            options,
            label=variable.label,
            multiple=variable.multi,
            value=current if variable.multi else (current[0] if current else None),
            with_input=len(options) > 12,
            on_change=lambda event: self._choose(variable, event.value if variable.multi else [event.value]),
        ).props("outlined dense options-dense" + (" use-chips" if variable.multi else ""))

    async def _choose(self, variable: Variable, chosen: list[str]) -> None:
        before = self._state.chosen.get(variable.name, [])
        if ALL in chosen and len(chosen) > 1:  # All and something else: what was added last counts
            chosen = [value for value in chosen if value != ALL] if ALL in before else [ALL]
        if chosen == before:
            return
        self._state.chosen[variable.name] = chosen
        ui.navigate.to(self._state.address())

    def _time_controls(self) -> None:
        state = self._state
        ranges = RANGES if state.start in RANGES else {state.start: state.start, **RANGES}
        ui.select(ranges, value=state.start, label="Range", on_change=lambda event: self._set_range(event.value)).props(
            "outlined dense options-dense"
        )
        refreshes = REFRESHES if state.refresh in REFRESHES else {state.refresh: state.refresh, **REFRESHES}
        ui.select(
            refreshes, value=state.refresh, label="Refresh", on_change=lambda event: self._set_refresh(event.value)
        ).props("outlined dense options-dense")
        ui.button(icon="refresh", on_click=self.refresh).props('flat round dense aria-label="Refresh now"')
        ui.button(icon="code", on_click=lambda: ui.navigate.to(f"/d/{state.dashboard.uid}/json")).props(
            'flat round dense aria-label="Edit as JSON"'
        )

    async def _set_range(self, start: str) -> None:
        self._state.start, self._state.end = start, "now"
        self._remember()
        await self.refresh()

    def _set_refresh(self, refresh: str) -> None:
        self._state.refresh = refresh
        self._remember()
        self._restart_timer()

    def _remember(self) -> None:
        ui.navigate.history.replace(self._state.address())

    def _restart_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        every_s = parse_interval(self._state.refresh)
        self._timer = ui.timer(max(1.0, every_s), self.refresh) if every_s else None

    def _place(self, scoped: Scoped) -> None:
        panel = scoped.panel
        where = f"grid-column:{panel.x + 1}/span {panel.width};grid-row:{panel.y + 1}/span {panel.height}"
        if panel.kind == "row":
            ui.label(interpolate(panel.title, {**self._state.values(), **scoped.scope})).classes("row-title").style(
                f"grid-row:{panel.y + 1}"
            )
            return
        box = ui.element("section").classes("panel").style(where)
        if panel.height <= SMALL_ROWS:
            box.classes("small paired" if panel.width <= PAIRED_COLUMNS else "small")
        with box:
            with ui.element("div").classes("head"):
                title = ui.label(panel.title).classes("title")
                if panel.description:
                    ui.icon("info_outline").tooltip(panel.description)
                for text, address in panel_links(panel.links, self._state.values(), self._span())[:3]:
                    ui.link(text, address).classes("panel-link")
            error = ui.label("").classes("error")
            error.set_visibility(False)
            with ui.element("div").classes("body"):
                view = make_view(panel, lambda trace: ui.navigate.to(f"/trace/{trace}"))
        self._placed.append(Placed(panel, scoped.scope, view, title, error))

    def _span(self) -> Span:
        now = time.time()
        return span_of(self._state.start, self._state.end, now) or Span(now - 3600, now)

    async def refresh(self) -> None:
        """All panels at once. A refresh that comes while another is under way, or that nobody looks at, is left out."""
        if self._busy or not self._client.has_socket_connection:
            return
        self._busy = True
        try:
            values = self._state.values() | {"__url_time_range": [f"from={self._state.start}&to={self._state.end}"]}
            span = self._span()
            marks = self._annotations(span)
            self._filling = asyncio.gather(*(self._fill(placed, values, span, marks) for placed in self._placed))
            await self._filling
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
        finally:
            self._busy, self._filling = False, None

    def _leave(self) -> None:
        """Who has gone on to another page does not wait there for what this one has asked."""
        if self._filling is not None and not self._client.has_socket_connection:
            self._filling.cancel()

    async def _fill(
        self, placed: Placed, values: dict[str, list[str]], span: Span, marks: list[dict[str, Any]]
    ) -> None:
        values = {**values, **{name: list(chosen) for name, chosen in placed.scope.items()}}
        answer = await self._queries.answer(placed.panel, values, span, marks)
        placed.title.set_text(interpolate(placed.panel.title, values))
        placed.error.set_text("\n".join(answer.errors))
        placed.error.set_visibility(bool(answer.errors))
        placed.view.show(answer, values, dark=is_dark())

    def _annotations(self, span: Span) -> list[dict[str, Any]]:
        bounds = round(span.start * 1000), round(span.end * 1000)
        return self._store.annotations(*bounds, dashboard=self._state.dashboard.uid)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
