"""
Die with the parent: how a crash of the supervisor leaves no process behind.

`python -m steersman.runtime.lifeline -- PROGRAM ARGS` becomes PROGRAM, having asked the kernel to kill it when its
parent goes. The request survives the exec (prctl(2), PR_SET_PDEATHSIG) unless PROGRAM is set-user-id. It is tied to
the parent's *thread*, so spawn from the main thread only. Where there is no such call (macOS), the launcher stays and
watches instead.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PARENT_POLL_S = 0.5  # only where the kernel cannot tell us


def command(argv: list[str]) -> list[str]:
    """`argv`, wrapped so that it dies with the process that starts it."""
    return [sys.executable, "-m", "steersman.runtime.lifeline", str(os.getpid()), "--", *argv]


def _tie_to_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def _watch(argv: list[str], parent: int) -> int:
    child = subprocess.Popen(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: child.send_signal(received))
    while child.poll() is None:
        if os.getppid() != parent:
            child.kill()
        time.sleep(PARENT_POLL_S)
    return child.returncode


def main() -> int:
    parent, separator, *argv = sys.argv[1:]
    if separator != "--" or not argv:
        raise SystemExit("usage: python -m steersman.runtime.lifeline PARENT_PID -- PROGRAM [ARGS]")
    if sys.platform != "linux":
        return _watch(argv, int(parent))
    _tie_to_parent()
    if os.getppid() != int(parent):
        return 1  # the parent died before the request took hold
    try:
        os.execvp(argv[0], argv)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        print(f"cannot run {argv[0]}: {error.strerror}", file=sys.stderr)
        return 127  # what a shell says of a command not found


if __name__ == "__main__":
    raise SystemExit(main())
