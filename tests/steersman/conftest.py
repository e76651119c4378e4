"""Free ports, a shop that is one small ASGI application, and a real Traefik in front of it."""

from __future__ import annotations

import dataclasses
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from steersman.runtime.paths import DataDir
from steersman.runtime.ports import Ports
from steersman.stack.settings import Settings

DUMMY = '''
"""A replica that needs no dependency of the shop: an HTTP server as small as one can be, with a graceful end."""
import asyncio, os, signal, time

DELAY_S = float(os.environ.get("DUMMY_DELAY_S", "0.02"))
READY_AFTER_S = float(os.environ.get("DUMMY_READY_AFTER_S", "0"))
began = time.monotonic()
busy = 0

async def answer(reader, writer):
    global busy
    try:
        while line := await reader.readline():
            path = line.split()[1].decode()
            while (await reader.readline()).strip():
                pass
            busy += 1
            try:
                status = 200
                if path == "/-/ready" and time.monotonic() - began < READY_AFTER_S:
                    status = 503
                elif not path.startswith("/-/"):
                    await asyncio.sleep(DELAY_S)
                body = os.environ["INSTANCE"].encode()
                writer.write(b"HTTP/1.1 %d X\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (status, len(body), body))
                await writer.drain()
            finally:
                busy -= 1
    except (ConnectionError, IndexError):
        pass
    finally:
        writer.close()

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(answer, "127.0.0.1", int(os.environ["PORT"]))
    await stop.wait()
    server.close()
    while busy:
        await asyncio.sleep(0.005)

asyncio.run(main())
'''


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def port_offset() -> int:
    """One at which every port of a stack, and the first replicas' ports, are free."""
    for _ in range(100):
        # Below 13000 the replicas' ports stay under the ephemeral range.
        offset = random.randrange(100, 13_000)
        ports = Ports.at(offset)
        wanted = [getattr(ports, field.name) for field in dataclasses.fields(ports)]
        if all(map(_is_free, [*wanted, *range(ports.replica_base, ports.replica_base + 20)])):
            return offset
    raise AssertionError("no free ports")


@pytest.fixture
def settings(tmp_path: Path, port_offset: int) -> Settings:
    return Settings(data_dir=DataDir.at(tmp_path / "data"), port_offset=port_offset, services_file=tmp_path / "s.yaml")


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait for a condition; fails with what it last was."""

    def wait(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not (last := condition()):
            assert time.monotonic() < deadline, f"still {last!r} after {timeout_s} s"
            time.sleep(0.02)

    return wait


@pytest.fixture
def dummy(tmp_path: Path) -> list[str]:
    """The command line of the dummy replica."""
    path = tmp_path / "dummy.py"
    path.write_text(DUMMY)
    return [sys.executable, str(path)]


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """No process that the test started outlives it; those of wider fixtures may."""
    before = set(psutil.Process().children(recursive=True))
    yield
    started = [child for child in psutil.Process().children(recursive=True) if child not in before]
    _, alive = psutil.wait_procs(started, timeout=2)
    assert [child.cmdline() for child in alive] == []
