"""`steersman up`: everything is started in a sensible order, kept up, shown, and stopped in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live

from steersman.errors import StartError
from steersman.orchestrator import logs
from steersman.orchestrator.api import create_app
from steersman.orchestrator.fleet import Fleet
from steersman.orchestrator.gateway import Gateway
from steersman.orchestrator.releases import ReleaseFile
from steersman.runtime.http import Listener, serve
from steersman.runtime.tokens import read_token
from steersman.stack import overview, parts, view
from steersman.stack.accounts import Accounts
from steersman.stack.configuration import write_configuration
from steersman.stack.drills import DrillLauncher
from steersman.stack.preflight import require_free_ports
from steersman.stack.services import load_services
from steersman.stack.settings import Settings
from steersman.stack.state import StackState, claim, own_state, write_state
from steersman.stack.supervisor import Supervisor

log = logging.getLogger("steersman.stack")

# Ready takes below 20 s on two free cores; on a machine that does other things too it may take three times that.
START_TIMEOUT_S = 60.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the last: the terminal is closed
LIVE_EVERY_S = 1.0
LINE_EVERY_S = 10.0
TRIM_LOGS_EVERY_S = 5.0


async def run_stack(settings: Settings, console: Console) -> None:
    """
    Run until SIGINT or SIGTERM; returns when every process is gone.

    Raises:
        SteersmanError: it could not start, or lost what it needs; everything is stopped again.
    """
    specs = load_services(settings.services_file)
    with claim(settings.data_dir):
        state = own_state(
            settings.data_dir,
            phase="starting",
            port_offset=settings.port_offset,
            load=settings.load,
            backend=settings.backend,
        )
        write_state(settings.data_dir, state)
        require_free_ports(settings.listening_ports)
        write_configuration(settings)
        logs.set_aside(settings.data_dir.logs)
        with _log_to(settings):
            async with httpx.AsyncClient(trust_env=False) as client:
                gateway = Gateway(settings.routes_file, settings.urls.traefik, client)
                fleet = Fleet(
                    specs,
                    build=lambda spec, instance, port: parts.replica(settings, spec, instance, port),
                    ports=settings.replica_ports,
                    gateway=gateway,
                    targets=settings.targets,
                    releases=ReleaseFile(settings.releases_file),
                )
                await Stack(settings, state, fleet, client, console).run()


class Stack:
    def __init__(
        self, settings: Settings, state: StackState, fleet: Fleet, client: httpx.AsyncClient, console: Console
    ) -> None:
        self._settings = settings
        self._state = state
        self._fleet = fleet
        self._client = client
        self._console = console
        self._supervisor = Supervisor()
        self._accounts = Accounts()
        self._drills = DrillLauncher(settings)
        self._stop = asyncio.Event()
        self._ground_laid = asyncio.Event()  # bus and gateway are ready for the replicas
        self._began = time.monotonic()

    async def run(self) -> None:
        with self._signals():
            work = (self._start_and_show(), self._keep_fleet(), self._serve(), self._trim_logs(), self._stopped())
            running = [asyncio.create_task(each) for each in work]
            try:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._stop.set()
                await self._shut_down(running)
            for task in done:
                task.result()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop.set)
        yield
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    # --- up ---

    async def _start_and_show(self) -> None:
        await self._start()
        self._enter("ready")
        self._say(f"ready after {time.monotonic() - self._began:.1f} s; Ctrl-C stops everything")
        self._console.print(view.urls_text(self._settings.urls, load=self._settings.load), soft_wrap=True)
        token_file = self._settings.data_dir.token_file("dashboards")
        self._console.print(view.sign_in_text(self._settings.urls, token_file), soft_wrap=True)
        if self._console.is_terminal:
            await self._live()
        else:
            await self._lines()

    async def _start(self) -> None:
        """The bus and the gateway first, for the others look for them at once; then all at the same time."""
        settings = self._settings
        self._fleet.prepare()
        ground = (parts.nats(settings), parts.traefik(settings), parts.collector(settings))
        backend = parts.backend(settings)
        for part in (*ground, *backend):
            self._supervisor.start(part)
        await asyncio.gather(self._ready("nats"), self._ready("traefik"))
        self._supervisor.start(parts.worker(settings))
        self._ground_laid.set()
        names = ("collector", "worker", *(part.name for part in backend))
        await asyncio.gather(*map(self._ready, names), self._shop_ready())
        last = [parts.viewer(settings), *([parts.load(settings)] if settings.load else [])]
        for part in last:
            self._supervisor.start(part)
        await asyncio.gather(*(self._ready(part.name) for part in last))

    async def _ready(self, name: str) -> None:
        await self._supervisor.wait_ready(name, timeout_s=self._time_left())
        self._say(f"{name} is ready")

    async def _shop_ready(self) -> None:
        if lacking := await self._fleet.wait_serving(timeout_s=self._time_left()):
            raise StartError(self._why_lacking(lacking))
        self._say(f"shop is ready: {', '.join(self._fleet.names)}")

    def _why_lacking(self, lacking: list[str]) -> str:
        folder = self._settings.data_dir.logs
        newest = max(folder.glob(f"{lacking[0]}-*.log"), default=None, key=lambda path: path.stat().st_mtime)
        last = [line for line in logs.tail(newest, 20) if line.strip()] if newest else []
        words = f"; last line of {newest}: {last[-1].strip()}" if last else ""
        return f"not ready after {START_TIMEOUT_S:.0f} s: {', '.join(lacking)}{words}"

    def _time_left(self) -> float:
        return max(1.0, START_TIMEOUT_S - (time.monotonic() - self._began))

    async def _keep_fleet(self) -> None:
        await self._ground_laid.wait()
        await self._fleet.run()

    async def _stopped(self) -> None:
        await self._stop.wait()

    async def _serve(self) -> None:
        settings = self._settings
        token = read_token(settings.data_dir.token_file("orchestrator"))
        drills = self._drills.router(read_token(settings.data_dir.token_file("drills")))
        app = create_app(self._fleet, token=token, processes=self._processes, more=[drills])
        await serve([Listener(app, settings.ports.orchestrator)], stop=self._stop)

    def _processes(self) -> list[dict[str, Any]]:
        return self._accounts.of([*self._supervisor.processes(), *self._fleet.processes()])

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(TRIM_LOGS_EVERY_S)
            logs.trim(self._settings.data_dir.logs)

    # --- shown ---

    async def _live(self) -> None:
        with Live(console=self._console, auto_refresh=False) as live:
            while True:
                now = await overview.take(self._client, self._settings.urls)
                live.update(view.render(now, self._settings.urls, load=self._settings.load), refresh=True)
                await asyncio.sleep(LIVE_EVERY_S)

    async def _lines(self) -> None:
        while True:
            now = await overview.take(self._client, self._settings.urls)
            self._say(view.one_line(now))
            await asyncio.sleep(LINE_EVERY_S)

    def _say(self, text: str) -> None:
        log.info(text)
        line = f"{time.monotonic() - self._began:6.1f} s  {text}"
        with contextlib.suppress(OSError):  # the terminal may be gone; the ordered stop goes on
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _enter(self, phase: str) -> None:
        self._state = dataclasses.replace(self._state, phase=phase)
        write_state(self._settings.data_dir, self._state)

    # --- down ---

    async def _shut_down(self, running: list[asyncio.Task[None]]) -> None:
        began = time.monotonic()
        self._enter("stopping")
        self._say("stopping")
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        with _deaf_to_signals():
            await self._drills.close()
            await self._supervisor.stop("load")
            await asyncio.gather(self._fleet.shut_down(), *map(self._supervisor.stop, ("worker", "viewer")))
            await asyncio.gather(*map(self._supervisor.stop, ("prometheus", "alertmanager", "collector")))
            for name in ("traefik", "nats"):
                await self._supervisor.stop(name)
        self._say(f"stopped in {time.monotonic() - began:.1f} s")


@contextlib.contextmanager
def _deaf_to_signals() -> Iterator[None]:
    """A second Ctrl-C must not leave the ordered stop half done; each part's end has a deadline of its own."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, lambda: None)
    yield


@contextlib.contextmanager
def _log_to(settings: Settings) -> Iterator[None]:
    """What the supervisor does goes to logs/supervisor.log; warnings of libraries too."""
    handler = logging.FileHandler(settings.data_dir.logs / "supervisor.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root, own = logging.getLogger(), logging.getLogger("steersman")
    root.addHandler(handler)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
