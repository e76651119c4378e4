"""The drills of a stack: which there are, what runs, how they went."""

from __future__ import annotations

from typing import Any

import httpx

from dashboards.errors import PeerError
from dashboards.viewer.peers.client import TIMEOUT_S, ask


class Drills:
    """Every method raises PeerError with the stack's own words."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        self._client = client
        self._url = f"{url}/api/v1/drills"
        self._token = token

    async def all(self) -> list[dict[str, Any]]:
        return list((await ask(self._client, "GET", self._url)).get("drills") or [])

    async def running(self) -> dict[str, Any]:
        """`running`: who, or None; `started_here`: whether it can be stopped here; `report`: what it has come to."""
        return dict(await ask(self._client, "GET", f"{self._url}/running"))

    async def history(self) -> dict[str, Any]:
        return dict(await ask(self._client, "GET", f"{self._url}/history"))

    async def report(self, run: str) -> dict[str, Any]:
        return dict(await ask(self._client, "GET", f"{self._url}/reports/{run}"))

    async def page(self, run: str) -> str:
        """The report as one HTML page that stands alone."""
        url = f"{self._url}/reports/{run}/page"
        try:
            answer = await self._client.get(url, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            raise PeerError(f"{url} does not answer: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise PeerError(f"{url} answered {answer.status_code}", answer.status_code)
        return answer.text

    async def start(self, name: str) -> None:
        await ask(self._client, "POST", self._url, token=self._token, json={"drill": name})

    async def stop(self) -> None:
        await ask(self._client, "DELETE", f"{self._url}/running", token=self._token)
