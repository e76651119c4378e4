"""A server as a process on a free port of this machine: started, waited for, measured, stopped. Linux only (/proc)."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from steersman.runtime import lifeline

READY_WITHIN_S = 180.0  # a restart on a full log counts too
STOPPED_WITHIN_S = 60.0
READY_POLL_S = 0.02
SETTLE_WITHIN_S = 60.0
SETTLE_WINDOW_S = 2.0
SETTLED_CPU = 0.1  # of one core, over a window
_KIB = 1024


class ServerError(Exception):
    """A server did not start, or died."""


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_s: float  # since the start
    rss_bytes: int
    anonymous_bytes: int  # without pages of mapped files, which the kernel may take back
    peak_bytes: int  # of the resident set, since `forget_peak`


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A running program. Spawn from the main thread: the program dies with the thread that started it."""

    def __init__(self, name: str, argv: Sequence[str], *, port: int, log: Path) -> None:
        self.name = name
        self.port = port
        self._log = log
        self.started_s = 0.0  # from the start until it was ready
        self._began = time.perf_counter()
        with log.open("ab") as output:
            self._popen = subprocess.Popen(lifeline.command(list(argv)), stdout=output, stderr=subprocess.STDOUT)

    def wait_ready(self, path: str) -> None:
        """
        Return when `path` answers 200.

        Raises:
            ServerError: it died, or took longer than READY_WITHIN_S.
        """
        while time.perf_counter() - self._began < READY_WITHIN_S:
            if self._popen.poll() is not None:
                raise ServerError(f"{self.name} ended with {self._popen.returncode}: {self._tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get(path)[0] == 200:
                    self.started_s = time.perf_counter() - self._began
                    return
            time.sleep(READY_POLL_S)
        raise ServerError(f"{self.name} did not become ready in {READY_WITHIN_S:g} s: {self._tail()}")

    def get(self, path: str, *, method: str = "GET") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self._popen.pid)
        return [root, *root.children(recursive=True)]

    def usage(self) -> Usage:
        cpu = 0.0
        sizes = {"VmRSS": 0, "RssAnon": 0, "VmHWM": 0}
        for each in self._tree():
            times = each.cpu_times()
            cpu += times.user + times.system
            for line in Path(f"/proc/{each.pid}/status").read_text().splitlines():
                key, _, rest = line.partition(":")
                if key in sizes:
                    sizes[key] += int(rest.split()[0]) * _KIB
        return Usage(cpu, sizes["VmRSS"], sizes["RssAnon"], sizes["VmHWM"])

    def forget_peak(self) -> None:
        """The peak counts anew from here (proc(5), clear_refs)."""
        for each in self._tree():
            Path(f"/proc/{each.pid}/clear_refs").write_text("5")

    def settle(self) -> float:
        """Wait until it rests (compactions and the like are done), SETTLE_WITHIN_S at most; returns the seconds."""
        began = time.perf_counter()
        while time.perf_counter() - began < SETTLE_WITHIN_S:
            before = self.usage().cpu_s
            time.sleep(SETTLE_WINDOW_S)  # the window is what is measured
            if self.usage().cpu_s - before < SETTLED_CPU * SETTLE_WINDOW_S:
                break
        return time.perf_counter() - began

    def stop(self) -> None:
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(STOPPED_WITHIN_S)
        self._popen.kill()
        self._popen.wait()

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def bytes_on_disk(directory: Path) -> int:
    """What is allocated, in blocks, not the length of sparse files."""
    return sum(path.stat().st_blocks * 512 for path in _files(directory))


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):  # removed meanwhile
            if path.is_file() and not path.is_symlink():
                yield path
