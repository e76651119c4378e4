"""HTTP calls: one request, a bounded answer."""

from __future__ import annotations

import httpx

from remediation.actions.outcome import Outcome
from remediation.policy.actions import MAX_OUTPUT_BYTES, Call
from steersman.runtime.tokens import EmptyTokenError, read_token


def make_call(call: Call, body: str | None, *, key: str) -> Outcome:
    """`body` is `call.body` with its values. Redirects are not followed: they could lead the token astray."""
    headers = {**call.headers, "Idempotency-Key": key}
    try:
        if call.token_file is not None:
            headers["Authorization"] = f"Bearer {read_token(call.token_file)}"
        with (
            httpx.Client(timeout=call.timeout, trust_env=False, follow_redirects=False) as client,
            client.stream(call.method, call.url, content=body, headers=headers) as answer,
        ):
            said = _bounded(answer)
    except (OSError, EmptyTokenError) as error:
        return Outcome("failed", f"token file: {error}")
    except httpx.HTTPError as error:
        return Outcome("failed", f"{call.method} {call.url}: {error or type(error).__name__}")
    detail = f"{call.method} {call.url} answered {answer.status_code}"
    if answer.status_code not in call.expect:
        wanted = ", ".join(map(str, call.expect))
        return Outcome("failed", f"{detail}, expected {wanted}", said)
    return Outcome("done", detail, said)


def _bounded(answer: httpx.Response) -> str:
    data = bytearray()
    for chunk in answer.iter_bytes():
        data += chunk
        if len(data) > MAX_OUTPUT_BYTES:
            break
    return bytes(data[:MAX_OUTPUT_BYTES]).decode(errors="replace")
