"""An embedded stack under test, on ports of its own, started and stopped through the command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from steersman.runtime.paths import DataDir
from steersman.runtime.ports import Ports
from steersman.runtime.tokens import read_token

READY_WITHIN_S = 60  # the aim is 20 s; a shared test machine gets three times that
STOPPED_WITHIN_S = 30


def free_offset() -> int:
    """A port offset at which the fixed ports of a stack are free."""
    for offset in range(5000, 30000, 500):
        ports = Ports.at(offset)
        taken = False
        for port in (ports.nats, ports.otlp_http, ports.gateway, ports.prometheus, ports.remediation, ports.jaeger):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    taken = True
        if not taken:
            return offset
    raise RuntimeError("no free port offset between 5000 and 30000")


def eventually(condition: Callable[[], Any], *, within_s: float, what: str, every_s: float = 0.1) -> Any:
    """The first true answer of `condition`; HTTP errors count as not yet."""
    deadline = time.monotonic() + within_s
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (httpx.HTTPError, KeyError, IndexError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {within_s} s; last seen: {last!r}")


@dataclass
class Stack:
    """A running stack, as a user's tools see it: by its ports and tokens."""

    ports: Ports
    data: DataDir
    process: subprocess.Popen[bytes]
    http: httpx.Client

    def url(self, name: str, path: str = "") -> str:
        return f"http://127.0.0.1:{getattr(self.ports, name)}{path}"

    def bearer(self, audience: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {read_token(self.data.token_file(audience))}"}

    def services(self) -> dict[str, dict[str, Any]]:
        answer = self.http.get(self.url("orchestrator", "/api/v1/services"), headers=self.bearer("orchestrator"))
        return {service["name"]: service for service in answer.raise_for_status().json()["services"]}

    def processes(self) -> dict[str, dict[str, Any]]:
        answer = self.http.get(self.url("orchestrator", "/api/v1/processes"), headers=self.bearer("orchestrator"))
        return {process["name"]: process for process in answer.raise_for_status().json()["processes"]}

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        answer = self.http.get(self.url("prometheus", "/api/v1/query"), params={"query": promql}).raise_for_status()
        return [(series["metric"], float(series["value"][1])) for series in answer.json()["data"]["result"]]

    def remediations(self) -> list[dict[str, Any]]:
        answer = self.http.get(self.url("remediation", "/api/v1/remediations")).raise_for_status().json()
        found: list[dict[str, Any]] = answer["remediations"]
        return found

    def healthy(self) -> bool:
        """Every process runs, every service has its replicas, and both the shop and the collector answer."""
        if any(service["ready"] < service["desired"] for service in self.services().values()):
            return False
        for name, path in (
            ("gateway", "/catalog/products?limit=1"),
            ("prometheus", "/-/ready"),
            ("remediation", "/-/ready"),
            ("load", "/-/ready"),
        ):
            if self.http.get(self.url(name, path)).status_code != 200:
                return False
        return all(value == 1 for _, value in self.query("up"))

    def cli(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "steersman", *arguments, "--data-dir", str(self.data.root)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOPPED_WITHIN_S)


def start_stack(root: Path, *extra: str) -> Stack:
    offset = free_offset()
    command = [sys.executable, "-m", "steersman", "up", "--data-dir", str(root), "--port-offset", str(offset), *extra]
    log = root.parent / f"{root.name}.up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1"},
            start_new_session=True,
        )
    stack = Stack(Ports.at(offset), DataDir.at(root), process, httpx.Client(timeout=5))

    def ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"`steersman up` ended with {process.returncode}:\n{log.read_text()}")
        return stack.data.token_file("orchestrator").exists() and stack.healthy()

    eventually(ready, within_s=READY_WITHIN_S, what=f"the stack is ready (log: {log})")
    return stack


def processes_of(root: Path) -> list[psutil.Process]:
    """Every process whose command line, working directory or environment names `root`: what must be gone afterwards."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and (
                any(str(root) in part for part in process.cmdline())
                or any(str(root) in value for value in process.environ().values())
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found
