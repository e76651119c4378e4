"""
Alertmanager's configuration file. What is not built is refused by name, never left aside.

Its parts are in route_config, global_config and receiver_config. Source: alertmanager/config/config.go.
"""

from __future__ import annotations

import logging
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
    model_validator,
)

from collector.alerts.global_config import Global
from collector.alerts.http_config import HttpConfig
from collector.alerts.notification_template import NotificationTemplates
from collector.alerts.receiver_config import Receiver
from collector.alerts.route_config import InhibitRule, Route
from collector.alerts.section import Section, worded
from collector.alerts.time_interval import TimeInterval, parse_interval
from collector.errors import ConfigError
from collector.gotemplate.tree import TemplateError

MAX_CONFIG_BYTES = 4 * 1024 * 1024  # a hundred times the longest seen

logger = logging.getLogger(__name__)


def _interval(value: object) -> object:
    return value if isinstance(value, TimeInterval) else parse_interval(value)


class NamedIntervals(Section):
    name: str = Field(min_length=1)
    time_intervals: tuple[Annotated[InstanceOf[TimeInterval], BeforeValidator(_interval)], ...] = ()


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
