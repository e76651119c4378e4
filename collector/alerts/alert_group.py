"""
Alerts that are told together: waits, tells every webhook of its receiver, repeats, and ends when all is resolved.

Each webhook has a task of its own, so that one that is down does not hold up the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import stamina
from prometheus_client import Counter

from collector.alerts.memory import LogKey
from collector.alerts.notification import Notified, needs_notification, webhook_payload
from collector.alerts.routing import RouteNode
from collector.alerts.webhook import RefusedError, Webhook
from collector.errors import TemporaryError
from collector.model.alert import Alert
from collector.model.series import Labels

logger = logging.getLogger(__name__)

# Alertmanager's own names (notify/notify.go, NewMetrics).
NOTIFICATIONS = Counter("alertmanager_notifications", "Attempted notifications.", ["integration"])
NOTIFICATIONS_FAILED = Counter("alertmanager_notifications_failed", "Failed ones.", ["integration", "reason"])


@dataclass(frozen=True, slots=True)
class Patience:
    """How a webhook that fails is tried again. The wait doubles each time, with jitter."""

    first_s: float = 0.1  # a worker that restarts is back in a second or two
    longest_s: float = 5.0  # so that a receiver that comes back hears within seconds
    refused_s: float = 30.0  # before what was refused for good (4xx) is offered again unchanged


class GroupOwner(Protocol):
    """What a group needs of the dispatcher."""

    def now_ms(self) -> int: ...
    def alert(self, labels: Labels) -> Alert | None: ...
    def told(self, key: LogKey) -> Notified | None: ...
    async def record(self, key: LogKey, entry: Notified) -> None: ...
    def release(self, group: AlertGroup, labels: Labels) -> None: ...
    def dissolve(self, group: AlertGroup) -> None: ...


class AlertGroup:
    def __init__(
        self,
        key: str,
        node: RouteNode,
        labels: Labels,
        webhooks: Sequence[Webhook],
        owner: GroupOwner,
        *,
        external_url: str,
        patience: Patience,
    ) -> None:
        self.key = key
        self.node = node
        self.labels = labels
        self.webhooks = webhooks
        self.members: set[Labels] = set()
        self._owner = owner
        self._external_url = external_url
        self._patience = patience
        self._sending = 0  # webhooks that are being told at this moment
        self._refused: dict[str, tuple[Notified, int]] = {}  # by integration: what was refused, and until when it rests
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, alert: Alert) -> None:
        """Take an alert in; the first one starts the group."""
        self.members.add(alert.labels)
        if not self._tasks:
            waited_ms = self._owner.now_ms() - alert.starts_at_ms
            wait_s = max(0, self.node.group_wait_ms - max(0, waited_ms)) / 1000
            self._tasks = [
                asyncio.create_task(self._tell_forever(webhook, wait_s), name=f"notify {webhook.integration}")
                for webhook in self.webhooks
            ] or [asyncio.create_task(self._keep_forever(), name=f"no webhooks for {self.node.receiver}")]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell_forever(self, webhook: Webhook, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        while True:
            try:
                await self._tell(webhook)
            except Exception:  # a fault of ours must not silence the group
                logger.exception("telling %s of group %s failed", webhook.integration, self.key)
            await asyncio.sleep(self.node.group_interval_ms / 1000)
            if self._is_over():
                return

    async def _keep_forever(self) -> None:
        """A receiver without webhooks swallows its alerts, which Alertmanager's users rely on."""
        while True:
            await asyncio.sleep(self.node.group_interval_ms / 1000)
            if self._is_over():
                return

    def _is_over(self) -> bool:
        """Drop what is told and done; with nothing left, end the group. Whether it has ended."""
        now_ms = self._owner.now_ms()
        if not self._sending:
            for labels in list(self.members):
                if self._is_done(self._owner.alert(labels), now_ms):
                    self.members.discard(labels)
                    self._owner.release(self, labels)
        if self.members or self._sending:
            return False
        self._owner.dissolve(self)
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        return True

    def _is_done(self, alert: Alert | None, now_ms: int) -> bool:
        """Resolved, and no webhook still believes that it fires."""
        if alert is None:
            return True
        entries = (self._owner.told((self.key, webhook.integration)) for webhook in self.webhooks)
        believed = any(entry is not None and alert.fingerprint in entry.firing for entry in entries)
        return alert.resolved_at(now_ms) and not believed

    async def _tell(self, webhook: Webhook) -> None:
        """
        Tell one webhook what it does not know. Tries until it is told, is refused, or nothing is left to tell.

        What is told is worked out anew for each attempt, so that the first one to succeed tells the truth of its time.
        """
        async for attempt in stamina.retry_context(
            on=TemporaryError,
            attempts=None,
            timeout=None,
            wait_initial=self._patience.first_s,
            wait_max=self._patience.longest_s,
            wait_jitter=self._patience.first_s,
        ):
            with attempt:
                await self._try_to_tell(webhook)

    async def _try_to_tell(self, webhook: Webhook) -> None:
        now_ms = self._owner.now_ms()
        alerts = [alert for labels in self.members if (alert := self._owner.alert(labels)) is not None]
        news = Notified.of(alerts, now_ms)
        log_key = (self.key, webhook.integration)
        repeat_interval_ms, send_resolved = self.node.repeat_interval_ms, webhook.config.send_resolved
        if not alerts or not needs_notification(
            self._owner.told(log_key), news, repeat_interval_ms=repeat_interval_ms, send_resolved=send_resolved
        ):
            return
        if self._rests(webhook, news):
            return
        shown = alerts if send_resolved else [alert for alert in alerts if not alert.resolved_at(now_ms)]
        self._sending += 1
        try:
            if shown:
                await self._deliver(webhook, shown, news)
            await self._owner.record(log_key, news)
        except RefusedError as error:
            logger.error("notification of group %s is given up: %s", self.key, error)
            self._refused[webhook.integration] = (news, now_ms + round(self._patience.refused_s * 1000))
        finally:
            self._sending -= 1

    def _rests(self, webhook: Webhook, news: Notified) -> bool:
        refused = self._refused.get(webhook.integration)
        if refused is None:
            return False
        what, until_ms = refused
        return (what.firing, what.resolved) == (news.firing, news.resolved) and news.at_ms < until_ms

    async def _deliver(self, webhook: Webhook, alerts: Sequence[Alert], news: Notified) -> None:
        payload = webhook_payload(
            alerts,
            receiver=self.node.receiver,
            group_labels=self.labels,
            group_key=self.key,
            external_url=self._external_url,
            max_alerts=webhook.config.max_alerts,
            now_ms=news.at_ms,
        )
        NOTIFICATIONS.labels(webhook.integration).inc()
        try:
            await webhook.deliver(payload)
        except TemporaryError as error:
            NOTIFICATIONS_FAILED.labels(webhook.integration, "serverError").inc()
            logger.warning("notification of group %s failed and is tried again: %s", self.key, error)
            raise
        except RefusedError:
            NOTIFICATIONS_FAILED.labels(webhook.integration, "clientError").inc()
            raise
        self._refused.pop(webhook.integration, None)
