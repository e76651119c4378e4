"""The collector's search for traces, which takes the filter language."""

from __future__ import annotations

from typing import Any

import httpx

from dashboards.viewer.peers.client import ask


class TraceSearch:
    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = f"{url}/api/v1/traces/search"

    async def search(self, wanted: str, *, start: float, end: float, limit: int) -> list[dict[str, Any]]:
        """
        Summaries, newest first.

        Args:
            start, end: Unix seconds.

        Raises:
            PeerError: no answer, or a filter that is none; with the place of the mistake.
        """
        parameters = {"filter": wanted, "start": f"{start:.3f}", "end": f"{end:.3f}", "limit": str(limit)}
        body = await ask(self._client, "GET", self._url, params=parameters)
        data = body.get("data") if isinstance(body, dict) else None
        return list(data.get("traces") or []) if isinstance(data, dict) else []
