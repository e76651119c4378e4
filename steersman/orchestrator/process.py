"""One child process: started so that it cannot outlive us, its output in a bounded log, stopped for certain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from asyncio import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from steersman.orchestrator.logs import open_log
from steersman.runtime import lifeline

KILL_WAIT_S = 5.0  # SIGKILL takes effect at once, unless the process hangs in the kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]  # the whole environment, nothing is inherited
    cwd: Path
    log: Path


class RunningProcess:
    """A child in a process group of its own, so that a Ctrl-C at the terminal reaches the supervisor alone."""

    def __init__(self, command: Command, process: subprocess.Process) -> None:
        self.command = command
        self.pid = process.pid
        self.started_at_unix_ms = time.time_ns() // 1_000_000
        self._process = process
        self._asked = False

    @classmethod
    async def start(cls, command: Command) -> RunningProcess:
        """
        Start it, from the main thread only: see `lifeline`.

        Raises:
            OSError: the system has no process or no file handle left.
        """
        with open_log(command.log) as log:
            process = await asyncio.create_subprocess_exec(
                *lifeline.command(list(command.argv)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(command.env),
                cwd=command.cwd,
                start_new_session=True,
            )
        return cls(command, process)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        code = await self._process.wait()
        self._signal_group(signal.SIGKILL)  # what it started itself and left behind
        return code

    def ask_to_stop(self) -> None:
        """SIGTERM, once: to some a second one means that they shall not even clean up."""
        if self.exit_code is None and not self._asked:
            self._asked = True
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal_group(signal.SIGKILL)

    async def stop(self, *, deadline_s: float) -> int:
        """SIGTERM, SIGKILL after `deadline_s`; returns the exit code."""
        self.ask_to_stop()
        try:
            return await asyncio.wait_for(self.wait(), deadline_s)
        except TimeoutError:
            self.kill()
            return await asyncio.wait_for(self.wait(), KILL_WAIT_S)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
