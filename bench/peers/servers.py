"""The three that are compared: how each is started, written to and asked. Each keeps its data under one directory."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from peers.process import Process, ServerError, free_port


@dataclass(frozen=True, slots=True)
class Server:
    """What can be started on a data directory."""

    key: str  # on the command line
    name: str
    program: str
    start: Callable[[Path], Process]  # on a directory that exists; ready when it returns
    write_path: str = "/api/v1/write"
    wal_globs: tuple[str, ...] = ()  # the part of the disk that is a log, not yet blocks

    @property
    def missing(self) -> bool:
        return shutil.which(self.program) is None

    def version(self) -> str:
        if self.key == "collector":
            return version("steersman")
        for argv in ([self.program, "--version"], ["dpkg-query", "-W", "-f", "version ${Version}", self.program]):
            with contextlib.suppress(OSError):
                ran = subprocess.run(argv, capture_output=True, text=True, timeout=30)
                if found := re.search(r"version ([\w.+~-]+)", ran.stdout + ran.stderr):
                    return found[1]
        return "unknown"  # Debian's VictoriaMetrics prints none


def start_collector(directory: Path) -> Process:
    config = {"global": {"evaluation_interval": "15s"}, "rule_files": [str(directory / "rules" / "*.yml")]}
    (directory / "collector.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    argv = [sys.executable, "-m", "collector", "--config", str(directory / "collector.yml")]
    argv += ["--data-dir", str(directory / "data"), "--log-level", "warning", "--http", f"127.0.0.1:{port}"]
    for flag in ("--otlp-grpc", "--otlp-http", "--jaeger"):
        argv += [flag, f"127.0.0.1:{free_port()}"]
    return _ready(Process("collector", argv, port=port, log=directory / "log"), "/-/ready")


def start_prometheus(directory: Path) -> Process:
    config = {"global": {"evaluation_interval": "15s"}, "rule_files": [str(directory / "rules" / "*.yml")]}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    argv = ["prometheus", f"--config.file={directory / 'prometheus.yml'}", f"--web.listen-address=127.0.0.1:{port}"]
    argv += [f"--storage.tsdb.path={directory / 'data'}", "--web.enable-remote-write-receiver"]
    argv += ["--web.enable-lifecycle", "--log.level=warn"]
    return _ready(Process("Prometheus", argv, port=port, log=directory / "log"), "/-/ready")


def start_victoria_metrics(directory: Path) -> Process:
    port = free_port()
    argv = ["victoria-metrics", f"-storageDataPath={directory / 'data'}", f"-httpListenAddr=127.0.0.1:{port}"]
    # Its cache would answer a repeated query without evaluating it; the lookback is Prometheus's, to compare answers,
    # and it shows the last 30 s too.
    argv += [
        "-search.disableCache",
        "-search.maxLookback=5m",
        "-search.latencyOffset=0s",
        "-retentionPeriod=1",
        "-loggerLevel=WARN",
    ]
    return _ready(Process("VictoriaMetrics", argv, port=port, log=directory / "log"), "/health")


def start_vmalert(directory: Path, datasource: Process, *, interval_s: float, notifier_port: int) -> Process:
    """VictoriaMetrics evaluates rules in a process of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{datasource.port}"
    argv = ["vmalert", f"-rule={directory / 'rules' / '*.yml'}", f"-datasource.url={url}", f"-remoteWrite.url={url}"]
    argv += [f"-remoteRead.url={url}", f"-httpListenAddr=127.0.0.1:{port}", "-loggerLevel=WARN"]
    argv += [f"-evaluationInterval={interval_s:g}s", f"-notifier.url=http://127.0.0.1:{notifier_port}"]
    return _ready(Process("vmalert", argv, port=port, log=directory / "vmalert.log"), "/health")


def _ready(process: Process, path: str) -> Process:
    try:
        process.wait_ready(path)
    except ServerError:
        process.stop()
        raise
    return process


COLLECTOR = Server("collector", "collector", sys.executable, start_collector, wal_globs=("metrics/*.wal",))
PROMETHEUS = Server("prometheus", "Prometheus", "prometheus", start_prometheus, wal_globs=("wal/*", "chunks_head/*"))
VICTORIA = Server("victoriametrics", "VictoriaMetrics", "victoria-metrics", start_victoria_metrics)
SERVERS = {server.key: server for server in (PROMETHEUS, VICTORIA, COLLECTOR)}
