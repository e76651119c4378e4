"""Keeps processes running: starts them, starts them again when they die, and stops them for certain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field

from steersman.errors import StartError
from steersman.orchestrator import backoff
from steersman.orchestrator.logs import tail
from steersman.orchestrator.probe import becomes_ready
from steersman.orchestrator.process import RunningProcess
from steersman.stack.parts import Part

log = logging.getLogger("steersman.supervisor")

READY_POLL_S = 0.1
# At a first start three early deaths in a row are no accident: say why at once instead of trying until the timeout.
HOPELESS_DEATHS = 3


@dataclass(slots=True)
class _Kept:
    part: Part
    process: RunningProcess | None = None
    restarts: int = 0
    early_deaths: int = 0
    exit_code: int | None = None
    hopeless: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class KeptProcess:
    name: str
    pid: int
    restarts: int
    started_at_unix_ms: int


class Supervisor:
    """Runs on the main thread, as all that starts processes must (see `lifeline`)."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def start(self, part: Part) -> None:
        """Begin to keep it running; returns before it is ready."""
        kept = self._kept[part.name] = _Kept(part)
        kept.task = asyncio.create_task(self._keep(kept))

    async def wait_ready(self, name: str, *, timeout_s: float) -> None:
        """
        Raises:
            StartError: not ready in time, or it keeps dying; tells its last words.
        """
        kept = self._kept[name]
        part = kept.part
        probe = asyncio.create_task(
            becomes_ready(part.ready_port, part.ready_path, every_s=READY_POLL_S, timeout_s=timeout_s)
        )
        dying = asyncio.create_task(kept.hopeless.wait())
        try:
            await asyncio.wait([probe, dying], return_when=asyncio.FIRST_COMPLETED)
            if not (probe.done() and probe.result()):
                raise StartError(self._why(kept, timeout_s))
        finally:
            for task in (probe, dying):
                task.cancel()
            await asyncio.gather(probe, dying, return_exceptions=True)

    def _why(self, kept: _Kept, timeout_s: float) -> str:
        name, path = kept.part.name, kept.part.command.log
        reason = f"{name} was not ready after {timeout_s:.0f} s"
        if kept.hopeless.is_set():
            reason = f"{name} died {kept.early_deaths} times, exit code {kept.exit_code}"
        last = [line for line in tail(path, 20) if line.strip()]
        return f"{reason}; its last line: {last[-1].strip() if last else '(none)'} (log: {path})"

    def processes(self) -> list[KeptProcess]:
        """Those that run now."""
        return [
            KeptProcess(name, kept.process.pid, kept.restarts, kept.process.started_at_unix_ms)
            for name, kept in self._kept.items()
            if kept.process is not None and kept.process.exit_code is None
        ]

    async def stop(self, name: str) -> None:
        """End it and stop keeping it; returns when it is gone. No such part: nothing."""
        kept = self._kept.pop(name, None)
        if kept is None or kept.task is None:
            return
        kept.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await kept.task
        if kept.process is not None:
            code = await kept.process.stop(deadline_s=kept.part.stop_deadline_s)
            log.info("%s: stopped, exit code %d", name, code)

    async def _keep(self, kept: _Kept) -> None:
        name = kept.part.name
        while True:
            began = time.monotonic()
            try:
                kept.process = await self._started(kept.part)
            except OSError as error:
                log.error("%s: cannot start: %s", name, error)
            else:
                log.info("%s: started, pid %d", name, kept.process.pid)
                kept.exit_code = await kept.process.wait()
                kept.process = None
                log.warning("%s: died, exit code %d", name, kept.exit_code)
            kept.restarts += 1
            kept.early_deaths = backoff.early_deaths(kept.early_deaths, time.monotonic() - began)
            if kept.early_deaths >= HOPELESS_DEATHS:
                kept.hopeless.set()
            await asyncio.sleep(backoff.delay_s(kept.early_deaths))

    async def _started(self, part: Part) -> RunningProcess:
        """Shielded: a cancellation in the middle of a start must not lose the process."""
        starting = asyncio.ensure_future(RunningProcess.start(part.command))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            process = await starting
            process.kill()
            await process.wait()
            raise
