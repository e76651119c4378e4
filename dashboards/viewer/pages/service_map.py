"""The map of services: what calls what, how often, and how each of them is."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any

import httpx
from nicegui import ui
from starlette.datastructures import QueryParams

from dashboards.errors import PeerError
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.pages.shell import page
from dashboards.viewer.panels.records import Edge
from dashboards.viewer.panels.service_graph import Service, both_forms, key
from dashboards.viewer.panels.sources import Sources
from dashboards.viewer.peers.client import ask
from dashboards.viewer.peers.prometheus import Prometheus

REFRESH_S = 5.0
LOOKBACKS = {60: "1 minute", 300: "5 minutes", 900: "15 minutes", 3600: "1 hour"}
DEFAULT_LOOKBACK_S = 300
_GATEWAY = 'entrypoint=~"web|mesh"'  # not the requests for its own metrics
_COUNT, _GATE = "http_server_request_duration_seconds", "traefik_entrypoint_request_duration_seconds"
QUERIES = {
    "rate": f"sum by (job) (rate({_COUNT}_count[1m])) or sum by (job) (rate({_GATE}_count{{{_GATEWAY}}}[1m]))",
    "errors": f'sum by (job) (rate({_COUNT}_count{{http_response_status_code=~"5.."}}[1m]))'
    f" / sum by (job) (rate({_COUNT}_count[1m]))"
    f' or sum by (job) (rate({_GATE}_count{{{_GATEWAY},code=~"5.."}}[1m]))'
    f" / sum by (job) (rate({_GATE}_count{{{_GATEWAY}}}[1m]))",
    "p99": f"histogram_quantile(0.99, sum by (job, le) (rate({_COUNT}_bucket[1m])))"
    f" or histogram_quantile(0.99, sum by (job, le) (rate({_GATE}_bucket{{{_GATEWAY}}}[1m])))",
    "alerts": 'sum by (alertname, service, severity) (ALERTS{alertstate="firing"})',
}


class ServiceMapPage:
    def __init__(
        self,
        prometheus: Prometheus,
        sources: Sources,
        client: httpx.AsyncClient,
        orchestrator_url: str,
        asked: QueryParams,
    ) -> None:
        self._prometheus = prometheus
        self._sources = sources
        self._client = client
        self._orchestrator_url = orchestrator_url
        lookback = asked.get("lookback", "")
        self._lookback_s = int(lookback) if lookback.isdecimal() and int(lookback) in LOOKBACKS else DEFAULT_LOOKBACK_S
        self._errors: list[str] = []

    async def build(self) -> None:
        with page("Service map", "map"):
            with ui.element("div").classes("bar-top"):
                ui.html('<h1 class="title">Service map</h1>', sanitize=False)
                ui.label("A click on a service opens it in depth.").classes("soft")
                ui.element("div").classes("grow")
                ui.select(
                    LOOKBACKS,
                    value=self._lookback_s,
                    label="Over the last",
                    on_change=lambda event: ui.navigate.to(f"/map?lookback={event.value}"),
                ).props("outlined dense options-dense")
            self._error = ui.label("").classes("bad")
            self._map = ui.html("", sanitize=False).classes("card map-box")
            ui.html(key(), sanitize=False).classes("map-key soft")
        await self.refresh()
        ui.timer(REFRESH_S, self.refresh, immediate=False)

    async def refresh(self) -> None:
        self._errors = []
        now = time.time()
        span = Span(now - self._lookback_s, now)
        (edges, replicas), answers = await asyncio.gather(
            asyncio.gather(self._edges(span), self._replicas()),
            asyncio.gather(*(self._ask(expr, now) for expr in QUERIES.values())),
        )
        services = _services(edges, replicas, dict(zip(QUERIES, answers, strict=True)))
        self._error.set_text(" · ".join(dict.fromkeys(self._errors)))
        if not services:
            self._map.content = '<div class="none">No service has called another yet</div>'
            return
        self._map.content = both_forms(services, edges, span.seconds)

    async def _edges(self, span: Span) -> list[Edge]:
        try:
            return await self._sources.dependencies(span)
        except PeerError as error:
            self._errors.append(str(error))
            return []

    async def _replicas(self) -> dict[str, tuple[int, int]]:
        """Ready and desired, by service; nothing where no orchestrator of ours runs."""
        try:
            body = await ask(self._client, "GET", f"{self._orchestrator_url}/api/v1/services")
        except PeerError:
            return {}
        listed = body.get("services") if isinstance(body, dict) else None
        return {str(each["name"]): (int(each["ready"]), int(each["desired"])) for each in listed or []}

    async def _ask(self, expr: str, now: float) -> list[tuple[dict[str, str], float]]:
        try:
            found = await self._prometheus.query(expr, now)
        except PeerError as error:
            self._errors.append(str(error))
            return []
        return [(dict(series.labels), series.points[-1][1]) for series in found]


def _services(
    edges: Sequence[Edge],
    replicas: dict[str, tuple[int, int]],
    answers: dict[str, list[tuple[dict[str, str], float]]],
) -> dict[str, Service]:
    def of(query: str) -> dict[str, float]:
        return {labels.get("job", ""): value for labels, value in answers[query] if math.isfinite(value)}

    rates, errors, slowest = of("rate"), of("errors"), of("p99")
    names = {*replicas, *(name for edge in edges for name in (edge.source, edge.target))}
    found = {}
    for name in sorted(names):
        firing: list[dict[str, Any]] = [labels for labels, _ in answers["alerts"] if labels.get("service") == name]
        ready, desired = replicas.get(name, (None, None))
        found[name] = Service(
            name=name,
            rate=rates.get(name),
            errors=errors.get(name, 0.0 if name in rates else None),
            p99_s=slowest.get(name),
            ready=ready,
            desired=desired,
            alerts=tuple(sorted({str(labels.get("alertname")) for labels in firing})),
            critical=any(labels.get("severity") == "critical" for labels in firing),
        )
    return found
