"""The worker's API, for looking."""

from __future__ import annotations

from typing import Any

import httpx

from dashboards.viewer.peers.client import ask


class Remediation:
    """Every method raises PeerError with the worker's own words."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def records(self, *, service: str, limit: int) -> list[dict[str, Any]]:
        parameters = {"limit": str(limit)} | ({"service": service} if service else {})
        answer = await ask(self._client, "GET", f"{self._url}/api/v1/remediations", params=parameters)
        return list(answer.get("remediations") or [])

    async def record(self, run_id: str) -> dict[str, Any]:
        return dict(await ask(self._client, "GET", f"{self._url}/api/v1/remediations/{run_id}"))

    async def kill_switch(self) -> dict[str, Any]:
        return dict(await ask(self._client, "GET", f"{self._url}/api/v1/kill-switch"))
