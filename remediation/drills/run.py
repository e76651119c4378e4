"""Runs one drill: polls the stack, feeds the engine, carries out what it decides, and always undoes the injection."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

from remediation.annotations import Annotator
from remediation.drills.breaker import Breaker
from remediation.drills.charts import AFTER_S, BEFORE_S, charts
from remediation.drills.command import EndTheInjection, Inject
from remediation.drills.definition import Definition
from remediation.drills.disturbances import SetLoad
from remediation.drills.endpoints import Endpoints
from remediation.drills.engine import Engine
from remediation.drills.errors import DrillError
from remediation.drills.live import LIVE_FILE, LiveReport
from remediation.drills.lock import LOCK_FILE, DrillLock
from remediation.drills.reach import require_reach
from remediation.drills.report import Report, report_of
from remediation.drills.undo import Undo

# Rules are evaluated and metrics scraped every second; four looks in that time keep the error of a measured time small.
POLL_S = 0.25

Watcher = Callable[[Engine, float], None]  # called after each step, with the engine's time


class DrillRun:
    """
    One run. `interrupt` may be called from a signal handler of the same event loop: the first call ends the drill with
    its rollback, a second one gives up the rollback too, and leaves it to the TTLs and to the next drill.
    """

    def __init__(self, definition: Definition, stack: Breaker, lock: DrillLock, *, keep_going: bool = False) -> None:
        self.engine = Engine(definition, keep_going=keep_going)
        self._stack = stack
        self._lock = lock
        self._undo: list[Undo] = []
        self._until_unix_s = 0.0  # when all that is in force has ended by its TTL
        self._interrupted = asyncio.Event()
        self._interruption = ""
        self._rolling_back: asyncio.Task[None] | None = None
        self.began = (0, 0.0)  # Unix milliseconds, and the engine's clock

    def interrupt(self, why: str) -> None:
        if self._interrupted.is_set() and self._rolling_back is not None:
            self._rolling_back.cancel()
        self._interruption = why
        self._interrupted.set()

    async def run(self, watcher: Watcher) -> Report:
        """
        Raises:
            DrillError: what an earlier, killed drill has broken could not be undone. Nothing was injected.
        """
        for undo in self._lock.left_behind:
            await self._stack.undo(undo)
        started_at_unix_ms, started = self.began = time.time_ns() // 1_000_000, time.monotonic()
        self.engine.begin(started)
        for undo in self._lock.left_behind:
            self.engine.timeline.add(started, "inject", "left by a killed drill", undo.words)
        try:
            await self._until_done(watcher)
        except Exception as error:
            self.engine.abort(f"the drill broke: {type(error).__name__}: {error}", time.monotonic())
            if not isinstance(error, DrillError):
                raise
        finally:
            self._rolling_back = asyncio.create_task(self._roll_back())
            await asyncio.wait([self._rolling_back])
            if self._rolling_back.cancelled():
                self._lock.keep_note()
                self.engine.abort("interrupted again: the injection was left to end by its TTL", time.monotonic())
            else:
                self._rolling_back.result()
            watcher(self.engine, time.monotonic())
        return report_of(self.engine, started_at_unix_ms, started, time.monotonic())

    async def _until_done(self, watcher: Watcher) -> None:
        while not self.engine.done:
            polled_at = time.monotonic()
            seen = await self._stack.observe(self.engine.queries(), with_pids=self.engine.needs_pids)
            command = self.engine.observe(seen, time.monotonic())
            if isinstance(command, Inject):
                await self._inject(command)
            elif isinstance(command, EndTheInjection):
                ended = time.monotonic()
                self.engine.ended(ended, await self._take_back())
            if self._interrupted.is_set():
                self.engine.abort(self._interruption, time.monotonic())
            watcher(self.engine, time.monotonic())
            if not self.engine.done:
                await self._pause(polled_at + POLL_S)

    async def _pause(self, until: float) -> None:
        """Until the next poll is due, or the drill is interrupted."""
        try:
            await asyncio.wait_for(self._interrupted.wait(), max(0.0, until - time.monotonic()))
        except TimeoutError:
            return

    async def _inject(self, command: Inject) -> None:
        # A load that changes again is undone to what was before its first change.
        known = {journey for undo in self._undo for journey in undo.rates}
        new = [one for one in command.disturbances if not (isinstance(one, SetLoad) and one.journey in known)]
        undo = [*self._undo, *await self._stack.undo_of(new)]
        self._until_unix_s = max(self._until_unix_s, time.time() + max(one.ttl_s for one in command.disturbances))
        self._lock.remember(undo, self._until_unix_s)
        self._undo = undo  # from here on, whatever happens, `_roll_back` undoes it
        injected = time.monotonic()
        details = [await self._stack.inject(one) for one in command.disturbances]
        self.engine.injected(injected, details)

    async def _take_back(self) -> list[str]:
        details = []
        while self._undo:
            details.append(await self._stack.undo(self._undo[-1]))
            self._undo.pop()
        self._lock.remember([], 0)
        return details

    async def _roll_back(self) -> None:
        """Undo what is still in force. All of it is tried; what cannot be undone is named, and ends by its TTL."""
        for undo in reversed(self._undo):
            now = time.monotonic()
            try:
                self.engine.timeline.add(now, "inject", "rolled back", await self._stack.undo(undo))
            except DrillError as error:
                self._lock.keep_note()
                self.engine.abort(f"could not undo the injection, which now ends by its TTL: {error}", now)


async def run_drill(
    definition: Definition,
    endpoints: Endpoints,
    *,
    keep_going: bool = False,
    watcher: Watcher = lambda _engine, _now: None,
) -> Report:
    """
    Run it to its verdict. SIGINT and SIGTERM end it as FAIL, after the rollback.

    Raises:
        DrillError: it could not be run at all; nothing was broken.
    """
    require_reach(definition, endpoints)
    with DrillLock(endpoints.data_dir.drills / LOCK_FILE, definition.name) as lock:
        async with Breaker(endpoints) as stack:
            await stack.check()
            run = DrillRun(definition, stack, lock, keep_going=keep_going)
            live = LiveReport(endpoints.data_dir.drills / LIVE_FILE, lambda: run.began)
            with _signals_to(run), closing(live):
                report = await run.run(_both(live, watcher))
            report = await _with_charts(report, run.engine, stack)
    _mark(endpoints, report)
    return report


def _both(first: Watcher, second: Watcher) -> Watcher:
    def watch(engine: Engine, now: float) -> None:
        first(engine, now)
        second(engine, now)

    return watch


async def _with_charts(report: Report, engine: Engine, stack: Breaker) -> Report:
    zero_s = (report.injected_at_unix_ms or report.started_at_unix_ms) / 1000
    end_s = report.started_at_unix_ms / 1000 + report.duration_s + AFTER_S
    asked = [
        chart.model_copy(update={"promql": engine.put_variables(chart.promql)}) for chart in charts(engine.definition)
    ]
    # Not later than now: what has not been yet is no part of the picture.
    drawn = await stack.drawn(asked, start_s=zero_s - BEFORE_S, end_s=min(end_s, time.time()), zero_s=zero_s)
    return report.model_copy(update={"charts": drawn})


def _mark(endpoints: Endpoints, report: Report) -> None:
    """The drill and its injection on the dashboards. A stack without dashboards is none the worse."""
    try:
        annotator = Annotator(endpoints.dashboards, endpoints.token("dashboards"))
    except DrillError:
        return
    began = report.injected_at_unix_ms or report.started_at_unix_ms
    ended = report.injection_ended_at_unix_ms or began
    annotator.mark(
        f"drill {report.drill}: {report.verdict}", "drill", report.service, start_unix_ms=began, end_unix_ms=ended
    )
    annotator.close()


def _signals_to(run: DrillRun) -> ExitStack:
    loop = asyncio.get_running_loop()
    handlers = ExitStack()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, run.interrupt, f"interrupted by {number.name}")
        handlers.callback(loop.remove_signal_handler, number)
    return handlers
