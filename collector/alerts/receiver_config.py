"""
Where notifications go: webhooks, and the services that apprise knows, each with Alertmanager's own keys.

Source: alertmanager/config/notifiers.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import Field, InstanceOf, SecretStr, model_validator

from collector.alerts.http_config import HttpConfig
from collector.alerts.section import DurationMs, FilePath, HttpUrl, Section, at_most_one
from collector.alerts.service_kinds import KINDS, UNBUILT_KINDS, ServiceKind

DEFAULT_TIMEOUT_MS = 10_000  # of one notification; Alertmanager leaves it to the group's interval, 10 s at least


class WebhookConfig(Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset({"payload"})

    url: HttpUrl | None = None
    url_file: FilePath | None = None
    send_resolved: bool = True
    http_config: HttpConfig | None = None  # None: that of `global`
    max_alerts: int = Field(default=0, ge=0)  # alerts in one notification; 0: all
    timeout: DurationMs = DEFAULT_TIMEOUT_MS  # 0: none

    @model_validator(mode="after")
    def _one_url(self) -> WebhookConfig:
        if self.url is None and self.url_file is None:
            raise ValueError("one of url or url_file must be configured")
        at_most_one(self, "url", "url_file")
        return self


class AppriseConfig(Section):
    """Any service of apprise by its URL. Ours; Alertmanager has no such key."""

    url: SecretStr | None = None  # it holds the service's secrets
    url_file: FilePath | None = None
    send_resolved: bool = True

    @model_validator(mode="after")
    def _one_url(self) -> AppriseConfig:
        if self.url is None and self.url_file is None:
            raise ValueError("one of url or url_file must be configured")
        at_most_one(self, "url", "url_file")
        return self


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """One entry of `slack_configs` and the like: checked keys, those of `global` filled in."""

    kind: ServiceKind
    send_resolved: bool
    options: Mapping[str, Any]  # may hold secrets: never logged

    def __repr__(self) -> str:
        return f"ServiceConfig({self.kind.name})"


class Receiver(Section):
    """`services` are the entries of every `…_configs` but webhooks and apprise, in the order of the file."""

    name: str = Field(min_length=1)
    webhook_configs: tuple[WebhookConfig, ...] = ()
    apprise_configs: tuple[AppriseConfig, ...] = ()
    services: tuple[InstanceOf[ServiceConfig], ...] = Field(default=(), exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _gather_services(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if not data.get("name"):
            raise ValueError("missing name in receiver")
        rest, services = {}, []
        for key, value in data.items():
            name = str(key).removesuffix("_configs")
            if str(key).endswith("_configs") and name in UNBUILT_KINDS:
                raise ValueError(f"{key!r} is a key of Alertmanager that is not built yet: {UNBUILT_KINDS[name]}")
            if str(key).endswith("_configs") and name in KINDS:
                services += _services(KINDS[name], value)
            elif key == "services":
                raise ValueError("field 'services' is not known")
            else:
                rest[key] = value
        return rest | {"services": tuple(services)}

    def with_global(self, options: Mapping[str, Any], http_config: HttpConfig) -> Self:
        """What `global` says where the receiver says nothing. Raises ValueError: a needed key is in neither."""
        webhooks = tuple(
            one if one.http_config is not None else one.model_copy(update={"http_config": http_config})
            for one in self.webhook_configs
        )
        services = tuple(
            ServiceConfig(one.kind, one.send_resolved, one.kind.filled(one.options, options)) for one in self.services
        )
        return self.model_copy(update={"webhook_configs": webhooks, "services": services})


def _services(kind: ServiceKind, entries: object) -> list[ServiceConfig]:
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise ValueError(f"{kind.name}_configs is a list")
    found = []
    for entry in entries:
        options = dict(entry) if isinstance(entry, dict) else {}
        if not isinstance(entry, dict) and entry is not None:
            raise ValueError(f"an entry of {kind.name}_configs is a mapping")
        send_resolved = options.pop("send_resolved", kind.send_resolved)
        if not isinstance(send_resolved, bool):
            raise ValueError(f"{kind.name}_configs: send_resolved is true or false")
        found.append(ServiceConfig(kind, send_resolved, kind.checked(options)))
    return found
