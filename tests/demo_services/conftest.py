"""A real nats-server and the six real services, in this process, behind a mesh on one port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from nats_server import TOKEN, NatsServer, free_port
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.routing import Mount

from demo_services import cart, catalog, checkout, inventory, payment, recommendation
from demo_services.service import Service
from demo_services.settings import Settings

MODULES = {
    "catalog": catalog, "cart": cart, "checkout": checkout,
    "payment": payment, "inventory": inventory, "recommendation": recommendation,
}  # fmt: skip
PATIENCE_S = 10.0

os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http,database"  # read when the first app or engine is instrumented

_exporter = InMemorySpanExporter()
_provider = TracerProvider()
_provider.add_span_processor(SimpleSpanProcessor(_exporter))
trace.set_tracer_provider(_provider)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    _exporter.clear()
    return _exporter


async def eventually(check: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first truthy result of `check`, which may be a coroutine function; fails with `what` after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while True:
        result = check()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {patience_s:g} s: {what}")
        await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def shop_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def nats_server(shop_dir: Path) -> Iterator[NatsServer]:
    """One for all tests of a file, and gone after them. Who kills it starts it again."""
    server = NatsServer(shop_dir, free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def settings(shop_dir: Path, nats_server: NatsServer) -> Callable[..., Settings]:
    """Settings of a service of the tests' shop; keywords replace."""
    faults_token = shop_dir / "faults.token"
    faults_token.write_text(TOKEN)

    def make(service: str, **changes: Any) -> Settings:
        defaults: dict[str, Any] = {
            "instance": f"{service}-1",
            "nats_url": nats_server.url,
            "nats_token_file": nats_server.token_file,
            "data_dir": shop_dir,
            "faults_token_file": faults_token,
            "pool_size": 16,
            "service_time_s": 0.0,
        }
        return Settings(service=service, **(defaults | changes))

    return make


@contextlib.asynccontextmanager
async def running(service: Service) -> AsyncIterator[Service]:
    """A service with its background work, ready."""
    async with service.app.router.lifespan_context(service.app):
        await eventually(lambda: not service.waits_for(), f"{service.settings.service} is ready")
        yield service


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    server = _Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started, "the mesh is served")
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@dataclass
class Shop:
    url: str
    services: dict[str, Service]
    client: httpx.AsyncClient

    async def put(self, user: str, **items: int) -> None:
        """Quantities by SKU with an underscore: `SKU_0001=2`."""
        for sku, quantity in items.items():
            path = f"/cart/carts/{user}/items/{sku.replace('_', '-')}"
            answer = await self.client.put(path, json={"quantity": quantity})
            assert answer.status_code == 200, answer.text

    async def order(self, user: str, key: str) -> httpx.Response:
        return await self.client.post("/checkout/orders", json={"user": user}, headers={"Idempotency-Key": key})

    async def on_hand(self, sku: str) -> int:
        answer = await self.client.get(f"/inventory/stock/{sku}")
        assert answer.status_code == 200, answer.text
        return int(answer.json()["on_hand"])

    async def charges(self, user: str) -> list[dict[str, Any]]:
        """A user's rows of payment's table."""
        import aiosqlite

        path = self.services["payment"].settings.data_dir / "payment.sqlite"
        async with aiosqlite.connect(path) as connection:
            connection.row_factory = aiosqlite.Row
            return [
                dict(row) for row in await connection.execute_fetchall("SELECT * FROM charges WHERE user = ?", [user])
            ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(settings: Callable[..., Settings]) -> AsyncIterator[Shop]:
    """
    One for all tests of a file, so each uses users, keys and products of its own, and ends the faults that it sets.

    Tests that use it run in its event loop: `pytestmark = pytest.mark.asyncio(loop_scope="module")`.
    """
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    services = {name: module.build(settings(name, mesh_url=url)) for name, module in MODULES.items()}
    mesh = Starlette(routes=[Mount(f"/{name}", app=service.app) for name, service in services.items()])

    async with contextlib.AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(running(service)) for service in services.values()))
        await stack.enter_async_context(served(mesh, listener))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False))
        yield Shop(url=url, services=services, client=client)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Awaitable[Any]]:
    return eventually


@pytest.fixture(name="free_port")
def free_port_fixture() -> Callable[[], int]:
    return free_port


@pytest.fixture(name="running")
def running_fixture() -> Callable[[Service], contextlib.AbstractAsyncContextManager[Service]]:
    return running


@pytest.fixture(name="served")
def served_fixture() -> Callable[[Any, socket.socket], contextlib.AbstractAsyncContextManager[None]]:
    return served
