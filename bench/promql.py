"""
PromQL beside Prometheus: `sum by (job) (rate(x[5m]))` over 1,400 steps, at 100 and 1,000 series.

    python bench/promql.py [--repeat 7] [--series 100 1000]

The engine is measured alone, over series in memory, and with the HTTP API's answer encoded; Prometheus, when it is on
PATH, over its HTTP API on this machine, from a TSDB that promtool writes. Prints medians in milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np

from collector.api.prometheus_encoding import query_data
from collector.model.series import METRIC_NAME, Block, labels_of
from collector.query.memory import MemorySource
from collector.query.promql.engine import Engine
from collector.query.promql.values import Matrix, display

QUERY = "sum by (job) (rate(x[5m]))"
STEPS, STEP_MS, SCRAPE_MS, WINDOW_MS = 1_400, 10_000, 10_000, 300_000
ORIGIN_MS = 1_600_000_000_000
START_MS = ORIGIN_MS + WINDOW_MS + 3_137  # off the scrapes, so that closed and open windows hold the same samples
END_MS = START_MS + (STEPS - 1) * STEP_MS


def counters(series: int) -> Block:
    random = np.random.default_rng(7)
    samples = (END_MS - ORIGIN_MS) // SCRAPE_MS + 1
    labels = tuple(
        labels_of({METRIC_NAME: "x", "job": f"job-{number % 10}", "instance": f"instance-{number}"})
        for number in range(series)
    )
    values = 1e6 + np.cumsum(random.poisson(20, (series, samples)), axis=1).astype(np.float64)
    return Block(labels, ORIGIN_MS + np.arange(samples, dtype=np.int64) * SCRAPE_MS, values)


def median_ms(run: Callable[[], object], repeat: int) -> float:
    run()
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


@contextlib.contextmanager
def prometheus(block: Block) -> Iterator[httpx.Client]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        with (path / "samples.txt").open("w") as file:
            seconds = (block.timestamps_ms / 1000).tolist()
            for labels, values in zip(block.labels, block.values.tolist(), strict=True):
                name = display(labels).replace(", ", ",")
                file.writelines(f"{name} {value!r} {at}\n" for value, at in zip(values, seconds, strict=True))
            file.write("# EOF\n")
        (path / "prometheus.yml").write_text("global: {}\n")
        create = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "data"]
        subprocess.run(create, cwd=path, check=True, capture_output=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        process = subprocess.Popen(
            [
                "prometheus",
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address={address}",
                "--log.level=error",
            ],
            cwd=path,
        )
        try:
            with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=60) as client:
                deadline = time.monotonic() + 60
                while not _ready(client):
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise RuntimeError("prometheus did not become ready in 60 s")
                    time.sleep(0.1)
                yield client
        finally:
            process.terminate()
            process.wait(30)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def ours_ms(block: Block, repeat: int) -> tuple[float, float]:
    """Medians of the evaluation alone, and with the answer encoded."""
    query = Engine(MemorySource([block])).prepare(QUERY)

    def evaluated() -> Matrix:
        return query.range(start_ms=START_MS, end_ms=END_MS, step_ms=STEP_MS)

    return median_ms(evaluated, repeat), median_ms(lambda: query_data(evaluated()), repeat)


def theirs(block: Block, repeat: int) -> str:
    times: dict[str, str | float] = {"start": START_MS / 1000, "end": END_MS / 1000, "step": STEP_MS / 1000}
    with prometheus(block) as client:
        median = median_ms(lambda: client.get("/api/v1/query_range", params=times | {"query": QUERY}), repeat)
        version = client.get("/api/v1/status/buildinfo").json()["data"]["version"]
    return f"Prometheus {version} {median:7.1f} ms"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeat", type=int, default=7)
    arguments.add_argument("--series", type=int, nargs="+", default=[100, 1_000])
    options = arguments.parse_args()
    print(f"{QUERY}, {STEPS} steps, median of {options.repeat}")
    for series in options.series:
        block = counters(series)
        engine, encoded = ours_ms(block, options.repeat)
        line = f"{series:>6} series: engine {engine:7.1f} ms, with JSON {encoded:7.1f} ms"
        if shutil.which("prometheus") and shutil.which("promtool"):
            line += f", {theirs(block, options.repeat)}"
        print(line)


if __name__ == "__main__":
    main()
