"""A destination that says what it is told to say, on a real socket."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import cramjam
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector.forward import pacing
from steersman.runtime.http import Listener, serve

UNPACK = {"gzip": gzip.decompress, "zstd": lambda body: bytes(cramjam.zstd.decompress(body)), None: bytes}


@dataclass
class Scripted:
    """Answers 200, unless `answers` has something else to say next, or `when` to a body."""

    port: int
    answers: list[Response] = field(default_factory=list)
    when: dict[bytes, int] = field(default_factory=dict)  # body to status
    largest: int = 1 << 30  # bytes of a body that is not answered 413
    received: list[tuple[str, bytes]] = field(default_factory=list)  # path and body, unpacked
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0  # the most requests that were there together
    hold: asyncio.Event = field(default_factory=asyncio.Event)  # until it is set, requests are kept waiting
    _there: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.received]

    async def answer(self, request: Request) -> Response:
        self._there += 1
        self.at_once = max(self.at_once, self._there)
        body = UNPACK[request.headers.get("content-encoding")](await request.body())
        await self.hold.wait()
        self._there -= 1
        self.received.append((request.url.path, body))
        self.headers.append(dict(request.headers))
        if len(body) > self.largest:
            return Response(status_code=413)
        if body in self.when:
            return Response(status_code=self.when[body])
        return self.answers.pop(0) if self.answers else Response(media_type="application/x-protobuf")


@pytest.fixture
async def scripted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scripted]:
    monkeypatch.setattr(pacing, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(pacing, "MOST_DELAY_S", 0.05)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        destination = Scripted(probe.getsockname()[1])
    destination.hold.set()
    app = Starlette(routes=[Route("/{path:path}", destination.answer, methods=["POST"])])
    stop = asyncio.Event()
    serving = asyncio.create_task(serve([Listener(app, destination.port)], stop=stop))
    yield destination
    destination.hold.set()
    stop.set()
    await serving
