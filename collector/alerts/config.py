"""
Alertmanager's configuration, as far as it is built. What is not built is refused by name, never left aside.

Source: alertmanager/config/config.go.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from collector.errors import ConfigError
from collector.model.duration import parse_duration_ms
from collector.model.series import Matcher, MatchOp

# config.go, DefaultRoute and DefaultRouteOpts.
DEFAULT_GROUP_WAIT_MS = 30_000
DEFAULT_GROUP_INTERVAL_MS = 5 * 60_000
DEFAULT_REPEAT_INTERVAL_MS = 4 * 3_600_000
DEFAULT_TIMEOUT_MS = 10_000  # of one notification; Alertmanager leaves it to the group's interval, 10 s at least
GROUP_BY_ALL = "..."

_OPERATORS = {"=": MatchOp.EQUAL, "!=": MatchOp.NOT_EQUAL, "=~": MatchOp.REGEX, "!~": MatchOp.NOT_REGEX}
_MATCHER = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.S)
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"', re.S)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _duration(value: object) -> object:
    return parse_duration_ms(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else value


DurationMs = Annotated[int, BeforeValidator(_duration)]


def parse_matcher(text: str) -> Matcher:
    """
    A matcher as Alertmanager writes it, e.g. `severity="critical"` or `team=~payments|cart`.

    Raises:
        ValueError: its form or its regular expression is wrong.
    """
    match = _MATCHER.fullmatch(text)
    if match is None:
        raise ValueError(f"bad matcher format: {text}")
    name, operator, value = match.groups()
    if quoted := _QUOTED.fullmatch(value):
        value = re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], quoted[1], flags=re.S)
    elif '"' in value:
        raise ValueError(f"matcher value contains unescaped double quote: {value}")
    matcher = Matcher(name, _OPERATORS[operator], value)
    if matcher.op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"bad matcher {text}: {error}") from error
    return matcher


def _matcher(value: object) -> object:
    return parse_matcher(value) if isinstance(value, str) else value


class _Section(BaseModel):
    """A part of the configuration that tells keys not built from keys unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    unbuilt: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _keys_are_built(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key in cls.unbuilt:
                    raise ValueError(f"{key!r} is a key of Alertmanager that is not built yet")
                if key not in cls.model_fields:
                    raise ValueError(f"field {key!r} is not known")
        return data


class Authorization(_Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset({"credentials"})

    type: str = "Bearer"
    credentials_file: Path  # read for each notification, so that a changed token is taken at once


class HttpConfig(_Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset(
        {"basic_auth", "bearer_token", "bearer_token_file", "oauth2", "tls_config", "proxy_url", "no_proxy"}
        | {"proxy_from_environment", "proxy_connect_header", "follow_redirects", "enable_http2", "http_headers"}
    )

    authorization: Authorization | None = None


class WebhookConfig(_Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset({"url_file", "payload"})

    url: str
    send_resolved: bool = True
    http_config: HttpConfig = HttpConfig()
    max_alerts: int = Field(default=0, ge=0)  # alerts in one notification; 0: all
    timeout: DurationMs = DEFAULT_TIMEOUT_MS

    @field_validator("url")
    @classmethod
    def _url_is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("unsupported URL: scheme http or https and a host are needed")
        return url


_OTHER_KINDS = (
    "discord email incidentio jira mattermost msteams msteamsv2 opsgenie pagerduty "
    "pushover rocketchat slack sns telegram victorops webex wechat"
)


class Receiver(_Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset(f"{kind}_configs" for kind in re.split(" ", _OTHER_KINDS))

    name: str = Field(min_length=1)
    webhook_configs: tuple[WebhookConfig, ...] = ()


class Route(_Section):
    """One node of the routing tree; None: as the parent."""

    unbuilt: ClassVar[frozenset[str]] = frozenset({"match", "match_re", "mute_time_intervals", "active_time_intervals"})

    receiver: str | None = None
    group_by: tuple[str, ...] | None = None
    group_wait: DurationMs | None = None
    group_interval: DurationMs | None = None
    repeat_interval: DurationMs | None = None
    matchers: tuple[Annotated[Matcher, BeforeValidator(_matcher)], ...] = ()
    continue_: bool = Field(default=False, alias="continue")
    routes: tuple[Route, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _keys_are_built(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in data:
                if key in cls.unbuilt:
                    hint = "; write it as `matchers`" if key.startswith("match") else ""
                    raise ValueError(f"{key!r} is a key of Alertmanager that is not built yet{hint}")
                if key not in known:
                    raise ValueError(f"field {key!r} is not known")
        return data

    @field_validator("group_by")
    @classmethod
    def _labels_are_names(cls, group_by: tuple[str, ...] | None) -> tuple[str, ...] | None:
        names = group_by or ()
        if GROUP_BY_ALL in names and len(names) > 1:
            raise ValueError("cannot have wildcard group_by (`...`) and other labels at the same time")
        for name in names:
            if name != GROUP_BY_ALL and not _LABEL_NAME.fullmatch(name):
                raise ValueError(f"invalid label name {name!r} in group_by list")
        if len(set(names)) < len(names):
            raise ValueError(f"duplicated label in group_by list: {', '.join(names)}")
        return group_by

    @field_validator("group_interval", "repeat_interval")
    @classmethod
    def _not_zero(cls, duration_ms: int | None) -> int | None:
        if duration_ms == 0:
            raise ValueError("cannot be zero")
        return duration_ms


class AlertmanagerConfig(_Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset(
        {"global", "inhibit_rules", "mute_time_intervals", "time_intervals", "templates", "tracing"}
    )

    route: Route
    receivers: tuple[Receiver, ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> AlertmanagerConfig:
        names = [receiver.name for receiver in self.receivers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"notification config name {name!r} is not unique")
        if not self.route.receiver:
            raise ValueError("root route must specify a default receiver")
        if self.route.matchers:
            raise ValueError("root route must not have any matchers")
        if self.route.continue_:
            raise ValueError("cannot have continue in root route")
        self._check_receivers(self.route, set(names))
        return self

    def _check_receivers(self, route: Route, names: set[str]) -> None:
        if route.receiver is not None and route.receiver not in names:
            raise ValueError(f"undefined receiver {route.receiver!r} used in route")
        for child in route.routes:
            self._check_receivers(child, names)


def load_config(data: object, *, source: str = "alertmanager") -> AlertmanagerConfig:
    """
    Check a configuration that YAML has been read from already.

    Args:
        source: What errors call it, e.g. a file name.

    Raises:
        ConfigError: names the key and what is wrong with it, every one.
    """
    try:
        return AlertmanagerConfig.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise ConfigError("\n".join(f"{source}: {_worded(problem)}" for problem in problems)) from None


def _worded(problem: ErrorDetails) -> str:
    where = ".".join(map(str, problem["loc"])) or "configuration"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
