"""
PromQL beside Prometheus: range queries over 1,400 steps, at 1, 100, 1,000 and 10,000 series.

    python bench/promql.py [--repeat 7] [--series 1 100 1000 10000] [--query 'x'…]

The engine is measured alone, over series in memory, and with the HTTP API's answer encoded (but not sent); Prometheus,
when it is on PATH, over its HTTP API on this machine, from a TSDB that promtool writes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
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

from collector.api.prometheus_encoding import matrix_data, series_json
from collector.model.series import METRIC_NAME, Block, labels_of
from collector.query.memory import MemorySource
from collector.query.promql.engine import Engine
from collector.query.promql.values import Matrix, display

QUERIES = (
    "x",
    "rate(x[5m])",
    "sum by (job) (rate(x[5m]))",
    "sum(x)",
    "x / on (instance) x",
    "max_over_time(x[5m])",
    "quantile by (job) (0.9, x)",
    "topk(5, x)",
)
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


def encoded(matrix: Matrix) -> int:
    """How many bytes the answer has; all of them are made."""
    return sum(map(len, matrix_data(series_json(matrix.labels, matrix.timestamps_ms, matrix.values))))


def ours_ms(block: Block, expr: str, repeat: int) -> tuple[float, float]:
    """Medians of the evaluation alone, and with the answer encoded."""
    query = Engine(MemorySource([block])).prepare(expr)

    def evaluated() -> Matrix:
        return query.range(start_ms=START_MS, end_ms=END_MS, step_ms=STEP_MS)

    return median_ms(evaluated, repeat), median_ms(lambda: encoded(evaluated()), repeat)


def theirs_ms(block: Block, queries: list[str], repeat: int) -> dict[str, float]:
    times: dict[str, str | float] = {"start": START_MS / 1000, "end": END_MS / 1000, "step": STEP_MS / 1000}
    with prometheus(block) as client:

        def asked(expr: str) -> bytes:
            return client.get("/api/v1/query_range", params=times | {"query": expr}).raise_for_status().content

        return {expr: median_ms(functools.partial(asked, expr), repeat) for expr in queries}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeat", type=int, default=7)
    arguments.add_argument("--series", type=int, nargs="+", default=[1, 100, 1_000, 10_000])
    arguments.add_argument("--query", nargs="+", default=list(QUERIES))
    arguments.add_argument("--alone", action="store_true", help="without Prometheus")
    options = arguments.parse_args()
    beside = not options.alone and shutil.which("prometheus") and shutil.which("promtool")
    print(f"{STEPS} steps, medians of {options.repeat} in milliseconds")
    print(f"{'series':>7}  {'query':<30} {'engine':>9} {'with JSON':>9} {'Prometheus':>10} {'ratio':>6}")
    for series in options.series:
        block = counters(series)
        theirs = theirs_ms(block, options.query, options.repeat) if beside else {}
        for expr in options.query:
            engine, whole = ours_ms(block, expr, options.repeat)
            line = f"{series:>7}  {expr:<30} {engine:>9.1f} {whole:>9.1f}"
            if beside:
                line += f" {theirs[expr]:>10.1f} {whole / theirs[expr]:>6.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
