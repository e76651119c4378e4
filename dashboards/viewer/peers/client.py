"""JSON over HTTP, with errors that a person can act on."""

from __future__ import annotations

from typing import Any

import httpx

from dashboards.errors import PeerError

TIMEOUT_S = 10.0


async def ask(client: httpx.AsyncClient, method: str, url: str, **arguments: Any) -> Any:
    """
    The JSON answer.

    Raises:
        PeerError: no answer, or one that refuses; with the peer's own words.
    """
    try:
        answer = await client.request(method, url, timeout=TIMEOUT_S, **arguments)
        body = answer.json() if answer.content else None
    except ValueError as error:
        raise PeerError(f"{url} answered something that is not JSON") from error
    except httpx.HTTPError as error:
        raise PeerError(f"{url} does not answer: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise PeerError(f"{url} answered {answer.status_code}{_words(body)}")
    return body


def _words(body: Any) -> str:
    """Prometheus's envelope has `error`, Jaeger's a list of `errors` with `msg`."""
    if isinstance(body, dict):
        if body.get("error"):
            return f": {body['error']}"
        errors = body.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            return f": {errors[0].get('msg')}"
    return ""
