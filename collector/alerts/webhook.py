"""Delivering one notification to one webhook, and what its answer means."""

from __future__ import annotations

import asyncio
import json

import httpx

from collector.alerts.http_config import HttpConfig
from collector.alerts.integration import CONCURRENT_DELIVERIES, RefusedError
from collector.alerts.notification import JsonObject, Notification
from collector.alerts.notification_template import NotificationTemplates
from collector.alerts.receiver_config import WebhookConfig
from collector.alerts.section import http_url, read_secret
from collector.alerts.template_data import template_data
from collector.errors import TemporaryError
from collector.gotemplate.tree import TemplateError

# alertmanager/notify/incidentio/incidentio.go: what it takes; of a longer one it is told the first alert.
INCIDENTIO_VERSION = "1"
MAX_INCIDENTIO_BYTES = 512 * 1024
SHOWN_ANSWER_CHARS = 200  # of a refusal's body, in the error


class Webhook:
    """
    Args:
        name: What logs and the notification log call it, e.g. `worker/webhook/0`.
        client: Made from the `http_config` of the same webhook.
        kind: Of the metrics: `webhook`, or `incidentio`, which has a payload of another version.
    """

    def __init__(
        self,
        name: str,
        config: WebhookConfig,
        client: httpx.AsyncClient,
        templates: NotificationTemplates,
        *,
        kind: str = "webhook",
    ) -> None:
        self.name = name
        self.kind = kind
        self.send_resolved = config.send_resolved
        self.slots = asyncio.Semaphore(CONCURRENT_DELIVERIES)
        self._config = config
        self._http = config.http_config or HttpConfig()
        self._client = client
        self._templates = templates

    async def deliver(self, notification: Notification) -> None:
        """
        Post the payload.

        Raises:
            TemporaryError: no connection, no answer in time, 429 or 5xx: worth another try.
            RefusedError: any other status than 2xx, or its URL is none.
        """
        payload = self._payload(notification)
        try:
            headers = await asyncio.to_thread(self._http.headers)
            url = self._expanded(await asyncio.to_thread(self._url), notification)
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

    def _payload(self, notification: Notification) -> JsonObject:
        payload = notification.payload(self._config.max_alerts)
        if self.kind == "incidentio":
            payload["version"] = INCIDENTIO_VERSION
            if len(json.dumps(payload)) > MAX_INCIDENTIO_BYTES:
                payload["alerts"] = list(payload["alerts"])[:1]  # type: ignore[call-overload]
        return payload

    def _expanded(self, url: str, notification: Notification) -> str:
        if "{{" not in url:
            return url
        data = template_data(notification, max_alerts=self._config.max_alerts)
        try:
            return http_url(self._templates.text(url, data, now_ms=notification.now_ms))
        except (TemplateError, ValueError) as error:
            raise RefusedError(f"{self.name}: url: {error}") from None

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
