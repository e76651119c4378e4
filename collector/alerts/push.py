"""
Pushing alerts to real Alertmanagers, each with a bounded queue of its own.

Prometheus drops what an Alertmanager does not take at once; here it is tried again, and of one alert only the newest
state waits, so that an Alertmanager that comes back hears the truth of that time.

Source: prometheus/notifier/manager.go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import httpx
import stamina
from prometheus_client import Counter, Gauge

from collector.alerts.http_config import HttpConfig
from collector.alerts.integration import RefusedError
from collector.errors import TemporaryError
from collector.model.alert import Alert, rfc3339
from collector.model.series import Labels, labels_of

logger = logging.getLogger(__name__)

QUEUE_CAPACITY = 10_000  # Prometheus, --alertmanager.notification-queue-capacity
BATCH = 256  # Prometheus 3, --alertmanager.notification-batch-size
FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0
SHOWN_ANSWER_CHARS = 200  # of a refusal's body, in the log

SENT = Counter("prometheus_notifications_sent", "Alerts sent.", ["alertmanager"])
ERRORS = Counter("prometheus_notifications_errors", "Alerts that were not taken.", ["alertmanager"])
DROPPED = Counter("prometheus_notifications_dropped", "Alerts dropped: the queue was full, or they were refused.")
LENGTH = Gauge("prometheus_notifications_queue_length", "Alerts that wait.", ["alertmanager"])
CAPACITY = Gauge("prometheus_notifications_queue_capacity", "How many may wait for each Alertmanager.")

Relabel = Callable[[Mapping[str, str]], Mapping[str, str] | None]


@dataclass(frozen=True, slots=True)
class PushTarget:
    url: str  # of its alerts, e.g. http://am:9093/api/v2/alerts
    http: HttpConfig
    timeout_ms: int
    relabel: Relabel  # of an alert's labels; None: this Alertmanager does not hear of it


class AlertPusher:
    """`send` at any time; what waits is delivered while `run` runs."""

    def __init__(self, targets: Sequence[PushTarget], *, capacity: int = QUEUE_CAPACITY) -> None:
        CAPACITY.set(capacity)
        self._queues = [_Queue(target, capacity) for target in targets]

    @property
    def urls(self) -> list[str]:
        return [queue.target.url for queue in self._queues]

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues))

    async def send(self, alerts: Sequence[Alert]) -> None:
        """Line up for every Alertmanager. In memory only: rules tell an alert that fires again and again."""
        for queue in self._queues:
            queue.put(alerts)

    async def run(self) -> None:
        """Deliver until cancelled. May be run again after it ended."""
        async with asyncio.TaskGroup() as group:
            for queue in self._queues:
                group.create_task(queue.run(), name=f"push to {queue.target.url}")


class _Queue:
    def __init__(self, target: PushTarget, capacity: int) -> None:
        self.target = target
        self._capacity = capacity
        self._waiting: dict[Labels, Alert] = {}  # the oldest first
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            pairs = self.target.relabel(dict(alert.labels))
            if not pairs:
                continue
            labels = labels_of(pairs)
            self._waiting.pop(labels, None)
            self._waiting[labels] = replace(alert, labels=labels)
        if over := len(self._waiting) - self._capacity:
            self._drop_oldest(over)
        if self._waiting:
            self._filled.set()
        LENGTH.labels(self.target.url).set(len(self._waiting))

    def _drop_oldest(self, over: int) -> None:
        if over <= 0:
            return
        for labels in list(self._waiting)[:over]:
            del self._waiting[labels]
        DROPPED.inc(over)
        logger.warning(
            "alert queue of %s is full: limit %d exceeded, %d oldest dropped", self.target.url, self._capacity, over
        )

    async def run(self) -> None:
        async with self.target.http.client() as client:
            while True:
                await self._filled.wait()
                await self._send_some(client)
                LENGTH.labels(self.target.url).set(len(self._waiting))
                if not self._waiting:
                    self._filled.clear()

    async def _send_some(self, client: httpx.AsyncClient) -> None:
        try:
            async for attempt in stamina.retry_context(
                on=TemporaryError,
                attempts=None,
                timeout=None,
                wait_initial=FIRST_RETRY_S,
                wait_max=LONGEST_RETRY_S,
                wait_jitter=FIRST_RETRY_S,
            ):
                with attempt:
                    batch = list(self._waiting.values())[:BATCH]  # anew each time: the truth of its time
                    if batch:
                        await self._post(client, batch)
                        self._forget(batch)
                        SENT.labels(self.target.url).inc(len(batch))
        except RefusedError as error:
            ERRORS.labels(self.target.url).inc(len(batch))
            DROPPED.inc(len(batch))
            self._forget(batch)
            logger.error("%s; %d alerts are dropped", error, len(batch))

    def _forget(self, batch: Sequence[Alert]) -> None:
        """Of what was sent, unless it changed meanwhile."""
        for alert in batch:
            if self._waiting.get(alert.labels) is alert:
                del self._waiting[alert.labels]

    async def _post(self, client: httpx.AsyncClient, batch: Sequence[Alert]) -> None:
        target = self.target
        timeout_s = target.timeout_ms / 1000 or None
        try:
            headers = await asyncio.to_thread(target.http.headers)
            async with asyncio.timeout(timeout_s):
                answer = await client.post(
                    target.url,
                    json=[_posted(alert) for alert in batch],
                    headers=headers,
                    timeout=timeout_s,
                    extensions=target.http.extensions(),
                )
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            ERRORS.labels(target.url).inc(len(batch))
            raise TemporaryError(f"alertmanager {target.url}: {type(error).__name__}: {error}") from error
        if answer.is_success:
            return
        message = f"alertmanager {target.url}: status code {answer.status_code}: {answer.text[:SHOWN_ANSWER_CHARS]}"
        if answer.status_code == 429 or answer.status_code >= 500:
            ERRORS.labels(target.url).inc(len(batch))
            logger.warning("%s; tried again", message)
            raise TemporaryError(message)
        raise RefusedError(message)


def _posted(alert: Alert) -> dict[str, object]:
    """As Prometheus writes an alert for API v2."""
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": rfc3339(alert.starts_at_ms),
        "endsAt": rfc3339(alert.ends_at_ms),
        "generatorURL": alert.generator_url,
    }
