"""
A rate of spans held for ten minutes: memory, CPU and how long an acknowledgement takes, told every tenth of the time.

    python bench/soak/trace_hold.py [--rate 5000] [--seconds 600] [--old-spans 0]

The collector is a process of its own; batches of 512 spans come by gRPC, eight at once at most, and each is new. With
`--old-spans 10000000` so many spans that are out of retention are in the store at the start: they are removed while the
rate is held, and what that does to the acknowledgements is to be seen. Stops by itself. The exit code is 1 if a batch
was refused, if fewer than nine tenths of the rate were acknowledged, or if memory grew by more than a fifth in the
second half.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from trace_campaign import RunningCollector
from trace_queries import fill
from traces import BATCH, Send, Target, requests, sender

PARTS = 10
AT_ONCE = 8  # batches in flight, as of so many exporters
GROWTH = 1.2  # of memory, from the middle to the end; DuckDB's buffers vary by some tens of MB


async def hold(target: Target, rate: int, seconds: float) -> list[float]:
    """Returns the memory at the end of each part, in MB."""
    process, begun, sent, refused = psutil.Process(target.pid), time.monotonic(), 0, 0
    cpu, latencies_ms, memory = sum(process.cpu_times()[:2]), list[float](), list[float]()
    print(f"{'s':>7}{'spans':>12}{'MB':>7}{'cpu':>6}{'ack ms p50':>12}{'p99':>8}{'worst':>8}")
    room = asyncio.Semaphore(AT_ONCE)

    async def one(send: Send, body: bytes) -> None:
        nonlocal refused
        asked = time.monotonic()
        refused += not await send(body)
        latencies_ms.append((time.monotonic() - asked) * 1000)
        room.release()

    async with sender(target, "grpc") as send, asyncio.TaskGroup() as sending:
        for part in range(1, PARTS + 1):
            while time.monotonic() - begun < seconds * part / PARTS:
                await room.acquire()
                sending.create_task(one(send, next(requests(BATCH, seed=sent))))
                sent += BATCH
                await asyncio.sleep(max(0.0, begun + sent / rate - time.monotonic()))
            memory.append(process.memory_info().rss / 1e6)
            before, cpu = cpu, sum(process.cpu_times()[:2])
            p50, p99 = np.percentile(latencies_ms, [50, 99])
            print(
                f"{time.monotonic() - begun:7.0f}{sent:12,}{memory[-1]:7.0f}{(cpu - before) * PARTS / seconds:6.0%}"
                f"{p50:12.0f}{p99:8.0f}{max(latencies_ms):8.0f}",
                flush=True,
            )
            latencies_ms.clear()
    if refused or sent < 0.9 * rate * seconds:
        raise SystemExit(f"{refused} batches were refused, {sent} of {rate * seconds:.0f} spans acknowledged")
    return memory


def old_spans_left(url: str) -> str:
    removed = [
        line.rpartition(" ")[2]
        for line in httpx.get(f"{url}/metrics").text.splitlines()
        if line.startswith("steersman_collector_removed_rows_total") and 'table="spans"' in line
    ]
    return f"{float(removed[0]):,.0f} old spans were removed" if removed else "no old span was removed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--old-spans", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trace-hold-") as work:
        if options.old_spans:
            fill(Path(work) / "data" / "telemetry.duckdb", options.old_spans)
        with RunningCollector.start(Path(work)) as running:
            target = Target("steersman", running.pid, running.otlp_grpc, running.otlp_http, None)
            memory = asyncio.run(hold(target, options.rate, options.seconds))
            if options.old_spans:
                print(old_spans_left(running.http))
    middle, end = memory[PARTS // 2 - 1], memory[-1]
    print(f"memory {memory[0]:.0f} MB at the start, {middle:.0f} in the middle, {end:.0f} at the end")
    return int(end > middle * GROWTH)


if __name__ == "__main__":
    sys.exit(main())
