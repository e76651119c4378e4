"""A stack for one measurement: started on free ports in a folder of its own, gone with it afterwards."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stacks.checkout import CHECKOUT
from steersman.runtime import lifeline
from steersman.runtime.paths import DataDir
from steersman.runtime.ports import Ports
from steersman.stack.settings import EMBEDDED
from steersman.stack.state import StackState, read_state

READY_WITHIN_S = 120.0  # six times the aim; a machine that cannot do it in this time has no figures worth printing
STOPPED_WITHIN_S = 60.0
POLL_S = 0.2
PORTS_TRIED = range(5000, 30000, 500)


class NotReadyError(SystemExit):
    """The stack did not start; its last words. It ends whoever does not want to go on without."""


@contextlib.contextmanager
def own_stack(port_offset: int | None = None, *, code: Path = CHECKOUT, backend: str = EMBEDDED) -> Iterator[DataDir]:
    """
    The data directory of a stack that is ready.

    Args:
        port_offset: The first of `PORTS_TRIED` at which the ports are free, if not given.
        code: What is run: this checkout, or a copy of it.

    Raises:
        NotReadyError: it does not become ready.
    """
    offset = free_offset() if port_offset is None else port_offset
    with tempfile.TemporaryDirectory(prefix="steersman-bench-", ignore_cleanup_errors=True) as folder:
        data_dir = DataDir.at(Path(folder) / "data")
        argv = [sys.executable, "-m", "steersman", "up", "--data-dir", str(data_dir.root)]
        argv += ["--port-offset", str(offset), "--backend", backend]
        with (Path(folder) / "up.log").open("w+b") as log:
            process = subprocess.Popen(
                lifeline.command(argv),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=code,  # `python -m` looks there first
                env=environment(code),
            )
            try:
                began = time.monotonic()
                _wait_ready(data_dir, process, Path(log.name))
                print(f"ready after {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
                yield data_dir
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOPPED_WITHIN_S)
                process.kill()
                process.wait()


def environment(code: Path) -> dict[str, str]:
    """For a process whose code is that of `code`, and for all that it starts."""
    return {**os.environ, "PYTHONPATH": str(code), "NO_COLOR": "1"}


def running_state(data_dir: DataDir) -> StackState:
    state = read_state(data_dir)
    if state is None:
        raise SystemExit(f"no stack runs in {data_dir.root}; without --data-dir one is started")
    return state


def free_offset() -> int:
    for offset in PORTS_TRIED:
        ports = Ports.at(offset)
        try:
            for port in (ports.prometheus, ports.nats, ports.remediation, ports.gateway, ports.otlp_http):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return offset
    raise SystemExit(f"no free ports at offsets {PORTS_TRIED.start} to {PORTS_TRIED.stop}")


def _wait_ready(data_dir: DataDir, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        state = read_state(data_dir)
        if state is not None and state.phase == "ready":
            return
        time.sleep(POLL_S)
    raise NotReadyError(f"the stack did not become ready:\n{log.read_text(errors='replace')[-2000:]}")
