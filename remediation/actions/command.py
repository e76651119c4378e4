"""Runbook commands: no shell, a bounded time, a bounded output, nothing of our environment."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence

from remediation.actions.outcome import Outcome
from remediation.policy.actions import MAX_OUTPUT_BYTES

PATH = "/usr/local/bin:/usr/bin:/bin"


def run_command(argv: Sequence[str], *, key: str, timeout_s: float) -> Outcome:
    """
    Run to the end, or to the timeout, after which its whole process group is killed.

    Args:
        key: Given to the command as REMEDIATION_KEY, the same at every repetition.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": PATH, "LANG": "C.UTF-8", "REMEDIATION_KEY": key},
                start_new_session=True,
            )
        except OSError as error:
            return Outcome("failed", f"{argv[0]} could not be started: {error.strerror}")
        try:
            code: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
        said = _end_of(output.fileno())
    if code is None:
        return Outcome("failed", f"{argv[0]} was killed after {timeout_s:g} s", said)
    if code != 0:
        return Outcome("failed", f"{argv[0]} ended with {code}", said)
    return Outcome("done", f"{argv[0]} ended with 0", said)


def _end_of(descriptor: int) -> str:
    """The last MAX_OUTPUT_BYTES: what a command says at its end tells why it ended."""
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, MAX_OUTPUT_BYTES, max(0, size - MAX_OUTPUT_BYTES))
    cut = f"[{size - len(data)} bytes before this left out]\n" if size > len(data) else ""
    return cut + data.decode(errors="replace")
