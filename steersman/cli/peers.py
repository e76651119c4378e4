"""Asking the parts of a running stack, with errors that a person can act on."""

from __future__ import annotations

from typing import Any

import httpx

from steersman.errors import PeerError

# A loaded two-core machine answers the slowest of these in well under a second.
TIMEOUT_S = 10.0


def ask(
    method: str, url: str, *, token: str | None = None, timeout: float | httpx.Timeout = TIMEOUT_S, **arguments: Any
) -> Any:
    """
    The JSON answer.

    Raises:
        PeerError: no answer, or one that refuses; with the peer's own words.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(trust_env=False, timeout=timeout) as client:
            answer = client.request(method, url, headers=headers, **arguments)
            body = answer.json()
    except ValueError as error:
        raise PeerError(f"{url} answered something that is not JSON") from error
    except httpx.HTTPError as error:
        raise PeerError(f"{url} does not answer: {error or type(error).__name__}") from error
    if not answer.is_success:
        words = body.get("error") if isinstance(body, dict) else None
        raise PeerError(str(words or f"{url} answered {answer.status_code}"))
    return body
