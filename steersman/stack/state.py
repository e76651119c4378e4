"""Who runs the stack of a data directory: a lock that dies with its holder, and a file that says more."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

from steersman.errors import AlreadyRunningError, NotRunningError
from steersman.orchestrator.files import replace_file
from steersman.runtime.paths import DataDir
from steersman.runtime.ports import Ports

# Linux computes a process's start from boot time and clock ticks of 10 ms; two readings may differ by a tick or two.
CREATE_TIME_TOLERANCE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    pid: int  # of the supervisor
    create_time: float  # of that process, Unix seconds: tells it from a later one with the same pid
    phase: str  # starting, ready, stopping
    port_offset: int
    started_at_unix_ms: int
    data_dir: str
    load: bool
    backend: str = "embedded"

    @property
    def ports(self) -> Ports:
        return Ports.at(self.port_offset)

    def alive(self) -> bool:
        return process_is(self.pid, self.create_time)


def process_is(pid: int, create_time: float) -> bool:
    """Whether `pid` runs and is the process that began at `create_time`; a zombie does not run."""
    try:
        process = psutil.Process(pid)
        began = process.create_time()
        running = process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    return running and abs(began - create_time) < CREATE_TIME_TOLERANCE_S


def state_file(data_dir: DataDir) -> Path:
    return data_dir.run / "stack.json"


def own_state(data_dir: DataDir, *, phase: str, port_offset: int, load: bool, backend: str) -> StackState:
    return StackState(
        pid=os.getpid(),
        create_time=psutil.Process().create_time(),
        phase=phase,
        port_offset=port_offset,
        started_at_unix_ms=time.time_ns() // 1_000_000,
        data_dir=str(data_dir.root),
        load=load,
        backend=backend,
    )


def write_state(data_dir: DataDir, state: StackState) -> None:
    replace_file(state_file(data_dir), json.dumps(asdict(state), indent=1) + "\n")


def read_state(data_dir: DataDir) -> StackState | None:
    """The stack that runs now; None if there is none, also when a crashed one left its file."""
    try:
        state = StackState(**json.loads(state_file(data_dir).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return state if state.alive() else None


def require_state(data_dir: DataDir) -> StackState:
    """
    Raises:
        NotRunningError
    """
    state = read_state(data_dir)
    if state is None:
        raise NotRunningError(f"no stack runs in {data_dir.root}; start one with `steersman up`")
    return state


@contextlib.contextmanager
def claim(data_dir: DataDir) -> Iterator[None]:
    """
    Hold the data directory; the kernel lets go of it when we die, however we die.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    data_dir.run.mkdir(parents=True, exist_ok=True)
    with (data_dir.run / "stack.lock").open("a") as lock:
        _take(lock, data_dir)
        try:
            yield
        finally:
            state_file(data_dir).unlink(missing_ok=True)


def _take(lock: IO[str], data_dir: DataDir) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        state = read_state(data_dir)
        holder = f"pid {state.pid}, {state.phase}" if state else "it is just starting or stopping"
        raise AlreadyRunningError(
            f"a stack already runs in {data_dir.root} ({holder}); `steersman down` stops it, --data-dir starts another"
        ) from error
