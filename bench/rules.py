"""
What a round of rules costs, and how that grows with their number.

    python bench/rules.py [--rules 100,300,1000,3000] [--series 1000] [--rounds 10]

A real store with an hour of samples at 15 s is evaluated by real groups of 50 rules, half of them recordings of a rate
over 5 minutes, half alerts of which a tenth fires; each reads one job of ten. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from collector.model.series import SampleTable, labels_of
from collector.query.promql.engine import Engine
from collector.rules.group import RuleGroup
from collector.rules.rulefile import parse
from collector.storage.metrics.store import MetricStore

JOBS = 10
GROUP = 50
STEP_MS = 15_000
SPAN_MS = 3_600_000


async def fill(store: MetricStore, series: int, now_ms: int) -> None:
    times = np.arange(now_ms - SPAN_MS, now_ms, STEP_MS, dtype=np.int64)
    for job in range(JOBS):
        count = series // JOBS
        labels = tuple(
            labels_of({"__name__": "requests_total", "job": f"job-{job}", "instance": f"i-{one}"})
            for one in range(count)
        )
        rates = np.linspace(1, 10, count)[:, None]
        values = np.ascontiguousarray(rates * (times - times[0])[None, :] / 1000)
        await store.append_tables([SampleTable(f"bench|{job}", labels, times, values)])


def groups(count: int, store: MetricStore) -> Iterator[RuleGroup]:
    engine = Engine(store)
    for first in range(0, count, GROUP):
        rules = []
        for number in range(first, min(first + GROUP, count)):
            job = f'requests_total{{job="job-{number % JOBS}"}}'
            if number % 2:
                limit = 5 if number % 20 == 1 else 1e9
                rules.append(
                    f"{{alert: Busy{number}, expr: 'avg by (job) (rate({job}[5m])) > {limit:g}', for: 1m,"
                    " labels: {severity: page}, annotations: {summary: '{{ $labels.job }} at {{ $value | humanize }}'}}"
                )
            else:
                rules.append(f"{{record: 'job:requests:rate5m_{number}', expr: 'sum by (job) (rate({job}[5m]))'}}")
        (spec,) = parse(f"groups: [{{name: g{first}, rules: [{', '.join(rules)}]}}]", "bench.yml")
        yield RuleGroup(
            spec, engine=engine, sink=store, interval_ms=STEP_MS, resend_delay_ms=60_000, external_url="http://bench"
        )


async def measure(count: int, series: int, rounds: int) -> list[tuple[float, float]]:
    """Seconds of each round, by the clock and of CPU."""
    now_ms = time.time_ns() // 1_000_000
    with tempfile.TemporaryDirectory(prefix="bench-rules-") as folder:
        store = MetricStore.open(Path(folder), retention_s=2 * SPAN_MS / 1000)
        try:
            await fill(store, series, now_ms)
            loaded = list(groups(count, store))
            took = []
            for number in range(rounds + 1):
                began = time.perf_counter(), time.process_time()
                for group in loaded:
                    await group.evaluate(now_ms + number * STEP_MS)
                took.append((time.perf_counter() - began[0], time.process_time() - began[1]))
            failed = [rule.outcome.error for group in loaded for rule in group.rules if rule.outcome.error]
            assert not failed, failed[0]
            return took[1:]  # the first creates the series
        finally:
            store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", default="100,300,1000,3000")
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print(f"{options.series} series, groups of {GROUP}\n")
    print("| rules | median round | worst | CPU of a round | CPU of a rule |\n|" + " --- |" * 5)
    for count in map(int, options.rules.split(",")):
        took = asyncio.run(measure(count, options.series, options.rounds))
        clock = [wall_s * 1000 for wall_s, _ in took]
        cpu = statistics.median(cpu_s for _, cpu_s in took)
        wall = f"{statistics.median(clock):.0f} ms | {max(clock):.0f} ms"
        print(f"| {count} | {wall} | {cpu * 1000:.0f} ms | {cpu / count * 1e6:.0f} µs |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
