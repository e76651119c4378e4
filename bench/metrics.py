"""
Metrics beside Prometheus and VictoriaMetrics: ingest, queries and rules, on the same samples in one run.

    python bench/metrics.py                              10,000 series, 6 hours at 15 s; all but growth
    python bench/metrics.py --growth                     growth too: ratios at 1,000, 10,000 and 100,000 series
    python bench/metrics.py --only queries --work DIR    one part; DIR keeps samples and results between runs

Prints a report in Markdown; `--json FILE` writes the figures. Whatever of `prometheus` and `victoria-metrics` is not on
PATH is left out, and said. How each figure is taken: bench/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from peers import growth, ingest, queries, report, rules
from peers.dataset import Dataset, fleet
from peers.servers import SERVERS, Server

PARTS = ("ingest", "queries", "rules", "growth")


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=10_000, help="a multiple of 100")
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--interval", type=float, default=15.0, help="seconds between the samples of a series")
    parser.add_argument("--runs", type=int, default=5, help="of each query at each server")
    parser.add_argument("--rules", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=4, help="of rule evaluation that are measured")
    parser.add_argument("--rule-interval", type=float, default=10.0, help="seconds from one round to the next")
    parser.add_argument("--growth", action="store_true", help="measure growth too")
    parser.add_argument("--growth-series", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--growth-minutes", type=float, default=15.0, help="of samples at each size")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given several times")
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--work", type=Path, help="keep samples and results here; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args(argv)
    if asked.interval < 1 or asked.hours * 3600 / asked.interval < 4:
        parser.error("--interval must be at least 1, and --hours hold four of them")
    if asked.runs < 1 or asked.rounds < 1:
        parser.error("--runs and --rounds must be at least 1")
    asked.parts = [part for part in PARTS if part in (asked.only or PARTS[:3]) or (part == "growth" and asked.growth)]
    return asked


def machine() -> dict[str, Any]:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return {
        "cpu": f"{os.cpu_count()} cores, {model}",
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load_before": os.getloadavg()[0],
    }


@contextlib.contextmanager
def work_folder(asked: Path | None) -> Iterator[Path]:
    if asked is not None:
        asked.mkdir(parents=True, exist_ok=True)
        yield asked.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="steersman-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def dataset(asked: argparse.Namespace, results: dict[str, Any], *, anew: bool) -> Dataset:
    """The same samples as a former run in this folder, unless it is to be done anew or was asked otherwise."""
    wanted = {"series": asked.series, "hours": asked.hours, "interval_s": asked.interval}
    former = results.get("data", {})
    if anew or any(former.get(key) != value for key, value in wanted.items()):
        end_ms = int(time.time() // 60) * 60_000
        results.clear()
        results["data"] = former = wanted | {"end_ms": end_ms}
    interval_ms = round(asked.interval * 1000)
    ticks = round(asked.hours * 3_600_000) // interval_ms
    return fleet(series=asked.series, ticks=ticks, end_ms=former["end_ms"], interval_ms=interval_ms)


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All parts that were asked for; results of other parts are those of former runs in this folder."""
    kept = folder / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    servers = [server for key, server in SERVERS.items() if key in asked.servers and not server.missing]
    data = dataset(asked, results, anew="ingest" in asked.parts)
    results["machine"] = machine()
    results["versions"] = {server.name: server.version() for server in servers}
    results["absent"] = [server.name for key, server in SERVERS.items() if key in asked.servers and server.missing]
    results["data"]["samples"] = data.samples
    for part in asked.parts:
        began = time.perf_counter()
        say(f"{part} …")
        if part == "ingest":
            results["ingest"] = ingest.measure(servers, data, folder, say=say)
        elif part == "queries":
            missing = [server for server in servers if not ingest.is_complete(server, folder, data)]
            if missing:
                results.setdefault("ingest", {}).update(ingest.measure(missing, data, folder, say=say))
            results["queries"] = queries_part(asked, servers, data, folder)
        elif part == "rules":
            results["rules"] = {}
            for server in servers:
                results["rules"][server.name] = rules_of(asked, server, folder)
                kept.write_text(json.dumps(results, indent=1))
        else:
            results["growth"] = growth.measure(
                servers,
                folder,
                sizes=asked.growth_series,
                minutes=asked.growth_minutes,
                interval_ms=round(asked.interval * 1000),
                runs=asked.runs,
                say=say,
            )
        results.setdefault("took_s", {})[part] = round(time.perf_counter() - began, 1)
        kept.write_text(json.dumps(results, indent=1))
    return results


def queries_part(asked: argparse.Namespace, servers: list[Server], data: Dataset, folder: Path) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        running = {server.name: ingest.restarted(server, folder, stack) for server in servers}
        return queries.measure(running, data, queries.QUERIES, runs=asked.runs, say=say)


def rules_of(asked: argparse.Namespace, server: Server, folder: Path) -> dict[str, Any]:
    directory = folder / "rules" / server.key
    shutil.rmtree(directory, ignore_errors=True)
    evaluation = rules.measure(
        server,
        directory,
        series=asked.series,
        count=asked.rules,
        rounds=asked.rounds,
        interval_s=asked.rule_interval,
        sample_interval_ms=round(asked.interval * 1000),
    )
    shutil.rmtree(directory, ignore_errors=True)
    say(f"  {server.name}: {evaluation.median_s:.3f} s a round, {evaluation.cpu_s:.2f} s of CPU")
    return asdict(evaluation) | {"median_s": evaluation.median_s}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    asked = options(argv)
    with work_folder(asked.work) as folder:
        results = measure(asked, folder)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")
    print(report.markdown(results))
    return 1 if report.failures(results) else 0


if __name__ == "__main__":
    sys.exit(main())
