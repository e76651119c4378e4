from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

from steersman.orchestrator.probe import answers_ok, becomes_ready
from steersman.runtime.http import Listener, install_error_envelope, limit_bodies, require_bearer, serve


class Body(BaseModel):
    count: int


def application() -> FastAPI:
    app = FastAPI()
    install_error_envelope(app)

    @app.put("/counts", dependencies=[Depends(require_bearer("secret"))])
    async def counts(body: Body) -> dict[str, int]:
        return {"count": body.count}

    @app.get("/busy")
    async def busy() -> None:
        raise HTTPException(429, "too many", headers={"Retry-After": "3"})

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/slow")
    async def slow() -> dict[str, bool]:
        await asyncio.sleep(0.3)
        return {"done": True}

    return app


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=limit_bodies(application(), 100), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


BEARER = {"Authorization": "Bearer secret"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind", "words"),
    [
        ("PUT", "/counts", b'{"count": "x"}', 400, "bad_data", "body.count: "),
        ("PUT", "/counts", b"{", 400, "bad_data", "body"),
        ("PUT", "/counts", b"1" * 101, 413, "bad_data", "limit of 100 bytes"),
        ("GET", "/nowhere", b"", 404, "not_found", "Not Found"),
        ("GET", "/busy", b"", 429, "too_many_requests", "too many"),
        ("GET", "/broken", b"", 500, "internal", "internal error"),
    ],
)
async def test_every_error_leaves_in_prometheus_s_envelope(api, method, path, body, status, kind, words):
    answer = await api.request(method, path, content=body, headers=BEARER | JSON)
    assert answer.status_code == status
    assert (answer.json()["status"], answer.json()["errorType"]) == ("error", kind)
    assert words in answer.json()["error"]
    assert "hunter2" not in answer.text


async def test_error_keeps_the_headers_that_tell_when_to_come_back(api):
    assert (await api.get("/busy")).headers["Retry-After"] == "3"


async def test_error_about_a_long_value_stays_short(api):
    answer = await api.put("/counts", json={"count": "y" * 80}, headers=BEARER)
    assert len(answer.json()["error"]) < 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}])
async def test_wrong_token_is_401_with_the_scheme_to_use(api, headers):
    answer = await api.put("/counts", json={"count": 1}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await api.put("/counts", json={"count": 1}, headers=BEARER)).json() == {"count": 1}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_sigterm_ends_all_servers_after_the_request_in_flight():
    lives: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        lives.append("began")
        yield
        lives.append("ended")

    app = application()
    app.router.lifespan_context = lifespan
    first, second = free_port(), free_port()
    serving = asyncio.create_task(serve([Listener(app, first), Listener(app, second)]))
    for port in (first, second):
        assert await becomes_ready(port, "/openapi.json", every_s=0.02, timeout_s=5.0)
    async with httpx.AsyncClient(trust_env=False) as client:
        asked = asyncio.create_task(client.get(f"http://127.0.0.1:{second}/slow"))
        await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await asked).json() == {"done": True}
    await asyncio.wait_for(serving, 5.0)
    assert lives == ["began", "ended"]
    assert not await answers_ok(first, "/openapi.json", timeout_s=1.0)


async def test_taken_port_is_an_error_and_leaves_nothing_listening():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken, free = holder.getsockname()[1], free_port()
        with pytest.raises(OSError, match=f"cannot serve on 127.0.0.1:{taken}"):
            await asyncio.wait_for(serve([Listener(application(), free), Listener(application(), taken)]), 10.0)
    assert not await answers_ok(free, "/openapi.json", timeout_s=1.0)


async def test_application_that_fails_to_start_is_an_error():
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    app = FastAPI(lifespan=lifespan)
    with pytest.raises(OSError, match="did not start"):
        await asyncio.wait_for(serve([Listener(app, free_port())]), 10.0)
