"""`global` of Alertmanager's configuration file. Source: alertmanager/config/config.go (GlobalConfig)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from collector.alerts.http_config import HttpConfig
from collector.alerts.section import DurationMs, Section

DEFAULT_RESOLVE_TIMEOUT_MS = 5 * 60_000  # config.go, DefaultGlobalConfig


class Global(Section):
    """The defaults of receivers. What only receivers that are not built would use is accepted and unused."""

    unbuilt: ClassVar[frozenset[str]] = frozenset(
        {"smtp_auth_secret", "smtp_auth_secret_file", "smtp_force_implicit_tls"}
    )

    resolve_timeout: DurationMs = DEFAULT_RESOLVE_TIMEOUT_MS
    http_config: HttpConfig = HttpConfig()
    smtp_from: str | None = None
    smtp_hello: str | None = None
    smtp_smarthost: str | None = None
    smtp_auth_username: str | None = None
    smtp_auth_password: str | None = Field(default=None, repr=False)
    smtp_auth_password_file: str | None = None
    smtp_auth_identity: str | None = None
    smtp_require_tls: bool = True
    smtp_tls_config: dict[str, Any] | None = None
    slack_api_url: str | None = Field(default=None, repr=False)
    slack_api_url_file: str | None = None
    pagerduty_url: str | None = None
    opsgenie_api_url: str | None = None
    opsgenie_api_key: str | None = Field(default=None, repr=False)
    opsgenie_api_key_file: str | None = None
    victorops_api_url: str | None = None
    victorops_api_key: str | None = Field(default=None, repr=False)
    victorops_api_key_file: str | None = None
    wechat_api_url: str | None = None
    wechat_api_secret: str | None = Field(default=None, repr=False)
    wechat_api_corp_id: str | None = None
    telegram_api_url: str | None = None
    webex_api_url: str | None = None
    rocketchat_api_url: str | None = None
    rocketchat_token: str | None = Field(default=None, repr=False)
    rocketchat_token_file: str | None = None
    rocketchat_token_id: str | None = Field(default=None, repr=False)
    rocketchat_token_id_file: str | None = None
    jira_api_url: str | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Global:
        for name in ("smtp_auth_password", "slack_api_url", "opsgenie_api_key", "victorops_api_key"):
            if getattr(self, name) and getattr(self, f"{name}_file"):
                raise ValueError(f"at most one of {name} & {name}_file must be configured")
        if self.smtp_smarthost and not self.smtp_smarthost.rpartition(":")[2]:
            raise ValueError(f"address {self.smtp_smarthost!r}: port cannot be empty")
        if self.smtp_smarthost and ":" not in self.smtp_smarthost:
            raise ValueError(f"address {self.smtp_smarthost}: missing port in address")
        return self
