"""Messages put on the stack's bus (NATS), as they are: what a broken or foreign publisher might send."""

from __future__ import annotations

import asyncio

from remediation.drills.errors import BrokenAnswerError
from remediation.drills.injection import Message

CONNECT_S = 2
PUBLISH_S = 3.0  # JetStream's word that it is kept; on loopback it takes milliseconds


async def publish(url: str, token: str, message: Message) -> None:
    """
    Returns once the stream has kept them all.

    Raises:
        BrokenAnswerError: no bus, or no stream that takes the subject.
    """
    import nats
    from nats.errors import Error

    try:
        async with asyncio.timeout(CONNECT_S):  # the client itself would try for two minutes
            client = await nats.connect(url, token=token, allow_reconnect=False, error_cb=_quiet)
        try:
            stream = client.jetstream(timeout=PUBLISH_S)
            for _ in range(message.count):
                await stream.publish(message.subject, message.body.encode())
        finally:
            await client.close()
    except (Error, OSError, TimeoutError) as error:
        raise BrokenAnswerError(
            f"bus at {url} (STEERSMAN_NATS_URL) did not take {message.subject}: {str(error) or type(error).__name__}"
        ) from error


async def _quiet(_error: Exception) -> None:
    """What fails is raised; a traceback besides says nothing more."""
