"""JSON over HTTP, with errors that a person can act on."""

from __future__ import annotations

from typing import Any

import httpx

from dashboards.errors import PeerError

TIMEOUT_S = 10.0


async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    token: str | None = None,
    timeout_s: float = TIMEOUT_S,
    **arguments: Any,
) -> Any:
    """
    The JSON answer; None for an empty one.

    Args:
        token: Sent as a bearer token; "": the viewer has none, and should have one.

    Raises:
        PeerError: no answer, or one that refuses; with the peer's own words.
    """
    if token == "":
        raise PeerError(f"the viewer was started without the token that {url} asks for")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = await client.request(method, url, timeout=timeout_s, headers=headers, **arguments)
        body = answer.json() if answer.content else None
    except ValueError as error:
        raise PeerError(f"{url} answered something that is not JSON") from error
    except httpx.HTTPError as error:
        raise PeerError(f"{url} does not answer: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise PeerError(f"{url} answered {answer.status_code}{_words(body)}", answer.status_code)
    return body


def _words(body: Any) -> str:
    """Prometheus's envelope has `error`, Jaeger's a list of `errors` with `msg`."""
    if isinstance(body, str):  # Alertmanager's
        return f": {body[:500]}"
    if isinstance(body, dict):
        if body.get("message"):
            return f": {body['message']}"
        if body.get("error"):
            return f": {body['error']}"
        errors = body.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            return f": {errors[0].get('msg')}"
    return ""
