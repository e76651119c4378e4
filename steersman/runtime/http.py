"""Serving HTTP the same way everywhere: one error envelope, one bearer check, several ports in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from steersman.runtime.http_connection import PromptConnection
from steersman.runtime.tokens import bearer_matches

# Prometheus's errorType for each status (prometheus/web/api/v1/api.go, the errorType constants).
_ERROR_TYPES = {400: "bad_data", 401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict"} | {
    413: "bad_data", 415: "bad_data", 422: "execution", 429: "too_many_requests", 503: "unavailable", 504: "timeout"
}  # fmt: skip
GRACEFUL_SHUTDOWN_S = 10  # longer than any request of ours is allowed to take


def error_response(status: int, message: str, *, error_type: str | None = None) -> JSONResponse:
    """Prometheus's error envelope, which every API of ours uses."""
    kind = error_type or _ERROR_TYPES.get(status, "internal")
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"status": "error", "errorType": kind, "error": message}, status_code=status, headers=headers)


def install_error_envelope(app: FastAPI) -> None:
    """Make every error of `app`, validation errors too, leave in the envelope of `error_response`."""

    @app.exception_handler(StarletteHTTPException)
    async def http_error(_request: Request, error: StarletteHTTPException) -> JSONResponse:
        response = error_response(error.status_code, str(error.detail))
        response.headers.update(error.headers or {})  # Allow, Retry-After
        return response

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        return error_response(500, "internal error; the log has the cause")  # the server logs it

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return error_response(400, f"{where}: {first['msg']}, got {_shortened(first.get('input'))}")


def _shortened(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def require_bearer(token: str) -> Callable[[Request], Awaitable[None]]:
    """A FastAPI dependency that lets only requests with this bearer token pass; others get 401."""

    async def check(request: Request) -> None:
        if not bearer_matches(request.headers.get("authorization"), token):
            raise HTTPException(401, "missing or wrong bearer token")

    return check


def limit_bodies(app: ASGIApp, max_bytes: int) -> ASGIApp:
    """`app`, where a request body above `max_bytes` is answered 413, whether or not it announced its length."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        message = f"body is larger than the limit of {max_bytes} bytes"
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if int(announced) > max_bytes:  # digits only: the server has checked it
            await error_response(413, message)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            part = await receive()
            received += len(part.get("body", b""))
            if received > max_bytes:
                raise HTTPException(413, message)
            return part

        await app(scope, counted, send)

    return limited


@dataclass(frozen=True, slots=True)
class Listener:
    app: Any  # an ASGI application
    port: int
    host: str = "127.0.0.1"


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # `serve` owns the signals, once for all servers


async def serve(listeners: list[Listener], *, stop: asyncio.Event | None = None, access_log: bool = False) -> None:
    """
    Serve every listener until SIGTERM, SIGINT or `stop`, then let requests in flight finish.

    Lifespan events run once for each distinct app, on its first listener.

    Raises:
        OSError: a port could not be bound; nothing is left listening.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    servers: list[_Server] = []
    started: set[int] = set()
    for listener in listeners:
        config = uvicorn.Config(
            listener.app,
            host=listener.host,
            port=listener.port,
            access_log=access_log,
            log_config=None,
            http=PromptConnection,
            lifespan="off" if id(listener.app) in started else "on",
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
            server_header=False,
        )
        started.add(id(listener.app))
        servers.append(_Server(config))
    tasks = [asyncio.create_task(_serve_one(server)) for server in servers]
    stopper = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopper, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopper.cancel()
        for server in servers:
            server.should_exit = True
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _serve_one(server: _Server) -> None:
    try:
        await server.serve()
    except SystemExit as exit_:  # uvicorn's way to say that it could not start
        where = f"{server.config.host}:{server.config.port}"
        raise OSError(f"cannot serve on {where}: the port is taken or the application did not start") from exit_
