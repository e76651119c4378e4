"""
Kill a collector with `kill -9` under load at random moments, and look whether each acknowledged span and log record is
there, once.

The collector is a process of its own. Senders of spans (gRPC) and of logs (HTTP) keep several requests in flight. A
request without an answer is sent again, byte for byte, to the collector that was started next, as an exporter would.
What a request holds follows from its number, so that the judge needs to know only the numbers.
"""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import duckdb
import grpc.aio
import httpx
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

RECORDS = 40  # spans, and log records, of one request
IN_FLIGHT = 6  # requests of each signal
START_NANO = 1_700_000_000_000_000_000
READY_WITHIN_S = 60.0
ANSWER_WITHIN_S = 10.0  # an SDK's own timeout
_CONFIG = "global: {scrape_interval: 15s}\n"
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PAYLOAD = "SELECT * FROM orders WHERE id = ? -- " * 4


def trace_request(number: int) -> bytes:
    request = ExportTraceServiceRequest()
    per_resource = request.resource_spans.add()
    per_resource.resource.attributes.add(key="service.name").value.string_value = f"service-{number % 7}"
    spans = per_resource.scope_spans.add().spans
    for place in range(RECORDS):
        span = spans.add(
            trace_id=(number + 1).to_bytes(16),
            span_id=(number * RECORDS + place + 1).to_bytes(8),
            name=f"operation {place}",
            start_time_unix_nano=START_NANO + number * 1_000_000 + place,
            end_time_unix_nano=START_NANO + number * 1_000_000 + place + number,
        )
        span.attributes.add(key="db.query.text").value.string_value = _PAYLOAD
        span.attributes.add(key="number").value.int_value = number
    return bytes(request.SerializeToString())


def log_request(number: int) -> bytes:
    request = ExportLogsServiceRequest()
    per_resource = request.resource_logs.add()
    per_resource.resource.attributes.add(key="service.name").value.string_value = f"service-{number % 7}"
    records = per_resource.scope_logs.add().log_records
    for place in range(RECORDS):
        records.add(time_unix_nano=START_NANO + number, observed_time_unix_nano=place).body.string_value = _PAYLOAD
    return bytes(request.SerializeToString())


@dataclass(frozen=True)
class RunningCollector:
    process: subprocess.Popen[bytes]
    http: str
    otlp_grpc: str
    otlp_http: str
    jaeger: str
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @classmethod
    @contextmanager
    def start(
        cls, directory: Path, prefix: Sequence[str] = (), *, ports: Sequence[int] = (), config_text: str = _CONFIG
    ) -> Iterator[RunningCollector]:
        """
        A collector that is ready, over the data in `directory`; killed on leaving.

        Args:
            prefix: What runs it, such as taskset.
            ports: Five, where it is to be found again; free ones by default.
            config_text: Its configuration file.
        """
        ports = ports or free_ports(5)
        names = ("--http", "--otlp-grpc", "--otlp-http", "--jaeger", "--alertmanager")
        flags = [part for name, port in zip(names, ports, strict=True) for part in (name, f"127.0.0.1:{port}")]
        config, log_path = directory / "prometheus.yml", directory / "log"
        config.write_text(config_text)
        command = [*prefix, sys.executable, "-m", "collector", "--config", str(config)]
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--data-dir", str(directory / "data"), *flags], stdout=log, stderr=log
            )
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        try:
            until_ready(urls[0], process)
            yield cls(process, urls[0], f"127.0.0.1:{ports[1]}", urls[2], urls[3], log_path)
        finally:
            process.kill()
            process.wait(10)


class Receiver(Protocol):
    """A process that takes OTLP."""

    @property
    def process(self) -> subprocess.Popen[bytes]: ...

    @property
    def otlp_grpc(self) -> str: ...

    @property
    def otlp_http(self) -> str: ...


@dataclass
class Sender:
    """Numbers its requests; those without an answer come first after the next start."""

    acknowledged: set[int] = field(default_factory=set)
    unanswered: list[int] = field(default_factory=list)
    repeated: int = 0
    _next: int = 0

    def take(self) -> int:
        if self.unanswered:
            self.repeated += 1
            return self.unanswered.pop(0)
        self._next += 1
        return self._next - 1


@dataclass
class Campaign:
    directory: Path
    seed: int
    traces: Sender = field(default_factory=Sender)
    logs: Sender = field(default_factory=Sender)
    start_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def kill_once(self, *, most_s: float) -> None:
        """Start a collector, load it, kill it at some moment within `most_s` of the first acknowledgement."""
        began = time.monotonic()
        with RunningCollector.start(self.directory) as collector:
            self.start_s.append(time.monotonic() - began)
            asyncio.run(self.load(collector, most_s=most_s))

    async def load(self, collector: Receiver, *, most_s: float) -> None:
        """Send until it is killed, at some moment within `most_s` of the first acknowledgement."""
        first = asyncio.Event()
        async with (
            grpc.aio.insecure_channel(collector.otlp_grpc) as channel,
            httpx.AsyncClient(base_url=collector.otlp_http, timeout=ANSWER_WITHIN_S) as http,
        ):
            export = channel.unary_unary(_EXPORT)

            async def spans(number: int) -> None:
                await export(trace_request(number), timeout=ANSWER_WITHIN_S)

            async def records(number: int) -> None:
                body, headers = log_request(number), {"content-type": "application/x-protobuf"}
                (await http.post("/v1/logs", content=body, headers=headers)).raise_for_status()

            tasks = [
                asyncio.create_task(_keep_sending(sender, send, first))
                for sender, send in ((self.traces, spans), (self.logs, records))
                for _ in range(IN_FLIGHT)
            ]
            async with asyncio.timeout(READY_WITHIN_S):
                await first.wait()
            await asyncio.sleep(self._random.uniform(0, most_s))
            if collector.process.poll() is not None:
                raise RuntimeError(f"the collector ended by itself with {collector.process.returncode}")
            collector.process.kill()
            await asyncio.gather(*tasks)

    def judge(self) -> list[str]:
        """What is lost, doubled or changed. Empty when all is well."""
        faults = []
        with duckdb.connect(str(self.directory / "data" / "telemetry.duckdb"), read_only=False) as database:
            spans = f"""
                SELECT (trace_lo - 1)::BIGINT, count(*), count(DISTINCT span_id), bool_and(duration_nano = trace_lo - 1
                    AND (span_id - 1) // {RECORDS} = trace_lo - 1 AND attributes[2].v = (trace_lo - 1)::VARCHAR)
                FROM spans GROUP BY 1
            """  # noqa: S608  (ours)
            logs = f"""
                SELECT (time_unix_nano - {START_NANO})::BIGINT, count(*), count(DISTINCT observed_unix_nano), TRUE
                FROM logs GROUP BY 1
            """  # noqa: S608
            for what, sql, sender in (("span", spans, self.traces), ("log record", logs, self.logs)):
                found = {row[0]: row[1:] for row in database.execute(sql).fetchall()}
                lost = sender.acknowledged - found.keys()
                wrong = [number for number, row in found.items() if row != (RECORDS, RECORDS, True)]
                if lost:
                    faults.append(f"{what}s of {len(lost)} acknowledged requests are lost, as of {min(lost)}")
                faults += [f"{what}s of request {number}: {found[number]}" for number in wrong[:5]]
        return faults


async def _keep_sending(sender: Sender, send: object, first: asyncio.Event) -> None:
    """Until the collector is gone."""
    while True:
        number = sender.take()
        try:
            await send(number)  # type: ignore[operator]
        except (grpc.aio.AioRpcError, httpx.HTTPError):
            sender.unanswered.append(number)
            return
        sender.acknowledged.add(number)
        first.set()


def until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    with httpx.Client() as http:
        while True:
            try:
                if http.get(f"{url}/-/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the collector is not ready: {process.poll()}")
            time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
