"""The viewer as a process, on a free port; alone, or on a collector of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

TOKEN = "the-owners-token"
STARTS_WITHIN_S = 120  # 3 s on a free core


@dataclass(frozen=True, slots=True)
class OnCollector:
    url: str  # of the viewer
    collector: str  # its HTTP port
    otlp: str  # its port for OTLP over HTTP


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def viewer(folder: Path, **peers: str) -> Iterator[str]:
    """
    The viewer's address, when it answers. Its token is TOKEN, and it shows the same to its peers.

    Args:
        peers: Addresses by the middle of their variable: `PROMETHEUS="http://…"`.
    """
    token = folder / "token"
    token.write_text(TOKEN)
    port = free_port()
    environment = os.environ | {
        "PORT": str(port),
        "VIEWER_DATA_DIR": str(folder / "viewer"),
        "VIEWER_TOKEN_FILE": str(token),
        **{f"VIEWER_{name}_URL": url for name, url in peers.items()},
        **{f"VIEWER_{name}_TOKEN_FILE": str(token) for name in ("REMEDIATION", "ALERTMANAGER", "DRILLS")},
    }
    environment.pop("PYTEST_CURRENT_TEST", None)  # the page framework behaves otherwise when it is tested
    url = f"http://127.0.0.1:{port}"
    with _running([sys.executable, "-m", "dashboards.viewer"], folder / "viewer.log", url, environment):
        yield url


@contextmanager
def viewer_on_collector(folder: Path) -> Iterator[OnCollector]:
    ports = {name: free_port() for name in ("http", "otlp-grpc", "otlp-http", "jaeger", "alertmanager")}
    config = folder / "collector.yml"
    config.write_text("{}")
    command = [sys.executable, "-m", "collector", "--config", str(config), "--data-dir", str(folder / "collector")]
    command += [part for name, port in ports.items() for part in (f"--{name}", f"127.0.0.1:{port}")]
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    nobody = f"http://127.0.0.1:{free_port()}"
    with (
        _running(command, folder / "collector.log", urls["http"], dict(os.environ)),
        viewer(
            folder,
            PROMETHEUS=urls["http"],
            COLLECTOR=urls["http"],
            JAEGER=urls["jaeger"],
            ALERTMANAGER=urls["alertmanager"],
            REMEDIATION=nobody,
            ORCHESTRATOR=nobody,
        ) as url,
    ):
        yield OnCollector(url, urls["http"], urls["otlp-http"])


@contextmanager
def _running(command: Sequence[str], log: Path, url: str, environment: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + STARTS_WITHIN_S
            while not _answers(url):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.HTTPError:
        return False
