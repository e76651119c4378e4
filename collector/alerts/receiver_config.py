"""
Where notifications go: webhooks, and the services that apprise knows, each with Alertmanager's own keys.

Source: alertmanager/config/notifiers.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    Field,
    InstanceOf,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from collector.alerts.http_config import Authorization, HttpConfig
from collector.alerts.section import DurationMs, FilePath, HttpUrl, Section, at_most_one, http_url, worded
from collector.alerts.service_kinds import KINDS, UNBUILT_KINDS, ServiceKind

DEFAULT_TIMEOUT_MS = 10_000  # of one notification; Alertmanager leaves it to the group's interval, 10 s at least


def _template_url(url: str) -> str:
    """A URL with a template in it is looked at when it is expanded."""
    return url if "{{" in url else http_url(url)


TemplateUrl = Annotated[str, AfterValidator(_template_url)]


class WebhookConfig(Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset({"payload"})

    url: TemplateUrl | None = None
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
    title: str = '{{ template "apprise.default.title" . }}'
    text: str = '{{ template "apprise.default.text" . }}'

    @model_validator(mode="after")
    def _one_url(self) -> AppriseConfig:
        if self.url is None and self.url_file is None:
            raise ValueError("one of url or url_file must be configured")
        at_most_one(self, "url", "url_file")
        return self


class IncidentioConfig(Section):
    """A webhook with a login of its own. Source: alertmanager/notify/incidentio."""

    url: HttpUrl | None = None
    url_file: FilePath | None = None
    alert_source_token: SecretStr | None = None
    alert_source_token_file: FilePath | None = None
    send_resolved: bool = True
    http_config: HttpConfig | None = None
    max_alerts: int = Field(default=0, ge=0)
    timeout: DurationMs = DEFAULT_TIMEOUT_MS

    @model_validator(mode="after")
    def _has_a_login(self) -> IncidentioConfig:
        if self.url is None and self.url_file is None:
            raise ValueError("one of url or url_file must be configured")
        at_most_one(self, "url", "url_file")
        at_most_one(self, "alert_source_token", "alert_source_token_file")
        token = self.alert_source_token is not None or self.alert_source_token_file is not None
        login = self.http_config is not None and self.http_config.authorization is not None
        if token and login:
            raise ValueError(
                "cannot specify alert_source_token or alert_source_token_file when using http_config.authorization"
            )
        if self.http_config is not None and not token and not login:
            raise ValueError(
                "at least one of alert_source_token, alert_source_token_file or http_config.authorization must be"
                " configured"
            )
        return self

    def webhook(self) -> WebhookConfig:
        """What it comes to, once it has its `http_config`."""
        http = self.http_config or HttpConfig()
        if self.alert_source_token is not None or self.alert_source_token_file is not None:
            login = Authorization.model_construct(
                credentials=self.alert_source_token, credentials_file=self.alert_source_token_file
            )
            http = http.model_copy(update={"authorization": login})
        return WebhookConfig.model_construct(
            url=self.url,
            url_file=self.url_file,
            send_resolved=self.send_resolved,
            http_config=http,
            max_alerts=self.max_alerts,
            timeout=self.timeout,
        )


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """One entry of `slack_configs` and the like: checked keys, those of `global` filled in."""

    kind: ServiceKind
    send_resolved: bool
    options: Mapping[str, Any]  # may hold secrets: never logged

    def __repr__(self) -> str:
        return f"ServiceConfig({self.kind.name})"


class Receiver(Section):
    """`services` are the entries of all `…_configs` but webhooks and apprise's, in the order of the file."""

    name: str = Field(min_length=1)
    webhook_configs: tuple[WebhookConfig, ...] = ()
    apprise_configs: tuple[AppriseConfig, ...] = ()
    incidentio_configs: tuple[IncidentioConfig, ...] = ()
    services: tuple[InstanceOf[ServiceConfig], ...] = Field(default=(), exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _gather_services(cls, data: Any, info: ValidationInfo) -> Any:
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
                services += _services(KINDS[name], value, info.context)
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
        incidentio = tuple(
            one if one.http_config is not None else one.model_copy(update={"http_config": http_config})
            for one in self.incidentio_configs
        )
        services = tuple(
            ServiceConfig(one.kind, one.send_resolved, one.kind.filled(one.options, options)) for one in self.services
        )
        changed = {"webhook_configs": webhooks, "incidentio_configs": incidentio, "services": services}
        return self.model_copy(update=changed)

    def templates(self) -> Iterator[tuple[str, str]]:
        """Every text that may be a template, with where it stands."""
        for webhook in self.webhook_configs:
            yield "webhook_configs: url", webhook.url or ""
        for one in self.apprise_configs:
            yield "apprise_configs: title", one.title
            yield "apprise_configs: text", one.text
        for service in self.services:
            for key, text in service.kind.templates(service.options):
                yield f"{service.kind.name}_configs: {key}", text


def _services(kind: ServiceKind, entries: object, context: Any) -> list[ServiceConfig]:
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
        checked = kind.checked(options)
        if kind.name == "webex":
            checked["http_config"] = _login(checked.get("http_config"), context)
        found.append(ServiceConfig(kind, send_resolved, checked))
    return found


def _login(raw: object, context: Any) -> HttpConfig:
    """Webex has its token in `http_config`; whatever else is in there would be ignored."""
    if not isinstance(raw, dict) or raw.keys() != {"authorization"}:
        raise ValueError("webex_configs: http_config has authorization, and here nothing else")
    try:
        return HttpConfig.model_validate(raw, context=context)
    except ValidationError as error:
        raise ValueError(f"webex_configs: {worded(error.errors(include_input=False)[0])}") from None
