"""Any Alertmanager API v2: silences."""

from __future__ import annotations

from typing import Any

import httpx

from dashboards.viewer.peers.client import ask


class Alertmanager:
    """Every method raises PeerError with Alertmanager's own words."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        self._client = client
        self._url = f"{url}/api/v2"
        self._token = token

    async def silences(self) -> list[dict[str, Any]]:
        return list(await ask(self._client, "GET", f"{self._url}/silences") or [])

    async def alerts(self) -> list[dict[str, Any]]:
        return list(await ask(self._client, "GET", f"{self._url}/alerts") or [])

    async def silence(self, silence: dict[str, Any]) -> str:
        """Its id."""
        answer = await ask(self._client, "POST", f"{self._url}/silences", token=self._token, json=silence)
        return str(answer["silenceID"])

    async def expire(self, silence_id: str) -> None:
        await ask(self._client, "DELETE", f"{self._url}/silence/{silence_id}", token=self._token)
