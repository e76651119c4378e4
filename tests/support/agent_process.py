"""An agent (`collector --forward`) as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trace_campaign import free_ports, until_ready


@dataclass(frozen=True)
class RunningAgent:
    process: subprocess.Popen[bytes]
    http: str
    otlp_grpc: str
    otlp_http: str
    log: Path

    @classmethod
    @contextmanager
    def start(
        cls, directory: Path, forward: str, *flags: str, ports: Sequence[int] = (), config: str = ""
    ) -> Iterator[RunningAgent]:
        """
        An agent that is ready, over the queue in `directory`; killed on leaving.

        Args:
            forward: The destination's URL.
            flags: More of them.
            ports: Three, where it is to be found again; free ones by default.
            config: The text of its configuration file; empty: it has none.
        """
        directory.mkdir(parents=True, exist_ok=True)
        ports = ports or free_ports(3)
        names = ("--http", "--otlp-grpc", "--otlp-http")
        where = [part for name, port in zip(names, ports, strict=True) for part in (name, f"127.0.0.1:{port}")]
        if config:
            file = directory / "agent.yml"
            file.write_text(config)
            flags = (*flags, "--config", str(file))
        log_path = directory / "log"
        command = [sys.executable, "-m", "collector", "--forward", forward, "--data-dir", str(directory / "data")]
        with log_path.open("ab") as log:
            process = subprocess.Popen([*command, *where, *flags], stdout=log, stderr=log)
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        try:
            until_ready(urls[0], process)
            yield cls(process, urls[0], f"127.0.0.1:{ports[1]}", urls[2], log_path)
        finally:
            process.kill()
            process.wait(10)
