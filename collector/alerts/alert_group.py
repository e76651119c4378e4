"""
Alerts that are told together: waits, tells every integration of its receiver, repeats, and ends when all is resolved.

Each integration is told in a task of its own, so that one that is down does not hold up the others. A group that has
nothing to say holds a timer and no task, so that thousands of groups are cheap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import stamina
from prometheus_client import Counter, Histogram

from collector.alerts.integration import Integration, RefusedError
from collector.alerts.journal import LogKey
from collector.alerts.notification import Notification, Notified, needs_notification
from collector.alerts.routing import RouteNode
from collector.errors import TemporaryError
from collector.model.alert import Alert
from collector.model.series import Labels

logger = logging.getLogger(__name__)

# Alertmanager's own names (notify/notify.go, NewMetrics).
NOTIFICATIONS = Counter("alertmanager_notifications", "Attempted notifications.", ["integration"])
NOTIFICATIONS_FAILED = Counter("alertmanager_notifications_failed", "Failed ones.", ["integration", "reason"])
LATENCY = Histogram(
    "alertmanager_notification_latency_seconds", "Of notifications.", ["integration"], buckets=(1, 5, 10, 15, 20)
)
STOP_WITHIN_S = 2.0  # what is under way to a receiver may end, so that it is not told twice; of the 5 s of a stop


@dataclass(frozen=True, slots=True)
class Patience:
    """How an integration that fails is tried again. The wait doubles each time, with jitter."""

    first_s: float = 0.1  # a worker that restarts is back in a second or two
    longest_s: float = 5.0  # so that a receiver that comes back hears within seconds
    refused_s: float = 30.0  # before what was refused for good (4xx) is offered again unchanged


class GroupOwner(Protocol):
    """What a group needs of the dispatcher."""

    def now_ms(self) -> int: ...
    def alert(self, labels: Labels) -> Alert | None: ...
    def is_muted(self, labels: Labels, node: RouteNode, now_ms: int) -> bool: ...
    def told(self, key: LogKey) -> Notified | None: ...
    async def record(self, key: LogKey, entry: Notified) -> None: ...
    def release(self, group: AlertGroup, labels: Labels) -> None: ...
    def dissolve(self, group: AlertGroup) -> None: ...


class AlertGroup:
    """`add` starts it. Must be made and used in the event loop."""

    __slots__ = (
        "_external_url", "_flushed", "_next_at", "_owner", "_patience", "_refused", "_tasks", "_timer",
        "_under_way", "integrations", "key", "labels", "members", "node",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        node: RouteNode,
        labels: Labels,
        integrations: Sequence[Integration],
        owner: GroupOwner,
        *,
        external_url: str,
        patience: Patience,
    ) -> None:
        self.key = key
        self.node = node
        self.labels = labels
        self.integrations = integrations
        self.members: set[Labels] = set()
        self._owner = owner
        self._external_url = external_url
        self._patience = patience
        self._flushed = False
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0  # by the loop's clock
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by integration
        self._under_way: set[asyncio.Task[None]] = set()  # notifications on their way at this moment
        self._refused: dict[str, tuple[Notified, int]] = {}  # by integration: what was refused, until when it rests

    def add(self, alert: Alert) -> None:
        """Take an alert in, and plan when to tell of it; the first one starts the group."""
        self.members.add(alert.labels)
        now_ms = self._owner.now_ms()
        if self._timer is None:
            self._wake_in(self.node.group_wait_ms)
        if not self._flushed and alert.starts_at_ms + self.node.group_wait_ms < now_ms:
            self._wake_in(0)
        elif self._flushed and self.node.resolve_wait_ms is not None and alert.resolved_at(now_ms):
            self._wake_in(self.node.resolve_wait_ms)

    def _wake_in(self, wait_ms: int) -> None:
        """At that time, or before if that is planned already."""
        loop = asyncio.get_running_loop()
        at = loop.time() + wait_ms / 1000
        if self._timer is not None:
            if self._next_at <= at:
                return
            self._timer.cancel()
        self._next_at = at
        self._timer = loop.call_at(at, self._wake)

    async def stop(self) -> None:
        """Nothing is begun any more; what is under way may end."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=STOP_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _wake(self) -> None:
        self._timer = None
        self._drop_done()
        if not self.members and not self._tasks:
            self._owner.dissolve(self)
            return
        self._flushed = True
        self._wake_in(self.node.group_interval_ms)
        for integration in self.integrations:
            if integration.name not in self._tasks:
                task = asyncio.create_task(self._tell(integration), name=f"notify {integration.name}")
                self._tasks[integration.name] = task

    def _drop_done(self) -> None:
        if self._tasks:  # somebody has still to hear of it
            return
        now_ms = self._owner.now_ms()
        for labels in list(self.members):
            if self._is_done(labels, self._owner.alert(labels), now_ms):
                self.members.discard(labels)
                self._owner.release(self, labels)

    def _is_done(self, labels: Labels, alert: Alert | None, now_ms: int) -> bool:
        """Resolved, and no integration still believes that it fires; one that resolved while muted is never told."""
        if alert is None:
            return True
        if not alert.resolved_at(now_ms):
            return False
        if self._flushed and self._owner.is_muted(labels, self.node, now_ms):
            return True
        entries = (self._owner.told((self.key, integration.name)) for integration in self.integrations)
        return not any(entry is not None and alert.fingerprint in entry.firing for entry in entries)

    async def _tell(self, integration: Integration) -> None:
        """
        Tell one integration what it does not know. Tries until it is told, refuses, or nothing is left to tell.

        What is told is worked out anew for each attempt, so that the first one to succeed tells the truth of its time.
        """
        try:
            async for attempt in stamina.retry_context(
                on=TemporaryError,
                attempts=None,
                timeout=None,
                wait_initial=self._patience.first_s,
                wait_max=self._patience.longest_s,
                wait_jitter=self._patience.first_s,
            ):
                with attempt:
                    async with integration.slots:
                        await self._try_to_tell(integration)
        except Exception:  # a fault of ours must not silence the group
            logger.exception("telling %s of group %s failed", integration.name, self.key)
        finally:
            self._tasks.pop(integration.name, None)

    async def _try_to_tell(self, integration: Integration) -> None:
        now_ms = self._owner.now_ms()
        alerts = [
            alert
            for labels in self.members
            if (alert := self._owner.alert(labels)) is not None and not self._owner.is_muted(labels, self.node, now_ms)
        ]
        news = Notified.of(alerts, now_ms)
        if not alerts or not needs_notification(
            self._owner.told((self.key, integration.name)),
            news,
            repeat_interval_ms=self.node.repeat_interval_ms,
            send_resolved=integration.send_resolved,
        ):
            return
        if self._rests(integration, news):
            return
        shown = alerts if integration.send_resolved else [one for one in alerts if not one.resolved_at(now_ms)]
        sending = asyncio.create_task(self._send(integration, shown, news), name=f"notify {integration.name}")
        self._under_way.add(sending)
        sending.add_done_callback(self._under_way.discard)
        await asyncio.shield(sending)  # `stop` lets it end, so that it is told once and known to be told

    async def _send(self, integration: Integration, alerts: Sequence[Alert], news: Notified) -> None:
        try:
            if alerts:
                await self._deliver(integration, alerts, news)
            await self._owner.record((self.key, integration.name), news)
        except RefusedError as error:
            logger.error("notification of group %s is given up: %s", self.key, error)
            self._refused[integration.name] = (news, news.at_ms + round(self._patience.refused_s * 1000))

    def _rests(self, integration: Integration, news: Notified) -> bool:
        refused = self._refused.get(integration.name)
        if refused is None:
            return False
        what, until_ms = refused
        return (what.firing, what.resolved) == (news.firing, news.resolved) and news.at_ms < until_ms

    async def _deliver(self, integration: Integration, alerts: Sequence[Alert], news: Notified) -> None:
        notification = Notification(
            alerts=alerts,
            receiver=self.node.receiver,
            group_labels=self.labels,
            group_key=self.key,
            external_url=self._external_url,
            now_ms=news.at_ms,
        )
        NOTIFICATIONS.labels(integration.kind).inc()
        try:
            with LATENCY.labels(integration.kind).time():
                await integration.deliver(notification)
        except TemporaryError as error:
            NOTIFICATIONS_FAILED.labels(integration.kind, "serverError").inc()
            logger.warning("notification of group %s failed and is tried again: %s", self.key, error)
            raise
        except RefusedError:
            NOTIFICATIONS_FAILED.labels(integration.kind, "clientError").inc()
            raise
        self._refused.pop(integration.name, None)
