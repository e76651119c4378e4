"""`steersman demo`: from nothing to a graded drill and back to nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from steersman.cli.handover import drill_environment
from steersman.cli.lifecycle import family_of, settings_for, stop_stack, wait_gone
from steersman.errors import AlreadyRunningError, StackError, StartError
from steersman.runtime import lifeline
from steersman.runtime.paths import DEFAULT_DATA_DIR, DataDir
from steersman.stack.preflight import require_free_ports, taken_ports
from steersman.stack.settings import Settings
from steersman.stack.state import StackState, read_state

DEMO_DATA_DIR = (
    DEFAULT_DATA_DIR / "demo"
)  # emptied at each start: no cooldown or alert of the last demo plays into this
KEPT = {"drills"}  # the reports of earlier demos
READY_TIMEOUT_S = 90.0  # the stack gives up by itself before that, and says why
POLL_S = 0.1
GONE_TIMEOUT_S = 10.0


def run_demo(data_dir: Path | None, port_offset: int, drill: str, backend: str) -> None:
    """Exits with the drill's code; with 1 also if anything is left running."""
    settings = settings_for(data_dir or DEMO_DATA_DIR, port_offset, None, backend=backend)
    where = settings.data_dir
    if state := read_state(where):
        raise AlreadyRunningError(f"a stack already runs in {where.root} (pid {state.pid}); `steersman down` stops it")
    require_free_ports(settings.listening_ports)
    if data_dir is None:
        _empty(where)
    with _stack(settings) as state:
        code = _drill(where, state, drill)
    _require_nothing_left(settings)
    print("demo: stopped cleanly, nothing is left running", flush=True)
    raise SystemExit(code)


def _empty(where: DataDir) -> None:
    for path in where.root.iterdir() if where.root.is_dir() else ():
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextlib.contextmanager
def _stack(settings: Settings) -> Iterator[StackState]:
    """The stack, ready; gone afterwards, whatever happened meanwhile."""
    argv = [sys.executable, "-m", "steersman", "up", "--data-dir", str(settings.data_dir.root)]
    argv += ["--port-offset", str(settings.port_offset), "--backend", settings.backend]
    child = subprocess.Popen(
        lifeline.command(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    output = _Output(child)
    try:
        yield _wait_ready(settings.data_dir, child, output)
    finally:
        _stop(settings.data_dir, child, output)


class _Output:
    """What the child says, read at all times so that it never waits for us; printed while `shown`."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.shown = True
        self.last = ""
        self._child = child
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._child.stdout or ():
            self.last = line.strip() or self.last
            if self.shown:
                print(line, end="", flush=True)

    def join(self) -> None:
        self._thread.join(timeout=2.0)


def _wait_ready(where: DataDir, child: subprocess.Popen[str], output: _Output) -> StackState:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while child.poll() is None and time.monotonic() < deadline:
        state = read_state(where)
        if state is not None and state.phase == "ready":
            output.shown = False
            return state
        time.sleep(POLL_S)
    output.join()
    raise StartError(f"the stack did not become ready: {output.last}")


def _drill(where: DataDir, state: StackState, drill: str) -> int:
    os.environ.update(drill_environment(where, state))
    from remediation.drills.cli import app

    try:
        app(args=["run", drill], prog_name="steersman drill")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0


def _stop(where: DataDir, child: subprocess.Popen[str], output: _Output) -> None:
    output.shown = True
    state = read_state(where)
    if state is not None:
        family = family_of(state)
        stop_stack(state)
        if not wait_gone(family, timeout_s=GONE_TIMEOUT_S):
            raise StackError("the stack did not stop")
    elif child.poll() is None:
        child.terminate()
    try:
        child.wait(GONE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    output.join()
    if child.stdout:
        child.stdout.close()


def _require_nothing_left(settings: Settings) -> None:
    if holders := taken_ports(settings.listening_ports):
        raise StackError(f"left running: {'; '.join(map(str, holders))}")
