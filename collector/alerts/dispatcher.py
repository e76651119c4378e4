"""
Takes alerts, groups them by route, and keeps every receiver told, across restarts of either side.

What it took and what it told is on disk: an alert that a receiver was told is firing is told as resolved, too, whatever
dies in between. Source: alertmanager/dispatch/dispatch.go, notify/notify.go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import httpx

from collector.alerts.alert_group import AlertGroup, Patience
from collector.alerts.config import AlertmanagerConfig
from collector.alerts.memory import LogKey, read_memory
from collector.alerts.notification import Notified, merge
from collector.alerts.routing import RouteNode, route_tree
from collector.alerts.webhook import Webhook
from collector.errors import TemporaryError
from collector.model.alert import Alert
from collector.model.series import Labels
from collector.storage.durable_file import replace_file

logger = logging.getLogger(__name__)

LOG_RETENTION_MS = 120 * 3600 * 1000  # Alertmanager, --data.retention
# After a start, how long a firing alert is believed although nobody repeats it: the rules need up to 15 s of their own
# to restore, and time to send.
RESTART_GRACE_MS = 60_000


class Dispatcher:
    """
    Args:
        state_path: A file that this dispatcher owns; read at once.
        external_url: Under which receivers reach this system, without a slash at the end.
    """

    def __init__(
        self,
        config: AlertmanagerConfig,
        *,
        state_path: Path,
        external_url: str,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._tree = route_tree(config.route)
        self._state_path = state_path
        self._external_url = external_url.rstrip("/")
        self._patience = patience or Patience()
        self._clock = clock
        self._memory = read_memory(state_path)
        self._groups: dict[str, AlertGroup] = {}
        self._running = False
        self._version = 0  # of the memory
        self._written = 0
        self._writing = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None
        self._forget_old()

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    @property
    def alerts(self) -> list[Alert]:
        """All alerts that are firing, or resolved and not told everywhere yet."""
        return list(self._memory.alerts.values())

    def _forget_old(self) -> None:
        now_ms = self.now_ms()
        log = self._memory.notified
        self._memory.notified = {key: entry for key, entry in log.items() if now_ms - entry.at_ms < LOG_RETENTION_MS}
        for labels, alert in self._memory.alerts.items():
            if not alert.resolved_at(self._memory.saved_at_ms):
                ends_at_ms = max(alert.ends_at_ms, now_ms + RESTART_GRACE_MS)
                self._memory.alerts[labels] = replace(alert, ends_at_ms=ends_at_ms)

    async def run(self) -> None:
        """Deliver until cancelled. May be run again after it ended."""
        async with httpx.AsyncClient(headers={"User-Agent": "steersman"}, trust_env=False) as client:
            self._client = client
            self._running = True
            try:
                for alert in self.alerts:
                    self._route(alert)
                await asyncio.Event().wait()
            finally:
                self._running = False
                await asyncio.gather(*(group.stop() for group in self._groups.values()))
                self._groups.clear()

    async def accept(self, alerts: Sequence[Alert]) -> None:
        """
        Take alerts, firing or resolved; those of labels already known update them.

        They are on disk when this returns.

        Raises:
            TemporaryError: they could not be written; they are delivered nevertheless, but a restart forgets them.
        """
        now_ms = self.now_ms()
        for alert in alerts:
            known = self._memory.alerts.get(alert.labels)
            if known is None and alert.resolved_at(now_ms):
                continue  # nobody was told that it fires
            merged = alert if known is None else merge(known, alert)
            if merged != known:
                self._memory.alerts[alert.labels] = merged
                self._version += 1
            self._route(merged)
        await self.save()

    def _route(self, alert: Alert) -> None:
        if not self._running:
            return
        for node in self._tree.match(alert.labels):
            key = node.group_key(alert.labels)
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = self._group(key, node, node.group_labels(alert.labels))
            group.add(alert)

    def _group(self, key: str, node: RouteNode, labels: Labels) -> AlertGroup:
        assert self._client is not None  # noqa: S101  (running)
        receiver = next(one for one in self._config.receivers if one.name == node.receiver)
        webhooks = [
            Webhook(f"{receiver.name}/webhook/{position}", config, self._client)
            for position, config in enumerate(receiver.webhook_configs)
        ]
        return AlertGroup(key, node, labels, webhooks, self, external_url=self._external_url, patience=self._patience)

    def alert(self, labels: Labels) -> Alert | None:
        return self._memory.alerts.get(labels)

    def told(self, key: LogKey) -> Notified | None:
        return self._memory.notified.get(key)

    async def record(self, key: LogKey, entry: Notified) -> None:
        """Write to the notification log; if the disk refuses, it is logged and kept in memory."""
        self._memory.notified[key] = entry
        self._version += 1
        try:
            await self.save()
        except TemporaryError as error:
            logger.warning("%s", error)

    def release(self, group: AlertGroup, labels: Labels) -> None:
        """A group is done with a resolved alert; it is forgotten once all groups are."""
        if not any(labels in other.members for other in self._groups.values() if other is not group):
            self._memory.alerts.pop(labels, None)
            self._version += 1

    def dissolve(self, group: AlertGroup) -> None:
        """A group without alerts ends."""
        del self._groups[group.key]
        for webhook in group.webhooks:
            if self._memory.notified.pop((group.key, webhook.integration), None) is not None:
                self._version += 1

    async def save(self) -> None:
        """
        Bring the file up to date; on disk when this returns. Callers at the same time share one write.

        Raises:
            TemporaryError: the disk refused.
        """
        wanted = self._version
        async with self._writing:
            if self._written >= wanted:
                return
            version, content = self._version, self._memory.encode(self.now_ms())
            try:
                await asyncio.to_thread(replace_file, self._state_path, content)
            except OSError as error:
                raise TemporaryError(f"dispatcher state {self._state_path} was not written: {error}") from error
            self._written = version
