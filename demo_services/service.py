"""
One replica: an application behind its worker pool, its background work, and its start and end.

The application is served at once; `/-/ready` turns green when the database, the bus and the consumers are up, so a
replica that starts before its bus becomes ready by itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import prometheus_client
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.exposition import choose_encoder

from demo_services.admission import Admission
from demo_services.bus import Bus
from demo_services.errors import ShopError, TemporaryError
from demo_services.fault_feed import FaultFeed
from demo_services.faults import FaultBoard, FaultKind, FaultRequest, wall_clock_ms
from demo_services.flags import Flags
from demo_services.settings import Settings
from demo_services.worker_pool import WorkerPool
from steersman.runtime.http import error_response, install_error_envelope, require_bearer
from steersman.runtime.tokens import read_token

RESTART_WAIT_S = 0.5  # before background work that failed is begun again
CANCEL_AGAIN_S = 0.2
# Not instrumented, and not in the worker pool: see admission.py.
UNTRACED_URLS = r"/-/(healthy|ready)$,/metrics$,/admin/faults"

_logger = logging.getLogger(__name__)

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, of no use here


class Service:
    """Register routes on `app`, background work and readiness checks; `demo_services.replica.run` serves it."""

    def __init__(self, settings: Settings, *, title: str, description: str) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.pool = WorkerPool(
            size=settings.pool_size,
            service_time_s=settings.service_time_s,
            queue_timeout_s=settings.queue_timeout_s,
            registry=self.registry,
        )
        self.faults = FaultBoard(registry=self.registry)
        self.bus = Bus(settings.nats_url, token_file=settings.nats_token_file, client_name=settings.instance)
        self.feed = FaultFeed(self.bus, self.faults, service=settings.service)
        self.flags = Flags(self.bus, service=settings.service, registry=self.registry)
        Gauge("shop_build_info", "The version that this replica is of", ["version"], registry=self.registry).labels(
            settings.version
        ).set(1)
        self._background: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._checks: list[tuple[str, Callable[[], bool]]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self.app = FastAPI(
            title=title, description=description, version="0.1.0", lifespan=self._lifespan, redoc_url=None
        )
        self.app.add_middleware(
            Admission,
            pool=self.pool,
            faults=self.faults,
            defect_ratio=settings.defect_error_ratio,
            random=random.random,
        )
        install_error_envelope(self.app)
        self.app.add_exception_handler(ShopError, _shop_error)
        self._add_operations()
        FastAPIInstrumentor.instrument_app(self.app, excluded_urls=UNTRACED_URLS, exclude_spans=["receive", "send"])
        self.background("bus", self.bus.run)
        self.background("faults", self.feed.run)
        self.background("flags", self.flags.watch.run)
        self.ready_when("the message bus", lambda: self.bus.is_connected)
        self.ready_when("the watch on faults", lambda: self.feed.is_watching)
        self.ready_when("the watch on flags", lambda: self.flags.watch.is_watching)

    def background(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` while the app is served; begun again if it fails, not if it returns."""
        self._background.append((name, work))

    def ready_when(self, what: str, check: Callable[[], bool]) -> None:
        self._checks.append((what, check))

    def on_close(self, closer: Callable[[], Awaitable[None]]) -> None:
        self._closers.append(closer)

    async def before_call(self, dependency: str) -> None:
        """Await at each call of a dependency: where the fault `slow_dependency` delays it."""
        delay_s = self.faults.delay_before_s(dependency)
        if delay_s:
            await asyncio.sleep(delay_s)

    def waits_for(self) -> list[str]:
        """What is not ready yet; empty when the replica is."""
        return [what for what, check in self._checks if not check()]

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._supervise(name, work), name=name) for name, work in self._background]
        try:
            yield
        finally:
            for task in reversed(tasks):  # the bus was first, and ends last
                await end_task(task)
            for closer in reversed(self._closers):
                await closer()

    async def _supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await work()
            except Exception as error:
                _logger.warning("%s of %s failed and is begun again: %r", name, self.settings.instance, error)
                await asyncio.sleep(RESTART_WAIT_S)

    def _add_operations(self) -> None:
        app = self.app

        @app.get("/-/healthy", include_in_schema=False)
        async def healthy() -> PlainTextResponse:
            return PlainTextResponse("ok\n")

        @app.get("/-/ready", include_in_schema=False)
        async def ready() -> Response:
            missing = self.waits_for()
            return error_response(503, f"waiting for {', '.join(missing)}") if missing else PlainTextResponse("ready\n")

        @app.get("/metrics", include_in_schema=False)
        async def metrics(request: Request) -> Response:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
            return Response(encode(self.registry), media_type=content_type)

        token_file = self.settings.faults_token_file
        if token_file is None:
            return
        guarded = [Depends(require_bearer(read_token(token_file)))]

        @app.put("/admin/faults", dependencies=guarded, tags=["operations"])
        async def put_fault(body: FaultRequest) -> JSONResponse:
            """Set a fault for every replica of this service. One of the same kind is replaced."""
            await self.feed.set(body.to_fault(wall_clock_ms()))
            return JSONResponse(self._faults_in_force())

        @app.get("/admin/faults", dependencies=guarded, tags=["operations"])
        async def get_faults() -> JSONResponse:
            """The faults in force in the replica that answers."""
            return JSONResponse(self._faults_in_force())

        @app.delete("/admin/faults", dependencies=guarded, tags=["operations"])
        async def delete_faults(kind: FaultKind | None = None) -> JSONResponse:
            """End the faults of one kind, or all."""
            await self.feed.delete([kind] if kind else list(FaultKind))
            return JSONResponse(self._faults_in_force())

    def _faults_in_force(self) -> dict[str, object]:
        return {
            "service": self.settings.service,
            "faults": [
                {
                    "kind": fault.kind,
                    "expires_at_unix_ms": fault.expires_at_unix_ms,
                    "latency_ms": fault.latency_ms,
                    "error_ratio": fault.error_ratio,
                    "dependency": fault.dependency,
                }
                for fault in self.faults.active()
            ],
        }


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; again if need be: before Python 3.12 `asyncio.wait_for` may swallow it."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_S)


async def _shop_error(_request: Request, error: Exception) -> Response:
    response = error_response(error.status if isinstance(error, ShopError) else 500, str(error))
    if isinstance(error, TemporaryError):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response
