"""A real HTTP server that plays the receiver, on a free port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn

from collector.model.alert import Alert
from collector.model.series import labels_of

Payload = dict[str, Any]
MakeAlert = Callable[..., Alert]


class Receiver:
    """What it was sent, in order. `answers` are the status codes it gives next; then 200."""

    def __init__(self, listening: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        self.received: asyncio.Queue[Payload] = asyncio.Queue()
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        self.attempts = 0
        self.always: int | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        self.attempts += 1
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        status = self.always or (self.answers.pop(0) if self.answers else 200)
        if status < 300:
            self.received.put_nowait(json.loads(body))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"the answer"})

    async def next(self, timeout_s: float = 5.0) -> Payload:
        async with asyncio.timeout(timeout_s):
            return await self.received.get()

    async def refuses_again(self, timeout_s: float = 5.0) -> None:
        """Until what is sent from now on has been refused: the next attempt may have been under way."""
        enough = self.attempts + 2
        async with asyncio.timeout(timeout_s):
            while self.attempts < enough:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def stays_silent(self, for_s: float = 0.4) -> bool:
        """Several group intervals of the tests' configuration."""
        try:
            await self.next(for_s)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    listening = socket.create_server(("127.0.0.1", 0))
    app = Receiver(listening)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=[listening]))
    yield app
    server.should_exit = True
    await task
    listening.close()


@pytest.fixture
def make_alert() -> MakeAlert:
    """`make_alert(starts, ends, service="cart")`, times in Unix milliseconds."""

    def make(starts_at_ms: int, ends_at_ms: int, **labels: str) -> Alert:
        named = labels_of({"alertname": "Slow", "service": "cart", **labels})
        annotations = (("summary", f"{dict(named)['service']} is slow"), ("runbook", "look at the traces"))
        return Alert(named, annotations, starts_at_ms, ends_at_ms, "http://c:9090/graph")

    return make
