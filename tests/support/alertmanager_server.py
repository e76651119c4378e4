"""Our Alertmanager API and Debian's Alertmanager, each on a free port, and what their webhooks were sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml

from collector.alerts.alert_group import Patience
from collector.alerts.config import ConfigFile
from collector.alerts.dispatcher import Dispatcher
from collector.api.alertmanager import alertmanager_app

TOKEN = "the-token-of-the-tests"
START_S = 30
TLS = ssl.create_default_context()  # made once, for it reads all authorities each time, and nothing here speaks TLS


def require(*programs: str) -> None:
    """Skip where a peer is absent; CI has them all."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"CI must have {', '.join(missing)} on PATH")
    if missing:
        pytest.skip(f"{', '.join(missing)} is not on PATH")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The app's URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listening.close()


class Alertmanager:
    """One of the two, with a client that may write."""

    def __init__(self, url: str, dispatcher: Dispatcher | None = None) -> None:
        self.url = url
        self.dispatcher = dispatcher

    async def call(self, method: str, path: str, body: Any = None, *, token: str = TOKEN) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(trust_env=False, timeout=20, verify=TLS) as client:
            return await client.request(method, f"{self.url}{path}", json=body, headers=headers)

    async def get(self, path: str) -> Any:
        return (await self.call("GET", path)).raise_for_status().json()

    async def post(self, *alerts: dict[str, Any]) -> None:
        (await self.call("POST", "/api/v2/alerts", list(alerts))).raise_for_status()

    async def silence(self, **fields: Any) -> str:
        answer = (await self.call("POST", "/api/v2/silences", fields)).raise_for_status()
        return str(answer.json()["silenceID"])


@contextlib.asynccontextmanager
async def ours(folder: Path, config: dict[str, Any], **options: Any) -> AsyncIterator[Alertmanager]:
    """A dispatcher over `folder` and its API; another one later goes on where it stopped."""
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    dispatcher = Dispatcher(
        ConfigFile(path).load(),
        state_path=folder / "state" / "dispatcher.sqlite",
        external_url="http://am",
        patience=Patience(first_s=0.02, longest_s=0.1),
        **options,
    )

    async def reload() -> None:
        await dispatcher.reconfigure(ConfigFile(path).load())

    task = asyncio.create_task(dispatcher.run())
    try:
        await asyncio.sleep(0)
        app = alertmanager_app(dispatcher, token=TOKEN, version="1.2.3", reload=reload)
        async with served(app) as url:
            yield Alertmanager(url, dispatcher)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        dispatcher.close()


@contextlib.asynccontextmanager
async def debians(folder: Path, config: dict[str, Any]) -> AsyncIterator[Alertmanager]:
    require("prometheus-alertmanager")
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus-alertmanager",
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--web.external-url=http://am",
            "--web.route-prefix=/",
            "--cluster.listen-address=",
            stdout=log,
            stderr=log,
        )
    peer = Alertmanager(f"http://{address}")
    try:
        async with asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    await peer.get("/api/v2/status")
                    break
                await asyncio.sleep(0.05)
        yield peer
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


class Hook:
    """A webhook receiver; what it was sent, in order."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        self.received.append(json.loads(body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
