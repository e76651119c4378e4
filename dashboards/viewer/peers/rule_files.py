"""The collector's rule files: read, tried, and saved."""

from __future__ import annotations

from typing import Any

import httpx

from dashboards.viewer.peers.client import ask

TRY_TIMEOUT_S = 65.0  # a little over what the collector gives a backtest


class RuleFiles:
    """Every method raises PeerError with the collector's own words."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        self._client = client
        self._url = f"{url}/api/v1/rule-files"
        self._token = token

    async def files(self) -> list[dict[str, Any]]:
        return list((await self._get("", {}))["files"])

    async def read(self, file: str) -> dict[str, Any]:
        """`text`, `version`, and `tests`, which is empty where there are none."""
        return dict(await self._get("/content", {"file": file}))

    async def check(self, file: str, text: str) -> dict[str, Any]:
        return await self._send("POST", "/check", {"file": file, "text": text})

    async def test(self, file: str, text: str, tests: str) -> dict[str, Any]:
        return await self._send("POST", "/test", {"file": file, "text": text, "tests": tests})

    async def backtest(self, file: str, text: str, *, from_ms: int, to_ms: int, alert: str) -> dict[str, Any]:
        body = {"file": file, "text": text, "from_unix_ms": from_ms, "to_unix_ms": to_ms, "alert": alert}
        return await self._send("POST", "/backtest", body)

    async def save(self, file: str, text: str, version: str) -> str:
        """The new version."""
        return str((await self._send("PUT", "/content", {"file": file, "text": text, "version": version}))["version"])

    async def _get(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        return dict((await ask(self._client, "GET", self._url + path, params=parameters))["data"])

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await ask(
            self._client, method, self._url + path, token=self._token, timeout_s=TRY_TIMEOUT_S, json=body
        )
        return dict(answer["data"])
