"""What panels ask besides Prometheus: Jaeger's traces and dependencies, and the collector's logs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

from dashboards.errors import PeerError
from dashboards.viewer.grafana.dashboard import Target
from dashboards.viewer.grafana.interpolation import Values, interpolate
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.panels.records import Edge, LogQueryError, log_parameters
from dashboards.viewer.peers.client import ask
from dashboards.viewer.peers.jaeger import Jaeger
from dashboards.viewer.traces.tree import Tree, build_tree

MAX_TRACES = 50
MAX_RECORDS = 300
_TAG = re.compile(r'([^\s=]+)=("(?:\\.|[^"\\])*"|\S+)')


class Sources:
    """Every method raises PeerError with the peer's own words."""

    def __init__(self, client: httpx.AsyncClient, *, jaeger_url: str, logs_url: str) -> None:
        self._client = client
        self._jaeger = Jaeger(client, jaeger_url)
        self._jaeger_url = jaeger_url
        self._logs_url = logs_url

    async def traces(self, target: Target, values: Values, span: Span) -> list[Tree]:
        """Newest first: of a search, or the one trace whose id the query is."""
        asked = target.raw
        trace_id = interpolate(str(asked.get("query") or ""), values).strip()
        if asked.get("queryType") not in ("search", "upload") and trace_id:
            found = [await self._jaeger.trace(trace_id)]
        else:
            found = await self._jaeger.search(_search(asked, values, span))
        trees = [tree for trace in found if (tree := build_tree(trace)) is not None]
        return sorted(trees, key=lambda tree: tree.start_us, reverse=True)

    async def dependencies(self, span: Span) -> list[Edge]:
        parameters = {"endTs": f"{span.end * 1000:.0f}", "lookback": f"{span.seconds * 1000:.0f}"}
        body = await ask(self._client, "GET", f"{self._jaeger_url}/api/dependencies", params=parameters)
        return [
            Edge(str(each["parent"]), str(each["child"]), int(each["callCount"]))
            for each in (body.get("data") if isinstance(body, dict) else None) or []
        ]

    async def logs(self, target: Target, values: Values, span: Span) -> list[dict[str, Any]]:
        """Newest first."""
        try:
            parameters = log_parameters(interpolate(target.expr, values))
        except LogQueryError as error:
            raise PeerError(str(error)) from error
        most = target.raw.get("maxLines")
        limit = min(MAX_RECORDS, most) if isinstance(most, int) and most > 0 else MAX_RECORDS
        return await self.log_records(parameters, span, limit)

    async def log_records(self, parameters: Mapping[str, str], span: Span, limit: int) -> list[dict[str, Any]]:
        """
        Newest first.

        Args:
            parameters: Of the collector's /api/v1/logs: `service`, `severity`, `text`, `trace_id`.
        """
        parameters = {**parameters, "start": f"{span.start:.3f}", "end": f"{span.end:.3f}", "limit": str(limit)}
        body = await ask(self._client, "GET", f"{self._logs_url}/api/v1/logs", params=parameters)
        return list(body.get("data") or []) if isinstance(body, dict) else []


def _search(asked: Mapping[str, Any], values: Values, span: Span) -> dict[str, str]:
    """Jaeger's parameters of a query of Grafana's Jaeger data source."""

    def text(name: str) -> str:
        return interpolate(str(asked.get(name) or ""), values, promql=False).strip()

    limit = asked.get("limit")
    found = {
        "service": text("service"),
        "start": f"{span.start * 1e6:.0f}",
        "end": f"{span.end * 1e6:.0f}",
        "limit": str(min(MAX_TRACES, int(limit)) if isinstance(limit, int | float) and limit > 0 else 20),
    }
    if text("operation") not in ("", "All"):
        found["operation"] = text("operation")
    found |= {name: text(name) for name in ("minDuration", "maxDuration") if text(name)}
    if tags := text("tags"):
        found["tags"] = json.dumps({key: value.strip('"') for key, value in _TAG.findall(tags)})
    return found
