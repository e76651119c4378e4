"""
Taking resources away: from one process of the stack, its memory or its file handles; from the machine, its processors.

A process that may open nothing takes no new connection, so to its callers its port is blocked; one at its limit of
memory fails where it asks for more. Limits need no rights beyond those over one's own processes (prlimit), and
come back by a watchdog (`python -m remediation.drills.exhaustion restore …`) that outlives a drill that is killed. What
burns processor time (`… burn SECONDS CORES`) counts its own time to live.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from typing import Literal

from remediation.drills.errors import RefusedError
from remediation.drills.processes import SAME_CREATE_TIME_S

Resource = Literal["memory", "connections"]
_LIMITS = {"memory": resource.RLIMIT_AS, "connections": resource.RLIMIT_NOFILE}
MEMORY_LEFT_BYTES = 1 << 20  # below what any request needs, above what an answer to a signal does
POLL_S = 0.5


def tighten(pid: int, created: float, what: Resource, ttl_s: float) -> int:
    """
    Leave the process what it has, and nothing more, once the watchdog that gives it back stands. Returns the limit
    before.

    Raises:
        RefusedError: it has gone, or the watchdog did not start.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        # What is open stays open under any limit; above 0, each connection that ends would make room for a new one.
        left = process.memory_info().vms + MEMORY_LEFT_BYTES if what == "memory" else 0
    except psutil.NoSuchProcess as error:
        raise RefusedError(f"process {pid} has gone") from error
    soft, hard = resource.prlimit(pid, _LIMITS[what])
    _start("restore", str(pid), repr(created), what, str(soft), repr(ttl_s))
    resource.prlimit(pid, _LIMITS[what], (left, hard))
    return soft


def restore(pid: int, created: float, what: str, soft: int) -> bool:
    """Give back what `tighten` took; False if that process has gone. Idempotent."""
    import psutil

    try:
        if abs(psutil.Process(pid).create_time() - created) > SAME_CREATE_TIME_S:
            return False
        _, hard = resource.prlimit(pid, _LIMITS[what])
        resource.prlimit(pid, _LIMITS[what], (soft, hard))
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return True


def limit_of(pid: int, what: Resource) -> int:
    """
    Raises:
        RefusedError: it has gone.
    """
    try:
        return resource.prlimit(pid, _LIMITS[what])[0]
    except ProcessLookupError as error:
        raise RefusedError(f"process {pid} has gone") from error


def lay_fire(cores: int, ttl_s: float) -> tuple[int, float]:
    """
    A process that will keep so many processors busy once it is told to by `ignite`, and ends by its time to live.
    Returns its id, and when it was created.
    """
    import psutil

    pid = _start("burn", repr(ttl_s), str(cores))
    return pid, psutil.Process(pid).create_time()


def ignite(pid: int) -> None:
    """
    Raises:
        RefusedError: it has gone.
    """
    try:
        os.kill(pid, signal.SIGUSR1)
    except ProcessLookupError as error:
        raise RefusedError(f"process {pid} has gone") from error


def quench(pid: int, created: float) -> bool:
    """End what `lay_fire` began; False if it has ended by itself."""
    import psutil

    try:
        if abs(psutil.Process(pid).create_time() - created) > SAME_CREATE_TIME_S:
            return False
        os.killpg(pid, signal.SIGKILL)  # it leads a group of its own
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return True


def _start(*arguments: str) -> int:
    command = [sys.executable, "-m", "remediation.drills.exhaustion", *arguments]
    quiet = subprocess.DEVNULL
    # A session of its own: the Ctrl-C that ends the drill does not end it.
    started = subprocess.Popen(
        command, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet, start_new_session=True, text=True
    )
    assert started.stdout is not None  # noqa: S101  (a pipe, as asked)
    with started.stdout as said:
        if said.readline() != "watching\n":
            raise RefusedError(f"the watchdog did not start; nothing was exhausted: {' '.join(arguments)}")
    started.returncode = 0  # it is on its own; without this the interpreter would complain of a child still running
    return started.pid


def _watch(pid: int, created: float, what: str, soft: int, ttl_s: float) -> None:
    """Until the time to live is over, or the drill has given it back, or the process has gone."""
    deadline, began = time.monotonic() + ttl_s, time.monotonic()
    while (now := time.monotonic()) < deadline:
        try:
            given_back = resource.prlimit(pid, _LIMITS[what])[0] == soft
        except ProcessLookupError:
            return
        if given_back and now - began > 2.0:  # it is taken right after the watchdog's word
            return
        time.sleep(min(POLL_S, max(0.0, deadline - now)))
    restore(pid, created, what, soft)


def _spin(until: float) -> None:
    while time.monotonic() < until:
        sum(range(100_000))


def _burn(ttl_s: float, cores: int) -> None:
    until = time.monotonic() + ttl_s
    if signal.sigtimedwait({signal.SIGUSR1}, ttl_s) is None:
        return
    fork = multiprocessing.get_context("fork")
    burning = [fork.Process(target=_spin, args=(until,), daemon=True) for _ in range(cores)]
    for each in burning:
        each.start()
    for each in burning:
        each.join()


def main(arguments: list[str]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # it is waited for
    print("watching", flush=True)
    sys.stdout.close()
    if arguments[0] == "burn":
        _burn(float(arguments[1]), int(arguments[2]))
    else:
        pid, created, what, soft, ttl_s = arguments[1:]
        _watch(int(pid), float(created), what, int(soft), float(ttl_s))


if __name__ == "__main__":
    main(sys.argv[1:])
