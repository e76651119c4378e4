"""
The metric store alone: ingest, disk, memory, start-up after a crash, and reading back, as the number of series grows.

    python bench/soak/metric_store.py [--series 1000 10000 100000] [--samples 5000000] [--interval-s 15] [--resend]

Each size runs in a process of its own. The data are a third each of counters, gauges that stay, and gauges that move,
with the labels of a scraped service, of targets with 100 series. Samples come in order of time, one append for each
timestamp and 20 targets (2,000 samples, as Prometheus's remote write sends), whose label tuples are reused; with
`--resend` they are equal but not the same objects.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.model.series import Labels, Matcher, MatchOp, SampleTable, labels_of
from collector.storage.metrics.store import MetricStore

TARGET_SERIES = 100
TARGETS_AT_ONCE = 20
IN_FLIGHT = 4
START_MS = 1_700_000_000_000
QUERY_S = 6 * 3600


def labels_of_target(target: int, series: int) -> tuple[Labels, ...]:
    return tuple(
        labels_of(
            {
                "__name__": f"bench_metric_{number // 10}",
                "job": f"job-{target % 7}",
                "instance": f"10.0.{target // 250}.{target % 250}:9100",
                "handler": f"/api/v1/{number % 10}",
                "code": "200",
            }
        )
        for number in range(series)
    )


class Source:
    """What a fleet would send, step by step."""

    def __init__(self, series: int, interval_ms: int, *, resend: bool) -> None:
        self._rng = np.random.default_rng(1)
        self._interval_ms = interval_ms
        self._resend = resend
        self._targets = [
            labels_of_target(target, min(TARGET_SERIES, series - first))
            for target, first in enumerate(range(0, series, TARGET_SERIES))
        ]
        self._state = [np.zeros(len(labels)) for labels in self._targets]

    def step(self, number: int) -> Iterator[list[SampleTable]]:
        times = np.array([START_MS + number * self._interval_ms], np.int64)
        for first in range(0, len(self._targets), TARGETS_AT_ONCE):
            tables = []
            for target in range(first, min(first + TARGETS_AT_ONCE, len(self._targets))):
                labels = self._targets[target]
                if self._resend:
                    labels = labels_of_target(target, len(labels))
                tables.append(SampleTable(f"t{target}", labels, times, self._moved(target)[:, np.newaxis]))
            yield tables

    def _moved(self, target: int) -> NDArray[np.float64]:
        state = self._state[target]
        third = len(state) // 3
        state[:third] += self._rng.integers(0, 100, third)
        state[2 * third :] += self._rng.normal(size=len(state) - 2 * third)
        return state.copy()


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(series: int, samples: int, interval_ms: int, *, resend: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"series": series}
    before = rss_mb()
    with tempfile.TemporaryDirectory(prefix="metric-store-") as folder:
        directory = Path(folder)
        now = [START_MS]
        options = {"retention_s": 90 * 86_400.0, "series_limit": 1_000_000, "clock": lambda: now[0]}
        store = MetricStore.open(directory, **options)  # type: ignore[arg-type]
        source = Source(series, interval_ms, resend=resend)
        steps = max(2, samples // series)
        spent = _ingest(store, source, steps, interval_ms, now)
        written = steps * series
        assert store.stats.samples == written, store.stats
        found |= {
            "samples": written,
            "samples_per_s": written / spent[0],
            "cpu_us_per_sample": spent[1] / written * 1e6,
        }
        found["worst_append_ms"] = spent[2] * 1000
        found["rss_mb"] = rss_mb() - before
        found["head_mb"] = store.head_bytes / 1e6
        found["sealed_mb"] = store.segment_bytes / 1e6
        found["queries_ms"] = _queries(store, now[0])
        store.close()
        begun = time.perf_counter()
        store = MetricStore.open(directory, **options)  # type: ignore[arg-type]
        found["reopen_ms"] = (time.perf_counter() - begun) * 1000
        begun = time.perf_counter()
        store.cardinality()
        found["cardinality_ms"] = (time.perf_counter() - begun) * 1000
        store.close()
    return found


def _ingest(
    store: MetricStore, source: Source, steps: int, interval_ms: int, now: list[int]
) -> tuple[float, float, float]:
    """(seconds, CPU seconds, the longest wait for an append) of the store alone: making the data does not count."""
    wall = cpu = worst = 0.0
    for number in range(steps):
        appends = list(source.step(number))
        begun, begun_cpu = time.perf_counter(), time.process_time()
        waiting = []
        for tables in appends:
            waiting.append((time.perf_counter(), store.submit(tables)))
            if len(waiting) > IN_FLIGHT:
                worst = max(worst, _settled(*waiting.pop(0)))
        for each in waiting:
            worst = max(worst, _settled(*each))
        wall += time.perf_counter() - begun
        cpu += time.process_time() - begun_cpu
        now[0] += interval_ms
    return wall, cpu, worst


def _settled(submitted: float, future: object) -> float:
    future.result()  # type: ignore[attr-defined]
    return time.perf_counter() - submitted


def _queries(store: MetricStore, now_ms: int) -> dict[str, float]:
    """Milliseconds, the second of two runs: one series, one metric of all targets, over the last six hours."""
    one = [
        Matcher("__name__", MatchOp.EQUAL, "bench_metric_3"),
        Matcher("instance", MatchOp.EQUAL, "10.0.0.0:9100"),
        Matcher("handler", MatchOp.EQUAL, "/api/v1/3"),
    ]
    found = {}
    for name, matchers in (("one series", one), ("one metric", one[:1])):
        for _ in range(2):
            begun = time.perf_counter()
            blocks = store.select(matchers, min_ms=now_ms - QUERY_S * 1000, max_ms=now_ms)
            spent = (time.perf_counter() - begun) * 1000
        found[name] = round(spent, 1)
        found[f"{name}, samples"] = sum(block.values.size for block in blocks)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--samples", type=int, default=5_000_000)
    parser.add_argument("--interval-s", type=float, default=15.0)
    parser.add_argument("--resend", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        found = measure(options.series[0], options.samples, int(options.interval_s * 1000), resend=options.resend)
        print(json.dumps(found))
        return
    for series in options.series:
        rest = ["--samples", str(options.samples), "--interval-s", str(options.interval_s), "--here"]
        command = [sys.executable, __file__, "--series", str(series), *rest, *(["--resend"] if options.resend else [])]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            ", ".join(
                f"{name} {value if isinstance(value, dict) else round(value, 2):}" for name, value in found.items()
            )
        )


if __name__ == "__main__":
    main()
