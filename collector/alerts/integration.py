"""One way of one receiver to be told: what groups need of webhooks and of apprise's services alike."""

from __future__ import annotations

import asyncio
from typing import Protocol

from collector.alerts.notification import Notification
from collector.errors import CollectorError

# Notifications under way to one receiver at a time: a storm of groups must not take all sockets, nor one slow receiver
# hold up another.
CONCURRENT_DELIVERIES = 16


class RefusedError(CollectorError):
    """The receiver will not take this notification, however often it is sent."""


class Integration(Protocol):
    name: str  # what logs and the notification log call it, e.g. `worker/webhook/0`
    kind: str  # webhook, slack, …: the label of the metrics
    send_resolved: bool
    slots: asyncio.Semaphore  # CONCURRENT_DELIVERIES of them

    async def deliver(self, notification: Notification) -> None:
        """
        Raises:
            TemporaryError: worth another try soon.
            RefusedError: not worth one, until there is something new to say.
        """
        ...
