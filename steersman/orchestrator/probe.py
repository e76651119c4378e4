"""Ask a process whether it is ready or healthy: one HTTP/1.1 request, one line read, no client library's overhead."""

from __future__ import annotations

import asyncio
import contextlib

HOST = "127.0.0.1"


async def answers_ok(port: int, path: str, *, timeout_s: float) -> bool:
    """Whether `GET path` is answered with 2xx within `timeout_s`. Never raises."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _status(port, path) // 100 == 2
    except (OSError, ValueError, TimeoutError):
        return False


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection(HOST, port, limit=4096)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
        parts = (await reader.readline()).split(b" ", 2)
        return int(parts[1]) if len(parts) > 1 and parts[0].startswith(b"HTTP/1.") else 0
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def becomes_ready(port: int, path: str, *, every_s: float, timeout_s: float) -> bool:
    """Probe until it answers 2xx; False once `timeout_s` has passed."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await answers_ok(port, path, timeout_s=1.0):  # noqa: ASYNC110
                await asyncio.sleep(every_s)
    except TimeoutError:
        return False
    return True
