"""On real sockets, with short limits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from steersman.runtime import http_connection
from steersman.runtime.http import Listener, serve

HEADER_TIMEOUT_S = 0.3
BODY_WINDOW_S = 0.6
PATIENCE_S = 10.0  # many times the limits, for a busy machine


def application() -> FastAPI:
    app = FastAPI()

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.get("/later")
    async def later() -> str:
        await asyncio.sleep(3 * HEADER_TIMEOUT_S)
        return "now"

    return app


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(http_connection, "HEADER_TIMEOUT_S", HEADER_TIMEOUT_S)
    monkeypatch.setattr(http_connection, "BODY_WINDOW_S", BODY_WINDOW_S)
    monkeypatch.setattr(http_connection, "BODY_WINDOW_BYTES", 10)
    monkeypatch.setattr(http_connection, "CONNECTION_LIMIT", 5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(serve([Listener(application(), number)], stop=stop))
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", number))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.01)
    yield number
    stop.set()
    await serving


async def answer_to(port: int, *parts: bytes, every_s: float = 0.0) -> bytes:
    """What the server says to `parts`, sent one by one, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(every_s)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        sending.cancel()
        writer.close()


HEAD = b"POST /length HTTP/1.1\r\nhost: x\r\n"


async def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    assert await answer_to(port) == b""


async def test_headers_that_come_byte_by_byte_are_given_up(port: int) -> None:
    trickle = [bytes([byte]) for byte in HEAD + b"x-long: " + b"x" * 1000]
    assert (await answer_to(port, *trickle, every_s=0.01)).startswith(b"HTTP/1.1 408 ")


async def test_empty_lines_between_requests_hold_no_connection(port: int) -> None:
    whole = HEAD + b"content-length: 1\r\n\r\n1"
    answer = await answer_to(port, whole, *[b"\r\n"] * 1000, every_s=0.01)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b" 408 " in answer


async def test_a_body_that_stands_still_is_given_up(port: int) -> None:
    trickle = [HEAD + b"content-length: 1000\r\n\r\n", *[b"x"] * 1000]
    assert (await answer_to(port, *trickle, every_s=0.1)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_gets_on_may_take_its_time(port: int) -> None:
    parts = [HEAD + b"connection: close\r\ncontent-length: 500\r\n\r\n", *[b"x" * 20] * 25]
    assert (await answer_to(port, *parts, every_s=BODY_WINDOW_S / 20)).endswith(b"\r\n\r\n500")


async def test_an_answer_may_take_longer_than_headers_may(port: int) -> None:
    first = b"GET /later HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = await answer_to(port, first + b"GET /later", every_s=0)  # the slow one waits behind
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"now"' in answer


async def test_connections_over_the_limit_are_told_to_come_back(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "HEADER_TIMEOUT_S", 60.0)
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    answer = await answer_to(port)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in answer
    for _, writer in held:
        writer.close()
    async with httpx.AsyncClient() as client, asyncio.timeout(PATIENCE_S):
        while True:
            answered = await client.post(f"http://127.0.0.1:{port}/length", content=b"12")
            if answered.status_code == 200:
                break
            assert answered.status_code == 503  # the server has not noticed yet
    assert answered.json() == 2
