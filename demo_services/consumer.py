"""Handling messages of a durable consumer: explicit acknowledgement, redelivery with back-off, dead letters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg
from opentelemetry.trace import Status, StatusCode
from prometheus_client import CollectorRegistry, Counter

from demo_services import streams
from demo_services.bus import Bus
from demo_services.errors import RejectedError

MAX_DELIVER = 5
# Seconds before the second, third, … delivery. All five are over in some 8 s: a database that restarts is survived,
# and a message that cannot be handled is out of the way while somebody still remembers sending it.
BACKOFF_S = (0.2, 0.5, 2.0, 5.0)
BATCH = 16
FETCH_S = 1.0  # after a reconnection the first fetch is lost, and holds things up for so long
REASON_HEADER = "Dead-Letter-Reason"

_logger = logging.getLogger(__name__)

Handler = Callable[[bytes], Awaitable[str]]
"""Handles a payload and returns the outcome to count, e.g. "processed" or "duplicate". Called again for a message
whose acknowledgement was lost, so its effects must be idempotent. Raises RejectedError for what can never be handled
and any other exception for what may be tried again."""


class Consumer:
    def __init__(
        self,
        bus: Bus,
        durable: streams.Durable,
        handler: Handler,
        *,
        registry: CollectorRegistry | None = None,
        counter: Counter | None = None,
        max_deliver: int = MAX_DELIVER,
        backoff_s: tuple[float, ...] = BACKOFF_S,
        message_time_s: float = 0.0,
    ) -> None:
        """
        Args:
            message_time_s: Handling one takes at least so long, so that a replica's capacity is finite and a number.
            counter: Counts by the labels `subject` and `outcome`; several consumers may share one.
            backoff_s: Not empty; the last is repeated if it is shorter than max_deliver - 1.
        """
        self._bus = bus
        self._durable = durable
        self._handler = handler
        self._counter = counter or message_counter(registry)
        self._max_deliver = max_deliver
        self._backoff_s = backoff_s
        self._message_time_s = message_time_s
        self.is_bound = False
        self.pending = 0  # that no replica has been given yet, as the bus said with the last message

    async def run(self) -> None:
        """Fetch and handle messages until cancelled."""
        while True:
            await self._bus.connected()
            connection = self._bus.connections
            subscription = await self._bus.jetstream.pull_subscribe_bind(self._durable.name, self._durable.stream)
            self.is_bound = True
            try:
                while self._bus.connections == connection and self._bus.is_connected:
                    try:
                        messages = await subscription.fetch(BATCH, timeout=FETCH_S)
                    except TimeoutError:  # nothing to do; nats.errors.TimeoutError is one too
                        self.pending = 0
                        continue
                    for message in messages:
                        await self.handle(message)
            finally:
                self.is_bound = False
                if self._bus.is_connected:
                    await subscription.unsubscribe()

    async def handle(self, message: Msg) -> None:
        """Handle one message and tell the server what became of it."""
        headers = dict(message.headers or {})
        self.pending = message.metadata.num_pending
        if self._message_time_s:
            await asyncio.sleep(self._message_time_s)
        delivery = message.metadata.num_delivered or 1
        with self._bus.processing(message.subject, headers, group=self._durable.name) as span:
            try:
                if delivery > self._max_deliver:
                    raise RejectedError(f"delivered {delivery - 1} times and never finished")
                outcome = await self._handler(message.data)
            except RejectedError as error:
                await self._bury(message, headers, str(error))
                span.set_status(Status(StatusCode.ERROR, str(error)))
                outcome = "dead_lettered"
            except Exception as error:
                span.set_status(Status(StatusCode.ERROR, str(error)))
                if delivery >= self._max_deliver:
                    await self._bury(message, headers, f"{type(error).__name__}: {error}")
                    outcome = "dead_lettered"
                else:
                    wait_s = self._backoff_s[min(delivery, len(self._backoff_s)) - 1]
                    _logger.warning(
                        "%s failed for %s, delivery %d of %d, again in %g s: %s",
                        message.subject, self._durable.name, delivery, self._max_deliver, wait_s, error,
                    )  # fmt: skip
                    await message.nak(delay=wait_s)
                    outcome = "retried"
            else:
                await message.ack()
            self._counter.labels(message.subject, outcome).inc()

    async def _bury(self, message: Msg, headers: dict[str, str], reason: str) -> None:
        """
        Store the message among the dead letters, then stop its delivery. If it cannot be stored it comes back.

        Raises:
            BusUnavailableError: not stored; the server delivers it again after the ack wait.
        """
        metadata = message.metadata
        kept = {name: value for name, value in headers.items() if not name.startswith("Nats-")}
        kept |= {
            REASON_HEADER: reason.replace("\r", " ").replace("\n", " ")[:500],  # headers are one line each
            "Dead-Letter-Stream": metadata.stream,
            "Dead-Letter-Sequence": str(metadata.sequence.stream),
            "Dead-Letter-Deliveries": str(metadata.num_delivered),
        }
        await self._bus.publish(
            f"{streams.DEAD_LETTER}.{self._durable.name}.{message.subject}",
            message.data,
            message_id=f"dead-{self._durable.name}-{metadata.stream}-{metadata.sequence.stream}",
            headers=kept,
        )
        await message.term()
        _logger.error("%s of %s is a dead letter: %s", message.subject, self._durable.name, reason)


def message_counter(registry: CollectorRegistry | None) -> Counter:
    return Counter("shop_messages", "Messages handled, by outcome", ["subject", "outcome"], registry=registry)
