"""Any Jaeger query API, version 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from dashboards.errors import PeerError
from dashboards.viewer.peers.client import ask


class Jaeger:
    """Every method raises PeerError with Jaeger's own words."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def services(self) -> list[str]:
        return sorted(str(name) for name in await self._data("/api/services", {}) or [])

    async def operations(self, service: str) -> list[str]:
        found = await self._data("/api/operations", {"service": service}) or []
        return sorted({str(each["name"] if isinstance(each, dict) else each) for each in found})

    async def search(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        """Whole traces, newest first."""
        return list(await self._data("/api/traces", parameters) or [])

    async def trace(self, trace_id: str) -> dict[str, Any]:
        found = await self._data(f"/api/traces/{trace_id}", {})
        if not found:
            raise PeerError(f"no trace {trace_id}", 404)
        return dict(found[0])

    async def _data(self, path: str, parameters: Mapping[str, str]) -> Any:
        body = await ask(self._client, "GET", self._url + path, params=dict(parameters))
        if not isinstance(body, dict):
            raise PeerError(f"{self._url}{path} answered something that is not Jaeger's")
        return body.get("data")
