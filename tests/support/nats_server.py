"""A real nats-server, to be killed, frozen and started again."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NATS_SERVER = Path(sys.executable).with_name("nats-server")
TOKEN = "a-token-made-up-for-tests"
PATIENCE_S = 10.0


@dataclass
class NatsServer:
    """May be killed and started again on its port and store."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    token_file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.token_file = self.directory / "nats.token"
        self.token_file.write_text(TOKEN)
        self.config = self.directory / "nats.conf"
        self.config.write_text(
            f"host: 127.0.0.1\nport: {self.port}\n"
            f'jetstream {{ store_dir: "{self.directory}/jetstream" }}\nauthorization {{ token: "{TOKEN}" }}\n'
        )

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [NATS_SERVER, "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.01)
        pytest.fail("nats-server did not start")

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9"""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
