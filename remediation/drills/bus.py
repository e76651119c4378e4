"""What is put on the stack's bus (NATS): messages as a broken or foreign publisher might send them, feature flags."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from remediation.drills.errors import BrokenAnswerError
from remediation.drills.injection import Message
from remediation.flags import BUCKET as FLAGS
from remediation.flags import decoded

if TYPE_CHECKING:
    from nats.js import JetStreamContext

CONNECT_S = 2
AT_ONCE = 100  # messages under way
PUBLISH_S = 3.0  # JetStream's word that it is kept; on loopback it takes milliseconds


async def publish(url: str, token: str, message: Message) -> None:
    """
    Returns once the stream has kept them all.

    Raises:
        BrokenAnswerError: no bus, or no stream that takes the subject.
    """
    async with _connected(url, token, message.subject) as stream:
        body = message.body.encode()
        for done in range(0, message.count, AT_ONCE):  # each waits for the disk, which serves them together
            batch = range(min(AT_ONCE, message.count - done))
            await asyncio.gather(*(stream.publish(message.subject, body) for _ in batch))


async def flag(url: str, token: str, name: str) -> Any:
    """
    The flag's value; None if it is not set.

    Raises:
        BrokenAnswerError: no bus, or nobody reads flags from it.
    """
    from nats.js.errors import KeyNotFoundError

    async with _connected(url, token, name) as stream:
        try:
            entry = await (await stream.key_value(FLAGS)).get(name)
        except KeyNotFoundError:
            return None
        return decoded(entry.value, time.time_ns() // 1_000_000)


async def set_flag(url: str, token: str, name: str, value: Any, ttl_s: float | None = None) -> None:
    """
    Raises:
        BrokenAnswerError: no bus, or nobody reads flags from it.
    """
    until = None if ttl_s is None else time.time_ns() // 1_000_000 + round(ttl_s * 1000)
    async with _connected(url, token, name) as stream:
        bucket = await stream.key_value(FLAGS)
        await bucket.put(name, json.dumps({"value": value, "until_unix_ms": until}).encode())


@asynccontextmanager
async def _connected(url: str, token: str, what: str) -> AsyncIterator[JetStreamContext]:
    import nats
    from nats.errors import Error
    from nats.js.errors import APIError

    try:
        async with asyncio.timeout(CONNECT_S):  # the client itself would try for two minutes
            client = await nats.connect(url, token=token, allow_reconnect=False, error_cb=_quiet)
        try:
            yield client.jetstream(timeout=PUBLISH_S)
        finally:
            await client.close()
    except (Error, APIError, OSError, TimeoutError) as error:
        raise BrokenAnswerError(
            f"bus at {url} (STEERSMAN_NATS_URL) did not take {what}: {str(error) or type(error).__name__}"
        ) from error


async def _quiet(_error: Exception) -> None:
    """What fails is raised; a traceback besides says nothing more."""
