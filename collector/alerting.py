"""Where alerts go when the rules have raised them: traces joined, then to the dispatcher, to Alertmanagers, or both."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from starlette.types import ASGIApp

from collector.alerts.config import ConfigFile
from collector.alerts.dispatcher import Dispatcher
from collector.alerts.push import AlertPusher, PushTarget, Relabel
from collector.alerts.push_config import AlertingConfig, PushConfig
from collector.alerts.trace_ids import Recorded, with_trace_ids
from collector.api.alertmanager import alertmanager_app
from collector.config import CollectorConfig
from collector.errors import ConfigError
from collector.model.alert import Alert
from collector.model.series import SeriesSource, labels_of
from collector.receivers.relabel import RelabelRule, relabelled
from collector.rules.manager import RuleManager
from collector.rules.rule import RecordingRule

_log = logging.getLogger(__name__)
Notify = Callable[[Sequence[Alert]], Awaitable[None]]
Background = tuple[str, Callable[[], Awaitable[None]]]


class Alerting:
    """Made by `open`; `close` gives the state file up."""

    def __init__(self, config: CollectorConfig, dispatcher: Dispatcher | None, pusher: AlertPusher | None) -> None:
        self._external_labels = dict(config.global_.external_labels)
        self._file = config.alertmanager_file
        self._relabel = _relabel(config.alerting.alert_relabel_configs)
        self.dispatcher = dispatcher
        self.pusher = pusher

    @classmethod
    def open(cls, config: CollectorConfig, data_dir: Path, *, external_url: str) -> Self:
        """
        Raises:
            ConfigError: a relabelling rule is wrong.
            TemporaryError: the dispatcher's state can be neither read nor made.
        """
        dispatcher = None
        if config.alertmanager is not None:
            state_path = data_dir / "dispatcher.sqlite"
            dispatcher = Dispatcher(config.alertmanager, state_path=state_path, external_url=external_url)
        targets = push_targets(config.alerting)
        return cls(config, dispatcher, AlertPusher(targets) if targets else None)

    def close(self) -> None:
        if self.dispatcher is not None:
            self.dispatcher.close()

    @property
    def background(self) -> list[Background]:
        """What runs until cancelled, by name."""
        found: list[Background] = []
        if self.dispatcher is not None:
            found.append(("dispatcher", self.dispatcher.run))
        if self.pusher is not None:
            found.append(("alert pusher", self.pusher.run))
        return found

    def app(self, token: str) -> ASGIApp | None:
        """Port 9093; None: no dispatcher here."""
        if self.dispatcher is None:
            return None
        return alertmanager_app(self.dispatcher, token=token, version=version("steersman"), reload=self.reload)

    async def reload(self) -> None:
        """
        Read the Alertmanager file again, if there is one, and put it in force.

        Raises:
            ConfigError: it is wrong; the old one goes on.
        """
        if self._file is not None and self.dispatcher is not None:
            await self.dispatcher.reconfigure(await asyncio.to_thread(ConfigFile(self._file).load))
            _log.info("%s is in force", self._file)

    async def reconfigure(self, config: CollectorConfig) -> None:
        """
        Follow a configuration that was loaded anew; which Alertmanagers alerts are pushed to is fixed at the start.

        Raises:
            ConfigError: it cannot be used; the old one goes on.
        """
        relabel = _relabel(config.alerting.alert_relabel_configs)
        if self.dispatcher is not None and config.alertmanager is not None:
            await self.dispatcher.reconfigure(config.alertmanager)
        self._relabel, self._file = relabel, config.alertmanager_file
        self._external_labels = dict(config.global_.external_labels)

    def notify(self, source: SeriesSource, recorded: Callable[[], Recorded]) -> Notify:
        """
        What the rules call with alerts that fire or have resolved.

        Args:
            recorded: the recording rules of this moment.
        """

        async def notify(alerts: Sequence[Alert]) -> None:
            if self.dispatcher is None and self.pusher is None:
                return  # they are evaluated and shown, and sent nowhere
            now_ms = time.time_ns() // 1_000_000
            traced = await asyncio.to_thread(with_trace_ids, source, alerts, recorded(), now_ms)
            leaving = [alert for one in traced if (alert := self._leaving(one)) is not None]
            if self.pusher is not None:
                await self.pusher.send(leaving)
            if self.dispatcher is not None and leaving:
                await self.dispatcher.accept(leaving)

        return notify

    def _leaving(self, alert: Alert) -> Alert | None:
        """External labels join an alert as it leaves; its own win (Prometheus, notifier.go, Manager.Send)."""
        pairs = self._relabel(self._external_labels | dict(alert.labels))
        return replace(alert, labels=labels_of(pairs)) if pairs else None


def recorded_by(rules: RuleManager) -> Recorded:
    """The expressions of the recording rules that are in force, by the names that they record."""
    found: dict[str, list[str]] = {}
    for group in rules.groups:
        for one in group.rules:
            if isinstance(one.rule, RecordingRule):
                found.setdefault(one.rule.name, []).append(one.rule.expr)
    return found


def push_targets(config: AlertingConfig) -> list[PushTarget]:
    """
    Raises:
        ConfigError: a relabelling rule is wrong.
    """
    return [target for entry in config.alertmanagers for target in _targets(entry)]


def _targets(entry: PushConfig) -> list[PushTarget]:
    relabel_target, relabel_alert = _relabel(entry.relabel_configs), _relabel(entry.alert_relabel_configs)
    found: dict[str, PushTarget] = {}
    for group in entry.static_configs:
        for address in group.targets:
            own = {"__address__": address, "__scheme__": entry.scheme, "__alerts_path__": entry.alerts_path}
            labels = relabel_target(dict(group.labels) | own)
            if labels and labels.get("__address__"):
                url = f"{labels['__scheme__']}://{labels['__address__']}{labels['__alerts_path__']}"
                found[url] = PushTarget(url, entry, entry.timeout, relabel_alert)
    return list(found.values())


def _relabel(raw: Sequence[Any]) -> Relabel:
    try:
        rules = [RelabelRule.model_validate(rule) for rule in raw]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        what = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"alerting: relabelling rule: {what}") from None

    def relabel(labels: Mapping[str, str]) -> Mapping[str, str] | None:
        return relabelled(labels, rules) if rules else labels

    return relabel
