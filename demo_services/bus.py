"""
The connection to NATS: made in the background, kept for ever, and traced.

A caller never waits for a bus that is away: `jetstream` raises at once, and what is in flight when the bus dies raises
within REQUEST_S.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.kv import KeyValue
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind

from demo_services import streams
from demo_services.errors import BusUnavailableError
from steersman.runtime.tokens import read_token

CONNECT_S = 2
RECONNECT_WAIT_S = 0.25  # nats-server is back 50 ms after its start
REQUEST_S = 2.0  # an ack that waits for the disk takes milliseconds

_logger = logging.getLogger(__name__)
_tracer = trace.get_tracer(__name__)


class Bus:
    """Belongs to one event loop. `run` keeps the connection; the rest uses it."""

    def __init__(self, url: str, *, token_file: Path | None, client_name: str) -> None:
        self._url = url
        self._token_file = token_file
        self._client_name = client_name
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._buckets: dict[str, KeyValue] = {}
        self._declared = asyncio.Event()
        self.connections = 0  # grows by one with each connection, so that watchers notice that they must start again

    @property
    def is_connected(self) -> bool:
        return self._declared.is_set() and self._client is not None and self._client.is_connected

    async def connected(self) -> None:
        """Wait until streams, consumers and buckets are known to exist."""
        await self._declared.wait()

    async def run(self) -> None:
        """Connect, declare the streams, and stay until cancelled."""
        client = Client()
        self._client = client
        self._buckets.clear()
        try:
            await client.connect(
                self._url,
                token=read_token(self._token_file) if self._token_file else None,
                name=self._client_name,
                connect_timeout=CONNECT_S,
                reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]
                max_reconnect_attempts=-1,
                ping_interval=5,
                max_outstanding_pings=2,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
            )
            await self._declare()
            await asyncio.Event().wait()
        finally:
            self._declared.clear()
            await client.close()

    async def _declare(self) -> None:
        """Also after a reconnection: the server may have come back with an empty store."""
        if self._client is None:
            return
        self._jetstream = self._client.jetstream(timeout=REQUEST_S)
        await streams.declare(self._jetstream)
        self.connections += 1
        self._declared.set()
        _logger.info("connected to the bus at %s", self._url)

    async def _on_reconnected(self) -> None:
        while self._client is not None and self._client.is_connected:  # JetStream may come up after the port
            try:
                return await self._declare()
            except nats.errors.Error as error:
                _logger.warning("the bus is back but JetStream is not yet: %s", error)
                await asyncio.sleep(RECONNECT_WAIT_S)
        return None

    async def _on_disconnected(self) -> None:
        self._declared.clear()
        _logger.warning("lost the bus at %s", self._url)

    async def _on_error(self, error: Exception) -> None:
        _logger.debug("bus: %r", error)  # each failed attempt of a reconnection says so

    @property
    def jetstream(self) -> JetStreamContext:
        """
        Raises:
            BusUnavailableError: not connected at this moment.
        """
        if not self.is_connected or self._jetstream is None:
            raise BusUnavailableError(f"the message bus at {self._url} is not connected")
        return self._jetstream

    async def bucket(self, name: str) -> KeyValue:
        """
        Raises:
            BusUnavailableError: not connected, or the bucket is not there.
        """
        jetstream = self.jetstream
        if name not in self._buckets:
            with bus_errors():
                self._buckets[name] = await jetstream.key_value(name)
        return self._buckets[name]

    async def publish(
        self, subject: str, payload: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """
        Publish and wait until JetStream has it on disk. Within the deduplication window a message id counts once.

        Args:
            headers: Added to the message. The trace context in them, if any, becomes the parent of the publish span;
                otherwise the current span is.

        Raises:
            BusUnavailableError: not acknowledged; it may or may not have been stored.
        """
        headers = dict(headers or {})
        parent = propagate.extract(headers) if "traceparent" in headers else None
        with _tracer.start_as_current_span(
            f"send {subject}",
            context=parent,
            kind=SpanKind.PRODUCER,
            attributes=_messaging_attributes("send", subject, message_id),
        ):
            carrier = {**headers, "Nats-Msg-Id": message_id}
            propagate.inject(carrier)
            jetstream = self.jetstream
            with bus_errors():
                await jetstream.publish(subject, payload, headers=carrier)

    @contextmanager
    def processing(self, subject: str, headers: Mapping[str, str], *, group: str) -> Iterator[Span]:
        """A CONSUMER span around the handling of a message, as child of the span that published it."""
        attributes = _messaging_attributes("process", subject, headers.get("Nats-Msg-Id", ""))
        attributes["messaging.consumer.group.name"] = group
        with _tracer.start_as_current_span(
            f"process {subject}", context=propagate.extract(headers), kind=SpanKind.CONSUMER, attributes=attributes
        ) as span:
            yield span


def _messaging_attributes(operation: str, subject: str, message_id: str) -> dict[str, str]:
    """Source: OpenTelemetry semantic conventions 1.3x, messaging spans (in development)."""
    return {
        "messaging.system": "nats",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": subject,
        "messaging.message.id": message_id,
    }


@contextmanager
def bus_errors() -> Iterator[None]:
    """Turns what NATS raises when it is away into BusUnavailableError; what it says about a key or a message passes."""
    try:
        yield
    except (nats.js.errors.KeyNotFoundError, nats.js.errors.KeyWrongLastSequenceError):
        raise
    except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
        raise BusUnavailableError(f"the message bus did not answer: {type(error).__name__}: {error}") from error
