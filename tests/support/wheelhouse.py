"""The wheels of lock files, served on the loopback to a build that would fetch them one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Of 150 small files most of the time is waiting for the index; more at once gain nothing on two cores.
AT_ONCE = 6
_LOCKED = re.compile(r"^[a-z0-9][^\n]*==[^\n]*(?:\n +[^\n]*)*", re.MULTILINE)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def wheelhouse(folder: Path, locks: Sequence[Path], python: str) -> Iterator[str]:
    """
    Yields what a pip has to be configured with, to install from there and from nowhere else.

    Args:
        python: The version that they are for, such as `3.11`.

    Raises:
        CalledProcessError: one is not to be had; what pip says is in its `stderr`.
    """
    locked = [match[0] for lock in locks for match in _LOCKED.finditer(lock.read_text())]
    with tempfile.TemporaryDirectory() as parts, ThreadPoolExecutor(AT_ONCE) as pool:
        files = [Path(parts) / f"{number}.txt" for number in range(AT_ONCE)]
        for number, file in enumerate(files):
            file.write_text("\n".join(locked[number::AT_ONCE]))
        list(pool.map(lambda file: _download(folder, file, python), files))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"[global]\nno-index = true\nfind-links = http://127.0.0.1:{server.server_port}/\n"
    finally:
        server.shutdown()
        server.server_close()


def _download(folder: Path, lock: Path, python: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--python-version", python, "--dest", str(folder)]
    subprocess.run([*command, "--requirement", str(lock)], capture_output=True, text=True, check=True, timeout=300)
