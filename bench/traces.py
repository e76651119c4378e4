"""
Ingest of spans on one core: acknowledged a second, processor's time and bytes on disk for each.

    python bench/traces.py                          200,000 spans by gRPC and by HTTP
    python bench/traces.py --rotel PATH             beside the Rust collector rotel, whose agent's binary is at PATH

bench/soak/trace_hold.py tells the memory while a rate is held, bench/trace_queries.py what searches take.

The server is pinned to one core and the sender to another one, where there are two. Requests are made before the clock
runs: batches of 512 spans, as SDKs send them, of a shop's shape (8 spans a trace, 9 attributes a span, an event in a
hundred). A request counts when it is acknowledged: by Steersman when it is on disk, by rotel when it is in memory (its
exporter here is the one that throws everything away). `cpu` is the server's own time of processor for a span, which
other load on the machine disturbs less than the rate.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc.aio
import httpx
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from trace_campaign import RunningCollector, free_ports

BATCH = 512  # max_export_batch_size of the SDKs' batch span processor
SPANS_A_TRACE = 8
SERVICES = ("gateway", "catalog", "cart", "checkout", "payment", "inventory")
ROUTES = ("/products/{id}", "/carts/{user}/items/{sku}", "/orders", "/charges", "/stock/{sku}", "/recommendations")
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF = {"content-type": "application/x-protobuf"}
Send = Callable[[bytes], Awaitable[bool]]  # whether it was acknowledged; else it may be sent again


def requests(spans: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    now = time.time_ns()
    for batch in range(spans // BATCH):
        request = ExportTraceServiceRequest()
        service = SERVICES[batch % len(SERVICES)]
        per_resource = request.resource_spans.add(schema_url="https://opentelemetry.io/schemas/1.37.0")
        for key, value in {
            "service.name": service,
            "service.instance.id": f"{service}-{batch % 3}",
            "service.version": "1.4.2",
            "deployment.environment.name": "production",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": "1.38.0",
        }.items():
            per_resource.resource.attributes.add(key=key).value.string_value = value
        per_scope = per_resource.scope_spans.add()
        per_scope.scope.name, per_scope.scope.version = "opentelemetry.instrumentation.fastapi", "0.59b0"
        for place in range(BATCH):
            if place % SPANS_A_TRACE == 0:
                trace_id, parent = chance.randbytes(16), b""
            route = ROUTES[chance.randrange(len(ROUTES))]
            begin = now + batch * 1_000_000 + place * 1000
            span = per_scope.spans.add(
                trace_id=trace_id,
                span_id=chance.randbytes(8),
                parent_span_id=parent,
                name=f"GET {route}",
                kind=2 if parent else 3,
                flags=0x101,
                start_time_unix_nano=begin,
                end_time_unix_nano=begin + chance.randrange(1_000_000, 90_000_000),
            )
            parent = span.span_id
            for key, text in (
                ("http.request.method", "GET"),
                ("http.route", route),
                ("url.scheme", "http"),
                ("url.path", route.replace("{id}", str(chance.randrange(10_000)))),
                ("server.address", "127.0.0.1"),
                ("user_agent.original", "python-httpx/0.28.1"),
                ("network.protocol.version", "1.1"),
            ):
                span.attributes.add(key=key).value.string_value = text
            span.attributes.add(key="server.port").value.int_value = 18_100 + batch % 300
            span.attributes.add(key="http.response.status_code").value.int_value = 200
            if chance.random() < 0.01:
                span.status.code = 2
                event = span.events.add(name="exception", time_unix_nano=begin)
                event.attributes.add(key="exception.type").value.string_value = "TimeoutError"
                event.attributes.add(key="exception.message").value.string_value = "no worker within 2 s"
        yield request.SerializeToString()


@dataclass(frozen=True)
class Target:
    name: str
    pid: int
    grpc: str
    http: str
    data: Path | None  # None: keeps nothing


OpenTarget = Callable[[Path, list[str]], contextlib.AbstractContextManager["Target"]]


@contextlib.contextmanager
def steersman(work: Path, prefix: list[str]) -> Iterator[Target]:
    with RunningCollector.start(work, prefix) as running:
        yield Target("steersman", running.pid, running.otlp_grpc, running.otlp_http, work / "data")
        running.process.send_signal(signal.SIGTERM)  # so that what the log holds is written into the file
        running.process.wait(30)


@contextlib.contextmanager
def rotel(binary: str, work: Path, prefix: list[str]) -> Iterator[Target]:
    ports = free_ports(2)
    command = [
        *prefix,
        binary,
        "start",
        "--exporter",
        "blackhole",
        "--otlp-grpc-endpoint",
        f"127.0.0.1:{ports[0]}",
        "--otlp-http-endpoint",
        f"127.0.0.1:{ports[1]}",
        "--pid-file",
        str(work / "rotel.pid"),
        "--log-file",
        str(work / "rotel.log"),
    ]
    with (work / "rotel.out").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{ports[1]}/")
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"rotel did not start: {(work / 'rotel.out').read_text()[-500:]}")
            time.sleep(0.05)
        yield Target("rotel", process.pid, f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", None)
    finally:
        process.kill()
        process.wait(10)


@contextlib.asynccontextmanager
async def sender(target: Target, protocol: str) -> AsyncIterator[Send]:
    if protocol == "grpc":
        async with grpc.aio.insecure_channel(target.grpc) as channel:
            export = channel.unary_unary(EXPORT)

            async def by_grpc(body: bytes) -> bool:
                try:
                    await export(body)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    return False
                return True

            yield by_grpc
        return
    async with httpx.AsyncClient(base_url=target.http, timeout=60) as http:

        async def by_http(body: bytes) -> bool:
            answer = await http.post("/v1/traces", content=body, headers=PROTOBUF)
            if answer.status_code != 503:
                answer.raise_for_status()
            return answer.status_code == 200

        yield by_http


async def until_taken(send: Send, body: bytes) -> int:
    """Returns how often it was told to come back."""
    for refused in range(10_000):
        if await send(body):
            return refused
        await asyncio.sleep(0.1)
    raise SystemExit("refused 10,000 times")


async def send_all(target: Target, protocol: str, bodies: list[bytes], at_once: int) -> int:
    """Returns how often it was told to come back."""
    waiting = iter(bodies)
    refused = 0

    async def one(send: Send) -> None:
        nonlocal refused
        for body in waiting:
            refused += await until_taken(send, body)

    async with sender(target, protocol) as send:
        await asyncio.gather(*(one(send) for _ in range(at_once)))
    return refused


def measure(target: Target, protocol: str, bodies: list[bytes], at_once: int) -> str:
    process = psutil.Process(target.pid)
    busy, begun = sum(process.cpu_times()[:2]), time.perf_counter()
    refused = asyncio.run(send_all(target, protocol, bodies, at_once))
    wall = time.perf_counter() - begun
    busy = sum(process.cpu_times()[:2]) - busy
    spans = len(bodies) * BATCH
    memory = process.memory_info().rss / 1e6
    return (
        f"{target.name:<12}{protocol:<6}{spans / wall:>12,.0f}{busy / spans * 1e6:>10.1f}{spans / busy:>14,.0f}"
        f"{memory:>8.0f}{refused:>9}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--at-once", type=int, default=16, help="requests in flight")
    parser.add_argument("--rotel", help="path of rotel-agent, from the package rotel")
    options = parser.parse_args()
    cores = sorted(psutil.Process().cpu_affinity() or [0])
    prefix = ["taskset", "-c", str(cores[0])] if shutil.which("taskset") else []
    os.sched_setaffinity(0, {cores[-1]})
    print(f"{'':<12}{'':<6}{'spans/s':>12}{'cpu µs':>10}{'spans/cpu s':>14}{'MB':>8}{'refused':>9}")
    for protocol in ("grpc", "http"):
        bodies = list(requests(options.spans, seed=1))
        targets: list[OpenTarget] = [steersman, *([partial(rotel, options.rotel)] if options.rotel else [])]
        for open_target in targets:
            with tempfile.TemporaryDirectory() as work:
                with open_target(Path(work), prefix) as target:
                    asyncio.run(send_all(target, protocol, list(requests(BATCH * 20, seed=2)), 4))  # warm
                    print(measure(target, protocol, bodies, options.at_once), flush=True)
                if target.data:
                    held = sum(path.stat().st_size for path in target.data.glob("telemetry.duckdb*"))
                    sent = sum(map(len, bodies)) / len(bodies) / BATCH
                    each = held / (len(bodies) + 20) / BATCH
                    print(f"{'':<18}{each:.0f} bytes a span on disk, {sent:.0f} as sent", flush=True)


if __name__ == "__main__":
    main()
