"""
An agent (`collector --forward`) that queues while its destination is down, and drains when it is back.

    python bench/agent.py                    200,000 spans of bench/traces.py, by HTTP and by gRPC
    python bench/agent.py --spans 20000      a short form

The agent and its sender have a core each, where there are two; while it drains, the destination has the sender's. A
request counts when it is acknowledged, which is when it is on disk. The rate of draining is not bounded here.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc.aio
import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from agent_process import RunningAgent
from trace_campaign import RunningCollector, free_ports
from traces import BATCH, EXPORT, PROTOBUF, requests

IN_FLIGHT = 8  # requests of the sender at once
UNBOUNDED = "forward: {bytes_per_second: 1TiB, queue_size: 64GiB}\n"
DRAINED_WITHIN_S = 600.0


async def send_all(bodies: list[bytes], send: Callable[[bytes], Awaitable[None]]) -> float:
    """Seconds."""
    waiting = iter(bodies)

    async def keep_sending() -> None:
        for body in waiting:
            await send(body)

    began = time.monotonic()
    await asyncio.gather(*(keep_sending() for _ in range(IN_FLIGHT)))
    return time.monotonic() - began


async def by_http(agent: RunningAgent, bodies: list[bytes]) -> float:
    async with httpx.AsyncClient(base_url=agent.otlp_http, timeout=60) as http:

        async def send(body: bytes) -> None:
            (await http.post("/v1/traces", content=body, headers=PROTOBUF)).raise_for_status()

        return await send_all(bodies, send)


async def by_grpc(agent: RunningAgent, bodies: list[bytes]) -> float:
    async with grpc.aio.insecure_channel(agent.otlp_grpc) as channel:
        export = channel.unary_unary(EXPORT)

        async def send(body: bytes) -> None:
            await export(body, timeout=60)

        return await send_all(bodies, send)


def pinned(pid: int, core: int) -> psutil.Process:
    process = psutil.Process(pid)
    if (os.cpu_count() or 1) > 1 and hasattr(process, "cpu_affinity"):
        process.cpu_affinity([core])
    return process


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def waiting(agent: RunningAgent) -> int:
    text = httpx.get(f"{agent.http}/metrics", timeout=60).text
    found = re.search(r'^steersman_forward_queue_items\{data_type="traces",.*\} (\S+)$', text, re.MULTILINE)
    assert found, text
    return int(float(found[1]))


def measure(transport: str, bodies: list[bytes], work: Path) -> None:
    spans = len(bodies) * BATCH
    ports = free_ports(5)
    url = f"grpc://127.0.0.1:{ports[1]}" if transport == "grpc" else f"http://127.0.0.1:{ports[2]}"
    (work / "destination").mkdir(parents=True)
    with RunningAgent.start(work / "agent", url, config=UNBOUNDED) as agent:
        process = pinned(agent.process.pid, 0)
        before = cpu_s(process)
        seconds = asyncio.run((by_grpc if transport == "grpc" else by_http)(agent, bodies))
        used = cpu_s(process) - before
        assert waiting(agent) == spans
        disk = sum(path.stat().st_size for path in (work / "agent" / "data").rglob("*.queue"))
        print(f"{transport}: {spans / seconds:,.0f} spans/s acknowledged on disk, {used / spans * 1e6:.1f} µs of CPU")
        print(f"{transport}: {disk / spans:.0f} bytes a span on disk, {process.memory_info().rss / 1e6:.0f} MB")
        before = cpu_s(process)
        with RunningCollector.start(work / "destination", ports=ports) as collector:
            pinned(collector.pid, 1)
            began = time.monotonic()
            while left := waiting(agent):
                assert time.monotonic() - began < DRAINED_WITHIN_S, f"{left} spans wait"
                time.sleep(0.1)
            seconds = time.monotonic() - began
        used = cpu_s(process) - before
        print(f"{transport}: {spans / seconds:,.0f} spans/s delivered, {used / spans * 1e6:.1f} µs of the agent's CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=200_000)
    options = parser.parse_args()
    bodies = list(requests(options.spans, seed=1))
    for transport in ("http", "grpc"):
        with tempfile.TemporaryDirectory() as work:
            measure(transport, bodies, Path(work))


if __name__ == "__main__":
    main()
