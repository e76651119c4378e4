"""A fleet of dummies behind a real Traefik with the stack's own configuration."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from steersman.orchestrator.fleet import Fleet
from steersman.orchestrator.gateway import Gateway
from steersman.orchestrator.probe import becomes_ready
from steersman.orchestrator.process import Command, RunningProcess
from steersman.orchestrator.releases import ReleaseFile
from steersman.orchestrator.service import ServiceSpec
from steersman.stack import parts
from steersman.stack.configuration import write_configuration
from steersman.stack.settings import Settings

StartFleet = Callable[..., AbstractAsyncContextManager[Fleet]]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
        yield client


@pytest.fixture
def start_fleet(settings: Settings, dummy: list[str], client: httpx.AsyncClient) -> StartFleet:
    """`async with start_fleet(desired=2) as fleet`: its one service, catalog, serves. `traefik=False`: no gateway."""

    def build(spec: ServiceSpec, instance: str, port: int) -> Command:
        command = parts.replica(settings, spec, instance, port)
        return dataclasses.replace(command, env=dict(command.env) | {"INSTANCE": instance})

    @asynccontextmanager
    async def start(
        *,
        desired: int = 1,
        maximum: int = 6,
        traefik: bool = True,
        command: list[str] = dummy,
        ready: bool = True,
        **more: Any,
    ) -> AsyncIterator[Fleet]:
        spec = ServiceSpec(
            name="catalog", command=tuple(command), minimum=1, maximum=maximum, desired=desired, public=True, **more
        )
        write_configuration(settings)
        gateway = Gateway(settings.routes_file, settings.urls.traefik, client)
        fleet = Fleet(
            [spec],
            build=build,
            ports=settings.replica_ports,
            gateway=gateway,
            targets=settings.targets,
            releases=ReleaseFile(settings.releases_file),
        )
        fleet.prepare()
        proxy = None
        if traefik:
            part = parts.traefik(settings)
            proxy = await RunningProcess.start(part.command)
            assert await becomes_ready(part.ready_port, part.ready_path, every_s=0.05, timeout_s=10.0)
        running = asyncio.create_task(fleet.run())
        try:
            if ready and traefik:
                assert await fleet.wait_serving(timeout_s=10.0) == []
            yield fleet
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await fleet.shut_down()
            if proxy:
                await proxy.stop(deadline_s=5.0)

    return start
