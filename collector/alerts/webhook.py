"""Delivering one notification to one webhook, and what its answer means."""

from __future__ import annotations

import asyncio

import httpx

from collector.alerts.http_config import HttpConfig
from collector.alerts.integration import CONCURRENT_DELIVERIES, RefusedError
from collector.alerts.notification import Notification
from collector.alerts.receiver_config import WebhookConfig
from collector.alerts.section import read_secret
from collector.errors import TemporaryError

SHOWN_ANSWER_CHARS = 200  # of a refusal's body, in the error


class Webhook:
    """
    Args:
        name: What logs and the notification log call it, e.g. `worker/webhook/0`.
        client: Made from the `http_config` of the same webhook.
    """

    kind = "webhook"

    def __init__(self, name: str, config: WebhookConfig, client: httpx.AsyncClient) -> None:
        self.name = name
        self.send_resolved = config.send_resolved
        self.slots = asyncio.Semaphore(CONCURRENT_DELIVERIES)
        self._config = config
        self._http = config.http_config or HttpConfig()
        self._client = client

    async def deliver(self, notification: Notification) -> None:
        """
        Post the payload.

        Raises:
            TemporaryError: no connection, no answer in time, 429 or 5xx: worth another try.
            RefusedError: any other status than 2xx.
        """
        payload = notification.payload(self._config.max_alerts)
        try:
            headers = await asyncio.to_thread(self._http.headers)
            url = await asyncio.to_thread(self._url)
        except TemporaryError as error:
            raise TemporaryError(f"{self.name}: {error}") from None
        timeout_s = self._config.timeout / 1000 or None
        request = self._client.stream(
            "POST", url, json=payload, headers=headers, timeout=timeout_s, extensions=self._http.extensions()
        )
        try:
            async with asyncio.timeout(timeout_s), request as response:
                if not response.is_success:
                    self._refuse(response.status_code, await _beginning(response))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            # An error's text may hold the URL, which may be the receiver's secret.
            raise TemporaryError(f"{self.name}: {type(error).__name__}: {str(error).replace(url, '<url>')}") from None

    def _url(self) -> str:
        path = self._config.url_file
        if path is None:
            return self._config.url or ""
        try:
            return read_secret(path)
        except OSError as error:
            raise TemporaryError(f"cannot read {path}: {error.strerror}") from None
        except ValueError as error:
            raise TemporaryError(f"cannot read {path}: {error}") from None

    def _refuse(self, status: int, answer: str) -> None:
        message = f"{self.name}: unexpected status code {status}: {answer}"
        if status == 429 or status >= 500:
            raise TemporaryError(message)
        raise RefusedError(message)


async def _beginning(response: httpx.Response) -> str:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= SHOWN_ANSWER_CHARS:
            break
    return body.decode(errors="replace")[:SHOWN_ANSWER_CHARS]
