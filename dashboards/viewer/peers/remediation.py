"""The worker's API: what it does and did, the answers it asks for, and the kill switch."""

from __future__ import annotations

from typing import Any, Literal

import httpx

from dashboards.viewer.peers.client import ask

Verdict = Literal["approve", "refuse"]


class Remediation:
    """Every method raises PeerError with the worker's own words."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        self._client = client
        self._url = url
        self._token = token

    async def records(self, *, service: str = "", state: str = "", limit: int) -> list[dict[str, Any]]:
        given = {"service": service, "state": state, "limit": str(limit)}
        parameters = {name: value for name, value in given.items() if value}
        answer = await ask(self._client, "GET", f"{self._url}/api/v1/remediations", params=parameters)
        return list(answer.get("remediations") or [])

    async def record(self, run_id: str) -> dict[str, Any]:
        return dict(await ask(self._client, "GET", f"{self._url}/api/v1/remediations/{run_id}"))

    async def kill_switch(self) -> dict[str, Any]:
        return dict(await ask(self._client, "GET", f"{self._url}/api/v1/kill-switch"))

    async def answer(self, run_id: str, verdict: Verdict, *, by: str, reason: str) -> None:
        url = f"{self._url}/api/v1/remediations/{run_id}/{verdict}"
        await ask(self._client, "POST", url, token=self._token, json={"by": by, "reason": reason})

    async def turn_kill_switch(self, *, on: bool, by: str, reason: str) -> None:
        body = {"on": on, "by": by, "reason": reason}
        await ask(self._client, "PUT", f"{self._url}/api/v1/kill-switch", token=self._token, json=body)
