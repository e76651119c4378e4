"""
Takes alerts, groups them by route, and keeps every receiver told, across restarts of either side.

What it took and what it told is on disk: an alert that a receiver was told is firing is told as resolved, too, whatever
dies in between. Source: alertmanager/dispatch/dispatch.go, notify/notify.go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from collector.alerts.alert_group import AlertGroup, Patience
from collector.alerts.config import AlertmanagerConfig
from collector.alerts.integrations import Integrations
from collector.alerts.journal import Changes, Journal, LogKey
from collector.alerts.muting import Muting
from collector.alerts.notification import Notified
from collector.alerts.routing import RouteNode, route_tree
from collector.alerts.silence import Silence
from collector.alerts.silences import Silences
from collector.alerts.taken import Taken, joined
from collector.errors import LimitExceededError, TemporaryError
from collector.model.alert import Alert
from collector.model.series import Labels

logger = logging.getLogger(__name__)

LOG_RETENTION_MS = 120 * 3600 * 1000  # Alertmanager, --data.retention
# After a start, how long a firing alert is believed although nobody repeats it: the rules need up to 15 s of their own
# to restore, and time to send.
RESTART_GRACE_MS = 60_000
# Alertmanager sets none. An alert with its group takes some 3 KB here, so this many stay below 100 MB; who has more
# alerts than this at once groups them in the rules.
MAX_ALERTS = 20_000
SLICE = 200  # alerts taken at one go, some milliseconds
MAINTENANCE_S = 900.0  # Alertmanager, --data.maintenance-interval


class Dispatcher:
    """
    Args:
        state_path: A file that this dispatcher owns; read at once. `close` gives it up.
        external_url: Under which receivers reach this system, without a slash at the end.
        max_alerts: Known at one time, firing or not told as resolved yet.

    Raises:
        TemporaryError: the state file can be neither read nor made.
    """

    def __init__(
        self,
        config: AlertmanagerConfig,
        *,
        state_path: Path,
        external_url: str,
        patience: Patience | None = None,
        max_alerts: int = MAX_ALERTS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.tree = route_tree(config.route)
        self.max_alerts = max_alerts
        self._external_url = external_url.rstrip("/")
        self._patience = patience or Patience()
        self._clock = clock
        self._journal, remembered = Journal.open(state_path)
        self._taken = remembered.alerts
        self._notified = remembered.notified
        self.silences = Silences(remembered.silences)
        self._groups: dict[str, AlertGroup] = {}
        self._integrations: Integrations | None = None  # while it runs
        self._changes = Changes()
        self._version = 0  # of what is to be on disk
        self._written = 0
        self._writing = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._believe_restored(remembered.saved_at_ms)
        self._forget_old()
        self.muting = Muting(config, self.silences, self.alerts)

    def close(self) -> None:
        self._journal.close()

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    @property
    def alerts(self) -> list[Alert]:
        """All alerts that are firing, or resolved and not told everywhere yet."""
        return [taken.alert for taken in self._taken.values()]

    @property
    def taken(self) -> list[Taken]:
        return list(self._taken.values())

    @property
    def groups(self) -> list[AlertGroup]:
        return list(self._groups.values())

    def _believe_restored(self, saved_at_ms: int) -> None:
        now_ms = self.now_ms()
        for labels, taken in self._taken.items():
            if not taken.alert.resolved_at(saved_at_ms):
                ends_at_ms = max(taken.alert.ends_at_ms, now_ms + RESTART_GRACE_MS)
                self._taken[labels] = replace(taken, alert=replace(taken.alert, ends_at_ms=ends_at_ms))

    def _forget_old(self) -> None:
        now_ms = self.now_ms()
        for key in [key for key, entry in self._notified.items() if now_ms - entry.at_ms >= LOG_RETENTION_MS]:
            del self._notified[key]
            self._change().notified[key] = None
        for silence_id in self.silences.collect(now_ms):
            self._change().silences[silence_id] = None

    def _change(self) -> Changes:
        self._version += 1
        return self._changes

    async def run(self) -> None:
        """Deliver until cancelled. May be run again after it ended."""
        self._integrations = Integrations(self.config)
        try:
            await self._route(self.alerts)
            while True:
                await asyncio.sleep(MAINTENANCE_S)
                self._forget_old()
                await self._save_or_log()
        finally:
            await self._stop_groups()
            await self._integrations.close()
            self._integrations = None

    async def reconfigure(self, config: AlertmanagerConfig) -> None:
        """
        Go on with another configuration: alerts, silences and the notification log stay.

        Raises:
            ConfigError: a file that it names cannot be used; the old configuration goes on.
        """
        fresh, old = Integrations(config), self._integrations
        if old is None:
            await fresh.close()
        else:
            await self._stop_groups()
            self._integrations = fresh
        self.config = config
        self.tree = route_tree(config.route)
        self.muting = Muting(config, self.silences, self.alerts)
        if old is not None:
            await self._route(self.alerts)
            await old.close()

    async def _stop_groups(self) -> None:
        groups, self._groups = self._groups, {}
        await asyncio.gather(*(group.stop() for group in groups.values()))

    async def accept(self, alerts: Sequence[Alert]) -> None:
        """
        Take alerts of which the sender says when they end; else as `take`.

        Raises:
            LimitExceededError, TemporaryError
        """
        now_ms = self.now_ms()
        await self.take([Taken(alert, now_ms) for alert in alerts])

    async def take(self, reports: Sequence[Taken]) -> None:
        """
        Take alerts, firing or resolved; those of labels already known update them.

        They are on disk when this returns.

        Raises:
            LimitExceededError: they would be too many; none is taken.
            TemporaryError: they could not be written; they are delivered nevertheless, but a restart forgets them.
        """
        async with self._taking:  # so that two storms at once cannot exceed the limit together
            await self._take(reports)
        await self.save()

    async def _take(self, reports: Sequence[Taken]) -> None:
        now_ms = self.now_ms()
        # Of one that resolved before anybody heard of it, nobody was told that it fires.
        news = [one for one in reports if one.alert.labels in self._taken or not one.alert.resolved_at(now_ms)]
        self._check_limit(news)
        taken = []
        for position, report in enumerate(news):
            if position % SLICE == SLICE - 1:
                await asyncio.sleep(0)  # others have their turn in a storm
            known = self._taken.get(report.alert.labels)
            merged = report if known is None else joined(known, report, now_ms)
            if merged != known:
                self._taken[merged.alert.labels] = merged
                self._change().alerts[merged.alert.labels] = merged
                self.muting.observe(merged.alert)
            taken.append(merged.alert)
        await self._route(taken)

    def _check_limit(self, reports: Sequence[Taken]) -> None:
        labels = {one.alert.labels for one in reports} - self._taken.keys()
        if labels and (over := len(self._taken) + len(labels) - self.max_alerts) > 0:
            raise LimitExceededError(
                f"alert limit {self.max_alerts} exceeded by {over}: {len(self._taken)} are known, "
                f"{len(labels)} new ones were sent, none was taken"
            )

    async def _route(self, alerts: Sequence[Alert]) -> None:
        """First all join their groups, then these are planned: a storm is told as a whole, not as it trickles in."""
        joined_groups: list[tuple[AlertGroup, Alert]] = []
        for position, alert in enumerate(alerts):
            if position % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            for group in self._groups_of(alert):
                group.members.add(alert.labels)
                joined_groups.append((group, alert))
        for group, alert in joined_groups:
            if self._groups.get(group.key) is group:  # not replaced by another configuration meanwhile
                group.add(alert)

    def _groups_of(self, alert: Alert) -> Iterator[AlertGroup]:
        """Those there are, and new ones that nobody has started yet."""
        if self._integrations is None:
            return
        for node in self.tree.match(alert.labels):
            key = node.group_key(alert.labels)
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = AlertGroup(
                    key,
                    node,
                    node.group_labels(alert.labels),
                    self._integrations.of(node.receiver),
                    self,
                    external_url=self._external_url,
                    patience=self._patience,
                )
            yield group

    def alert(self, labels: Labels) -> Alert | None:
        taken = self._taken.get(labels)
        return None if taken is None else taken.alert

    def is_muted(self, labels: Labels, node: RouteNode, now_ms: int) -> bool:
        return self.muting.is_muted(labels, node, now_ms)

    def told(self, key: LogKey) -> Notified | None:
        return self._notified.get(key)

    async def record(self, key: LogKey, entry: Notified) -> None:
        """Write to the notification log; if the disk refuses, it is logged and kept in memory."""
        self._notified[key] = entry
        self._change().notified[key] = entry
        await self._save_or_log()

    def release(self, group: AlertGroup, labels: Labels) -> None:
        """A group is done with a resolved alert; it is forgotten once all groups are."""
        keys = {node.group_key(labels) for node in self.tree.match(labels)} - {group.key}
        if any(key in self._groups and labels in self._groups[key].members for key in keys):
            return
        if self._taken.pop(labels, None) is not None:
            self._change().alerts[labels] = None
            self.muting.forget(labels)

    def dissolve(self, group: AlertGroup) -> None:
        """A group without alerts ends."""
        self._groups.pop(group.key, None)
        for integration in group.integrations:
            key = (group.key, integration.name)
            if self._notified.pop(key, None) is not None:
                self._change().notified[key] = None

    async def put_silence(self, silence: Silence) -> str:
        """
        Create or update a silence; it is on disk when this returns. Its id, which may be a new one.

        Raises:
            BadRequestError, SilenceNotFoundError, LimitExceededError: as `Silences.put`.
            TemporaryError: it could not be written, and is not in force.
        """
        return await self._keep_silences(self.silences.put(silence, self.now_ms()))

    async def expire_silence(self, silence_id: str) -> None:
        """As `put_silence`; the silence stays to be seen until its retention ends."""
        await self._keep_silences(self.silences.expire(silence_id, self.now_ms()))

    async def _keep_silences(self, silences: Sequence[Silence]) -> str:
        changes = Changes(silences={one.id: one for one in silences})
        await asyncio.to_thread(self._journal.write, changes, self.now_ms())
        self.silences.keep(silences)
        return silences[-1].id

    async def _save_or_log(self) -> None:
        try:
            await self.save()
        except TemporaryError as error:
            logger.warning("%s", error)

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
            version, changes = self._version, self._changes
            self._changes = Changes()
            try:
                await asyncio.to_thread(self._journal.write, changes, self.now_ms())
            except BaseException:
                self._changes = changes.under(self._changes)
                raise
            self._written = version
