"""
Killing and freezing processes of the stack on this machine, and nothing else's.

Only what stands below the stack's supervisor is touched, so a stale or forged process id does no harm. A freeze has a
time to live: a small process of its own (`python -m remediation.drills.processes PID CREATE_TIME SECONDS`) outlives a
drill that is killed, and lets the frozen go on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from remediation.drills.errors import RefusedError

# psutil's create times are of the kernel's clock ticks, hundredths of a second.
SAME_CREATE_TIME_S = 0.05


def kill(pid: int, supervisor: int) -> None:
    """
    SIGKILL.

    Raises:
        RefusedError: no such process, or not one of the stack's.
    """
    _require_below(pid, supervisor)
    os.kill(pid, signal.SIGKILL)


def create_time(pid: int, supervisor: int) -> float:
    """
    When the process was created, which with its id names it for good.

    Raises:
        RefusedError: no such process, or not one of the stack's.
    """
    import psutil

    _require_below(pid, supervisor)
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess as error:
        raise RefusedError(f"process {pid} has gone") from error


def freeze(pid: int, created: float, ttl_s: float) -> None:
    """SIGSTOP, once the watchdog that ends it stands."""
    command = [sys.executable, "-m", "remediation.drills.processes", str(pid), repr(created), repr(ttl_s)]
    quiet = subprocess.DEVNULL
    # A session of its own: the Ctrl-C that ends the drill does not end the watchdog.
    watchdog = subprocess.Popen(
        command, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet, start_new_session=True, text=True
    )
    assert watchdog.stdout is not None  # noqa: S101  (a pipe, as asked)
    with watchdog.stdout as said:
        if said.readline() != "watching\n":
            raise RefusedError(f"the watchdog of process {pid} did not start; nothing was frozen")
    watchdog.returncode = 0  # it is on its own; without this the interpreter would complain of a child still running
    os.kill(pid, signal.SIGSTOP)


def thaw(pid: int, created: float) -> bool:
    """SIGCONT; False if that process has gone. Idempotent."""
    import psutil

    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - created) > SAME_CREATE_TIME_S:
            return False
        process.send_signal(signal.SIGCONT)
    except psutil.NoSuchProcess:
        return False
    return True


def _require_below(pid: int, supervisor: int) -> None:
    import psutil

    try:
        above = {parent.pid for parent in psutil.Process(pid).parents()}
    except psutil.NoSuchProcess as error:
        raise RefusedError(f"process {pid} has gone") from error
    if supervisor not in above:
        raise RefusedError(f"process {pid} is not below the stack's supervisor {supervisor} on this machine")


def _watch(pid: int, created: float, ttl_s: float) -> None:
    print("watching", flush=True)
    sys.stdout.close()
    deadline = time.monotonic() + ttl_s
    while time.monotonic() < deadline:
        if not _is_stopped_or_starting(pid, created, deadline - ttl_s):
            return  # thawed by the drill, or gone
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
    thaw(pid, created)


def _is_stopped_or_starting(pid: int, created: float, began: float) -> bool:
    import psutil

    if time.monotonic() - began < 2.0:  # SIGSTOP comes right after the watchdog's word
        return True
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) <= SAME_CREATE_TIME_S and process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    _watch(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
