"""
Alertmanager's configuration file. What is not built is refused by name, never left aside.

Our own keys: `resolve_wait` in a route, `apprise_configs` in a receiver. Source: alertmanager/config/config.go.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from collector.alerts.http_config import HttpConfig
from collector.alerts.matchers import MatcherError, new_matcher, parse_matchers
from collector.alerts.notification_template import NotificationTemplates
from collector.alerts.receiver_config import Receiver
from collector.alerts.section import DurationMs, Section, worded
from collector.alerts.time_interval import TimeInterval, parse_interval
from collector.errors import ConfigError
from collector.gotemplate.tree import TemplateError
from collector.model.series import Matcher, MatchOp

# config.go, DefaultRoute, DefaultRouteOpts and DefaultGlobalConfig.
DEFAULT_GROUP_WAIT_MS = 30_000
DEFAULT_GROUP_INTERVAL_MS = 5 * 60_000
DEFAULT_REPEAT_INTERVAL_MS = 4 * 3_600_000
DEFAULT_RESOLVE_TIMEOUT_MS = 5 * 60_000
GROUP_BY_ALL = "..."
MAX_CONFIG_BYTES = 4 * 1024 * 1024  # a hundred times the longest seen

logger = logging.getLogger(__name__)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


def _matchers(value: object) -> tuple[Matcher, ...]:
    """Each line is a list of matchers itself; `matchers: 'a=b'` without a list is not taken, as in Alertmanager."""
    if not isinstance(value, list):
        raise ValueError("matchers is a list, e.g. ['severity=\"critical\"']")
    return tuple(matcher for line in value for matcher in parse_matchers(_text(line, "a matcher")))


def _equal_matchers(value: object) -> tuple[Matcher, ...]:
    return tuple(_pairs(value, MatchOp.EQUAL))


def _regex_matchers(value: object) -> tuple[Matcher, ...]:
    """Their group keys show the anchors, as Alertmanager's do."""
    return tuple(one._replace(value=f"^(?:{one.value})$") for one in _pairs(value, MatchOp.REGEX))


def _pairs(value: object, op: MatchOp) -> Iterable[Matcher]:
    if not isinstance(value, dict):
        raise ValueError("a mapping of label names to values is needed")
    for name, text in value.items():
        if not _LABEL_NAME.fullmatch(str(name)):
            raise ValueError(f"invalid label name {name!r}")
        try:
            yield new_matcher(str(name), op, _text(text, f"the value of {name}"))
        except MatcherError as error:
            raise ValueError(f"{name}: {error}") from error


def _text(value: object, what: str) -> str:
    """YAML's numbers and booleans count as they are written, as in Go."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{what} is text, not {value!r}")


Matchers = Annotated[tuple[Matcher, ...], BeforeValidator(_matchers)]
EqualMatchers = Annotated[tuple[Matcher, ...], BeforeValidator(_equal_matchers)]
RegexMatchers = Annotated[tuple[Matcher, ...], BeforeValidator(_regex_matchers)]


class Route(Section):
    """One node of the routing tree; None: as the parent."""

    receiver: str | None = None
    group_by: tuple[str, ...] | None = None
    group_wait: DurationMs | None = None
    group_interval: DurationMs | None = None
    repeat_interval: DurationMs | None = None
    resolve_wait: DurationMs | None = None  # ours: how soon a resolved alert is told; None: with the group_interval
    match: EqualMatchers = ()
    match_re: RegexMatchers = ()
    matchers: Matchers = ()
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    continue_: bool = Field(default=False, alias="continue")
    routes: tuple[Route, ...] = ()

    @property
    def all_matchers(self) -> tuple[Matcher, ...]:
        return (*self.match, *self.match_re, *self.matchers)

    @field_validator("group_by")
    @classmethod
    def _labels_are_names(cls, group_by: tuple[str, ...] | None) -> tuple[str, ...] | None:
        names = group_by or ()
        if GROUP_BY_ALL in names and len(set(names)) > 1:
            raise ValueError("cannot have wildcard group_by (`...`) and other labels at the same time")
        for name in names:
            if not name:
                raise ValueError(f"invalid label name {name!r} in group_by list")
        if GROUP_BY_ALL not in names and len(set(names)) < len(names):
            raise ValueError(f"duplicated label in group_by list: {', '.join(names)}")
        return group_by

    @field_validator("group_interval", "repeat_interval")
    @classmethod
    def _not_zero(cls, duration_ms: int | None) -> int | None:
        if duration_ms == 0:
            raise ValueError("cannot be zero")
        return duration_ms

    def walk(self) -> Iterable[Route]:
        yield self
        for child in self.routes:
            yield from child.walk()


class InhibitRule(Section):
    name: str = ""
    source_match: EqualMatchers = ()
    source_match_re: RegexMatchers = ()
    source_matchers: Matchers = ()
    target_match: EqualMatchers = ()
    target_match_re: RegexMatchers = ()
    target_matchers: Matchers = ()
    equal: tuple[str, ...] = ()

    @field_validator("equal")
    @classmethod
    def _labels_are_names(cls, equal: tuple[str, ...]) -> tuple[str, ...]:
        if "" in equal:
            raise ValueError("invalid label name '' in equal list")
        return equal

    @property
    def source(self) -> tuple[Matcher, ...]:
        return (*self.source_match, *self.source_match_re, *self.source_matchers)

    @property
    def target(self) -> tuple[Matcher, ...]:
        return (*self.target_match, *self.target_match_re, *self.target_matchers)


def _interval(value: object) -> object:
    return value if isinstance(value, TimeInterval) else parse_interval(value)


class NamedIntervals(Section):
    name: str = Field(min_length=1)
    time_intervals: tuple[Annotated[InstanceOf[TimeInterval], BeforeValidator(_interval)], ...] = ()


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


class AlertmanagerConfig(Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset({"tracing"})

    global_: Global = Field(default=Global(), alias="global")
    templates: tuple[str, ...] = ()
    route: Route
    inhibit_rules: tuple[InhibitRule, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    mute_time_intervals: tuple[NamedIntervals, ...] = ()
    time_intervals: tuple[NamedIntervals, ...] = ()
    _original: dict[str, Any] = PrivateAttr(default_factory=dict)  # as YAML gave it, secrets and all
    _notification_templates: NotificationTemplates = PrivateAttr(default_factory=NotificationTemplates)

    @property
    def intervals(self) -> dict[str, tuple[TimeInterval, ...]]:
        return {named.name: named.time_intervals for named in (*self.mute_time_intervals, *self.time_intervals)}

    @property
    def original(self) -> dict[str, Any]:
        return self._original

    @property
    def notification_templates(self) -> NotificationTemplates:
        return self._notification_templates

    def completed(self, data: dict[str, Any], templates: NotificationTemplates) -> AlertmanagerConfig:
        """
        With what it was read from, and the content of its template files.

        Raises:
            ConfigError: a text of a receiver cannot be expanded; every one.
        """
        problems = []
        for receiver in self.receivers:
            for where, text in receiver.templates():
                try:
                    templates.check(text)
                except TemplateError as error:
                    problems.append(f"receiver {receiver.name}: {where}: {error}")
        if problems:
            raise ConfigError("\n".join(problems))
        self._original, self._notification_templates = data, templates
        return self

    def receiver(self, name: str) -> Receiver:
        """With what `global` gives it."""
        found = next(one for one in self.receivers if one.name == name)
        return found.with_global(self.global_.model_dump(), self.global_.http_config)

    @model_validator(mode="after")
    def _is_consistent(self) -> AlertmanagerConfig:
        names = [receiver.name for receiver in self.receivers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"notification config name {name!r} is not unique")
            if self.receiver(name).services and self.global_.http_config != HttpConfig():  # what it needs is there
                logger.warning("receiver %s: global.http_config is without effect for what is no webhook", name)
        root = self.route
        if not root.receiver:
            raise ValueError("root route must specify a default receiver")
        if root.all_matchers:
            raise ValueError("root route must not have any matchers")
        if root.continue_:
            raise ValueError("cannot have continue in root route")
        for kind in ("mute", "active"):
            if getattr(root, f"{kind}_time_intervals"):
                raise ValueError(f"root route must not have any {kind} time intervals")
        self._check_names(set(names))
        return self

    def _check_names(self, receivers: set[str]) -> None:
        intervals = [named.name for named in (*self.mute_time_intervals, *self.time_intervals)]
        for name in intervals:
            if intervals.count(name) > 1:
                raise ValueError(f"time interval {name!r} is not unique")
        for route in self.route.walk():
            if route.receiver is not None and route.receiver not in receivers:
                raise ValueError(f"undefined receiver {route.receiver!r} used in route")
            for name in (*route.mute_time_intervals, *route.active_time_intervals):
                if name not in intervals:
                    raise ValueError(f"undefined time interval {name!r} used in route")


def load_config(data: object, *, source: str = "alertmanager", directory: Path | None = None) -> AlertmanagerConfig:
    """
    Check a configuration that YAML has been read from already.

    Args:
        source: What errors call it, e.g. a file name.
        directory: What relative file names in it are relative to; None: the working folder.

    Raises:
        ConfigError: names the key and what is wrong with it, every one.
    """
    if not isinstance(data, dict) or data.get("route") is None:
        raise ConfigError(f"{source}: configuration: no route provided in config")
    try:
        config = AlertmanagerConfig.model_validate(data, context={"directory": directory})
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise ConfigError("\n".join(f"{source}: {worded(problem)}" for problem in problems)) from None
    try:
        return config.completed(data, NotificationTemplates.load(config.templates, directory))
    except ConfigError as error:
        raise ConfigError("\n".join(f"{source}: {line}" for line in str(error).splitlines())) from None


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """An `alertmanager.yml` that can be read again."""

    path: Path

    def load(self) -> AlertmanagerConfig:
        """
        Raises:
            ConfigError: names the file, the key and what is wrong.
        """
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_CONFIG_BYTES + 1)
            if len(text) > MAX_CONFIG_BYTES:
                raise ConfigError(f"{self.path}: larger than the limit of {MAX_CONFIG_BYTES} bytes")
            data = yaml.load(text.decode(), Loader=UniqueKeyLoader)  # noqa: S506  (a safe loader)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: {error}") from error
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise ConfigError(f"{self.path}: not YAML: {error}") from error
        return load_config(data, source=str(self.path), directory=self.path.resolve().parent)


class UniqueKeyLoader(yaml.SafeLoader):
    """As Go's strict decoding: a key that is given twice is an error, not the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is already set in map", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)
