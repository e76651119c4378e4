"""The integrations of every receiver of a configuration, and the HTTP clients that they share."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import httpx

from collector.alerts.apprise_service import AppriseService
from collector.alerts.config import AlertmanagerConfig
from collector.alerts.http_config import HttpConfig
from collector.alerts.integration import Integration
from collector.alerts.receiver_config import AppriseConfig, Receiver, ServiceConfig, WebhookConfig
from collector.alerts.webhook import Webhook
from collector.errors import ConfigError


class Integrations:
    """
    Made in the event loop.

    Raises:
        ConfigError: a file of a TLS configuration is missing or is no certificate.
    """

    def __init__(self, config: AlertmanagerConfig) -> None:
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._templates = config.notification_templates
        self._of = {one.name: tuple(self._made(config.receiver(one.name))) for one in config.receivers}

    def of(self, receiver: str) -> Sequence[Integration]:
        return self._of[receiver]

    async def close(self) -> None:
        for client in self._clients.values():
            with contextlib.suppress(httpx.HTTPError):
                await client.aclose()

    def _made(self, receiver: Receiver) -> list[Integration]:
        made: list[Integration] = []
        for position, webhook in enumerate(receiver.webhook_configs):
            name = f"{receiver.name}/webhook/{position}"
            made.append(self._webhook(name, webhook))
        for position, incidentio in enumerate(receiver.incidentio_configs):
            made.append(self._webhook(f"{receiver.name}/incidentio/{position}", incidentio.webhook(), "incidentio"))
        counts: dict[str, int] = {}
        services: list[ServiceConfig | AppriseConfig] = [*receiver.services, *receiver.apprise_configs]
        for service in services:
            kind = AppriseService.kind_of(service)
            made.append(AppriseService(f"{receiver.name}/{kind}/{counts.get(kind, 0)}", service, self._templates))
            counts[kind] = counts.get(kind, 0) + 1
        return made

    def _webhook(self, name: str, config: WebhookConfig, kind: str = "webhook") -> Webhook:
        client = self._client(name, config.http_config or HttpConfig())
        return Webhook(name, config, client, self._templates, kind=kind)

    def _client(self, name: str, config: HttpConfig) -> httpx.AsyncClient:
        key = config.client_key()
        if key not in self._clients:
            try:
                self._clients[key] = config.client()
            except (OSError, ValueError) as error:
                raise ConfigError(f"{name}: tls_config: {error}") from error
        return self._clients[key]
