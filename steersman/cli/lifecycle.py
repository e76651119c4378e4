"""`up`, `down` and `doctor`: the life of a stack."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import typer
from rich.console import Console

from steersman.errors import StackError
from steersman.runtime.paths import DataDir
from steersman.stack.services import shop_services_file
from steersman.stack.settings import EMBEDDED, Settings
from steersman.stack.state import StackState, process_is, require_state

DOWN_DEADLINE_S = 45.0  # the sum of what the ordered stop may take, and some
GONE_POLL_S = 0.1


def settings_for(
    data_dir: Path, port_offset: int, services: Path | None, *, load: bool = True, backend: str = EMBEDDED
) -> Settings:
    """
    Raises:
        typer.BadParameter: the offset moves a port out of range.
    """
    settings = Settings(
        data_dir=DataDir.at(data_dir),
        port_offset=port_offset,
        services_file=services.expanduser().resolve() if services else shop_services_file(),
        load=load,
        backend=backend,
    )
    try:
        _ = settings.ports
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--port-offset") from error
    return settings


def run_up(data_dir: Path, port_offset: int, services: Path | None, *, load: bool, backend: str) -> None:
    from steersman.stack.stack import run_stack

    settings = settings_for(data_dir, port_offset, services, load=load, backend=backend)
    asyncio.run(run_stack(settings, Console()))


def run_down(data_dir: Path) -> None:
    state = require_state(DataDir.at(data_dir))
    began = time.monotonic()
    count = stop_stack(state)
    print(f"stopped {count} processes in {time.monotonic() - began:.1f} s; nothing is left running")


def stop_stack(state: StackState) -> int:
    """
    Ask the supervisor to stop everything and wait until all of it is gone; how many processes that were.

    Raises:
        StackError: the supervisor is not ours to stop, or a process outlived even SIGKILL.
    """
    family = family_of(state)
    try:
        os.kill(state.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise StackError(f"the supervisor, pid {state.pid}, belongs to another user") from error
    if not wait_gone(family, timeout_s=DOWN_DEADLINE_S):
        for pid, create_time in family:  # the supervisor is first; its children die with it
            if process_is(pid, create_time):
                os.kill(pid, signal.SIGKILL)
        if not wait_gone(family, timeout_s=5.0):
            raise StackError(f"still running: {', '.join(str(pid) for pid, began in family if process_is(pid, began))}")
    return len(family)


def family_of(state: StackState) -> list[tuple[int, float]]:
    """Pid and creation time of the supervisor, first, and of all that it started."""
    found = [(state.pid, state.create_time)]
    try:
        children = psutil.Process(state.pid).children(recursive=True)
    except psutil.Error:
        return found
    for child in children:
        try:
            found.append((child.pid, child.create_time()))
        except psutil.Error:  # ended meanwhile
            continue
    return found


def wait_gone(family: list[tuple[int, float]], *, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while any(process_is(pid, create_time) for pid, create_time in family):
        if time.monotonic() > deadline:
            return False
        time.sleep(GONE_POLL_S)
    return True


def run_doctor(data_dir: Path, port_offset: int, services: Path | None) -> None:
    from steersman.stack.preflight import examine

    verdicts = examine(settings_for(data_dir, port_offset, services))
    console = Console(highlight=False)
    for verdict in verdicts:
        word, style = ("ok", "green") if verdict.ok else ("FAIL", "bold red") if verdict.blocks else ("warn", "yellow")
        console.print(f"[{style}]{word:>5}[/]  {verdict.subject}: ", end="")
        console.print(verdict.detail, markup=False, soft_wrap=True)
    if any(verdict.blocks and not verdict.ok for verdict in verdicts):
        raise typer.Exit(1)
