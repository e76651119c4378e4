"""What the collector's two processes, the collector and the agent, have in common: addresses, background, stopping."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import uvloop
from prometheus_client import disable_created_metrics

from collector.errors import CollectorError, ConfigError
from steersman.runtime.http import Listener, serve

_log = logging.getLogger(__name__)
STOP_WITHIN_S = 3.0  # of the 5 s that a stop may take; requests still in flight then are cut, and unacknowledged
BACKGROUND_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`127.0.0.1:9090`, `[::1]:9090`, `:9090` (this machine only) or `9090`."""
        host, _, port = text.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            raise argparse.ArgumentTypeError(f"{text!r} is not host:port with a port from 0 to 65535")
        return cls(host.strip("[]") or "127.0.0.1", int(port))


def ended(log_level: str, start: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """
    Run one of the two until it is told to stop. 0: stopped; 1: could not start; 2: wrong configuration.

    Args:
        start: Reads the configuration too, so that what is wrong with it is told in the same way.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each counter, which nobody asks for
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        uvloop.run(start())
    except ConfigError as error:
        print(f"collector: {error}", file=sys.stderr)
        return 2
    except (OSError, CollectorError) as error:
        print(f"collector: {error}", file=sys.stderr)
        return 1
    return 0


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """A part that fails is started again: the others, and what they acknowledge, must not fall with it."""
    while True:
        try:
            await run()
        except Exception:
            _log.exception("%s failed, starting it again in %s s", name, BACKGROUND_RETRY_S)
        await asyncio.sleep(BACKGROUND_RETRY_S)


async def serve_until_stopped(listeners: list[Listener]) -> None:
    """
    Until SIGTERM or SIGINT; requests that are then in flight have STOP_WITHIN_S to end.

    Raises:
        OSError: a port is taken.
    """
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(listeners, stop=stop), name="http")
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    done, _ = await asyncio.wait([serving], timeout=STOP_WITHIN_S)
    if done:
        serving.result()  # a port that could not be bound
        return
    _log.warning("cutting requests that are still in flight %s s after the signal", STOP_WITHIN_S)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
