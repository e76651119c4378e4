"""The stack's HTTP seams, with their tokens: bounded in time and size, each failure with the name of the part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self, TypeVar

import httpx

from remediation.drills.endpoints import Endpoints, variable
from remediation.drills.errors import BrokenAnswerError, RefusedError

READ_TIMEOUT_S = 2.0  # a poll that takes longer is as good as none: things change every second
WRITE_TIMEOUT_S = 5.0  # through the gateway to a service that may be overloaded
MAX_BODY_BYTES = 8 * 1024 * 1024  # a thousand times the answers of a healthy stack

_T = TypeVar("_T")


class Seams:
    """Use as an async context manager."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._at = endpoints
        # Answers come from loopback; a proxy of the environment would only be in the way.
        self._client = httpx.AsyncClient(timeout=READ_TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._client.aclose()

    def _headers(self, audience: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._at.token(audience)}"} if audience else {}

    async def _get(
        self, part: str, path: str, params: dict[str, str] | None = None, audience: str | None = None
    ) -> Any:
        return await self._request("GET", part, path, audience, READ_TIMEOUT_S, params=params)

    async def _send(self, method: str, part: str, path: str, audience: str, body: dict[str, Any] | None) -> None:
        await self._request(method, part, path, audience, WRITE_TIMEOUT_S, json_body=body)

    async def _request(
        self,
        method: str,
        part: str,
        path: str,
        audience: str | None,
        timeout_s: float,
        *,
        params: dict[str, str] | None = None,
        json_body: dict[str, Any] | None = None,
    ) -> Any:
        base = getattr(self._at, part)
        where = f"{part} at {base} ({variable(part)})"
        request = self._client.build_request(
            method, base + path, params=params, json=json_body, headers=self._headers(audience), timeout=timeout_s
        )
        try:
            status, raw = await asyncio.wait_for(self._bounded(request), timeout_s)
        except (httpx.HTTPError, TimeoutError) as error:
            raise BrokenAnswerError(f"{where} does not answer: {str(error) or type(error).__name__}") from error
        try:
            answer = json.loads(raw) if raw else None
        except ValueError as error:
            if status < 400:
                raise BrokenAnswerError(f"{where} answered {method} {path} with no JSON: {raw[:80]!r}") from error
            answer = None
        if status < 400:
            return answer
        said = answer.get("error") or answer.get("detail") if isinstance(answer, dict) else None
        message = f"{where} answered {method} {path} with {status}: {said or raw[:200].decode(errors='replace')}"
        # 4xx: the request is wrong. But 404 may be a gateway that has no route yet, 408 and 429 ask for patience,
        # and Prometheus's 422 is a query that could not be executed this time.
        raise RefusedError(message) if status in (400, 401, 403, 405, 413, 415) else BrokenAnswerError(message)

    async def _bounded(self, request: httpx.Request) -> tuple[int, bytes]:
        response = await self._client.send(request, stream=True)
        try:
            raw = bytearray()
            async for chunk in response.aiter_bytes():
                raw += chunk
                if len(raw) > MAX_BODY_BYTES:
                    raise BrokenAnswerError(f"{request.url} answered with more than {MAX_BODY_BYTES} bytes")
            return response.status_code, bytes(raw)
        finally:
            await response.aclose()


def read(who: str, reader: Callable[[Any], _T], body: Any) -> _T:
    try:
        return reader(body)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise BrokenAnswerError(f"{who}: cannot read its answer: {type(error).__name__}: {error}") from error
