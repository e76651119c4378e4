"""Delivering one notification to one webhook, and what its answer means."""

from __future__ import annotations

import asyncio
import logging

import httpx

from collector.alerts.config import WebhookConfig
from collector.alerts.notification import JsonObject
from collector.errors import CollectorError, TemporaryError

logger = logging.getLogger(__name__)

SHOWN_ANSWER_CHARS = 200  # of a refusal's body, in the error


class RefusedError(CollectorError):
    """The receiver will not take this notification, however often it is sent."""


class Webhook:
    """
    Args:
        integration: What logs and the notification log call it, e.g. `worker/webhook/0`.
    """

    def __init__(self, integration: str, config: WebhookConfig, client: httpx.AsyncClient) -> None:
        self.integration = integration
        self.config = config
        self._client = client

    async def deliver(self, payload: JsonObject) -> None:
        """
        Post the payload.

        Raises:
            TemporaryError: no connection, no answer in time, 429 or 5xx: worth another try.
            RefusedError: any other status than 2xx.
        """
        headers = await asyncio.to_thread(self._headers)
        timeout_s = self.config.timeout / 1000 or None
        request = self._client.stream("POST", self.config.url, json=payload, headers=headers, timeout=timeout_s)
        try:
            async with asyncio.timeout(timeout_s), request as response:
                if not response.is_success:
                    self._refuse(response.status_code, await _beginning(response))
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise TemporaryError(f"{self.integration}: {type(error).__name__}: {error}") from error

    def _headers(self) -> dict[str, str]:
        """Read anew each time, so that a changed token is taken at once. May raise TemporaryError."""
        authorization = self.config.http_config.authorization
        if authorization is None:
            return {}
        try:
            credentials = authorization.credentials_file.read_text().strip()
            _check_header_value(credentials)
        except (OSError, ValueError) as error:
            # What the file holds must not get into the message, so only our own words and the system's.
            problem = error.strerror if isinstance(error, OSError) else "not one line of printable ASCII"
            message = f"{self.integration}: cannot read {authorization.credentials_file}: {problem}"
            raise TemporaryError(message) from None
        return {"Authorization": f"{authorization.type} {credentials}"}

    def _refuse(self, status: int, answer: str) -> None:
        message = f"{self.integration}: unexpected status code {status}: {answer}"
        if status == 429 or status >= 500:
            raise TemporaryError(message)
        raise RefusedError(message)


def _check_header_value(credentials: str) -> None:
    if not credentials or not credentials.isascii() or not credentials.isprintable():
        raise ValueError


async def _beginning(response: httpx.Response) -> str:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= SHOWN_ANSWER_CHARS:
            break
    return body.decode(errors="replace")[:SHOWN_ANSWER_CHARS]
