"""
How quickly the loop closes, and what the stack costs at rest.

    python bench/loop.py --runs 10                        starts a stack of its own, and stops it afterwards
    python bench/loop.py --runs 10 --data-dir .steersman  uses the one that runs there

Prints Markdown for docs/benchmarks.md: median and worst of each grade of the drill, and memory and idle CPU of each
process. Exit code 1 if any run did not pass.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from stacks.drill import run_drill
from stacks.own import own_stack, running_state

from remediation.drills.endpoints import Endpoints
from remediation.drills.stack import Stack
from steersman.cli.handover import drill_environment
from steersman.runtime.paths import DataDir

SETTLE_S = 20.0  # after readiness, until caches are warm and start-up work is done
IDLE_WINDOW_S = 30.0
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cost:
    name: str
    rss_bytes: int
    cpu_ratio: float  # of one core


@dataclass(frozen=True, slots=True)
class Run:
    verdict: str
    reasons: tuple[str, ...]
    took_s: dict[str, float | None]  # by grade
    aims_s: dict[str, float | None]
    duration_s: float

    @classmethod
    def from_report(cls, document: dict[str, Any]) -> Run:
        grades = document["grades"]
        return cls(
            verdict=document["verdict"],
            reasons=tuple(document["reasons"]),
            took_s={grade["grade"]: grade["took_s"] for grade in grades},
            aims_s={grade["grade"]: grade["aim_s"] for grade in grades},
            duration_s=document["duration_s"],
        )


async def process_ids(endpoints: Endpoints) -> dict[str, int]:
    """What the supervisor keeps alive, and the replicas, by name."""
    async with Stack(endpoints) as stack:
        found = {str(each["name"]): int(each["pid"]) for each in await stack.processes() if each.get("pid")}
        return found | await stack.replicas()


def measure_idle(endpoints: Endpoints, supervisor: int) -> list[Cost]:
    """Memory at the end of the window, CPU over all of it, each with its children."""
    named = {"supervisor": supervisor} | asyncio.run(process_ids(endpoints))
    own = set(named.values())
    before = {name: cpu_s(pid, own) for name, pid in named.items()}
    time.sleep(IDLE_WINDOW_S)  # the window is what is measured
    return [
        Cost(name, rss_bytes(pid, own), (cpu_s(pid, own) - before[name]) / IDLE_WINDOW_S) for name, pid in named.items()
    ]


def family(pid: int, own: set[int]) -> list[psutil.Process]:
    """The process, and its children that have no line of their own."""
    process = psutil.Process(pid)
    return [process, *(child for child in process.children(recursive=True) if child.pid not in own)]


def cpu_s(pid: int, own: set[int]) -> float:
    total = 0.0
    for process in family(pid, own):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def rss_bytes(pid: int, own: set[int]) -> int:
    total = 0
    for process in family(pid, own):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def times_table(runs: list[Run]) -> list[str]:
    lines = ["| time to | median | worst | aim | met |", "| --- | ---: | ---: | ---: | ---: |"]
    for grade, aim_s in runs[0].aims_s.items():
        took = [value for run in runs if (value := run.took_s.get(grade)) is not None]
        median, worst = (f"{statistics.median(took):.2f} s", f"{max(took):.2f} s") if took else ("–", "–")
        aim = "–" if aim_s is None else f"{aim_s:g} s"
        lines.append(f"| {grade} | {median} | {worst} | {aim} | {len(took)} of {len(runs)} |")
    return lines


def costs_table(costs: list[Cost]) -> list[str]:
    ordered = sorted(costs, key=lambda each: -each.rss_bytes)
    memory, cpu = sum(each.rss_bytes for each in costs), sum(each.cpu_ratio for each in costs)
    return [
        "| process | memory (RSS) | idle CPU, of one core |",
        "| --- | ---: | ---: |",
        *(f"| {each.name} | {each.rss_bytes / MIB:.0f} MiB | {each.cpu_ratio:.1%} |" for each in ordered),
        f"| **all** | **{memory / MIB:.0f} MiB** | **{cpu:.1%}** |",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--drill", default="latency-surge")
    parser.add_argument("--data-dir", type=Path, help="of a running stack; without it, one is started")
    parser.add_argument("--port-offset", type=int, help="of the stack that is started; free ones, if not given")
    asked = parser.parse_args()
    if asked.runs < 1:
        parser.error("--runs must be at least 1")
    stack = contextlib.nullcontext(DataDir.at(asked.data_dir)) if asked.data_dir else own_stack(asked.port_offset)
    with stack as data_dir:
        state = running_state(data_dir)
        environment = drill_environment(data_dir, state)
        time.sleep(SETTLE_S)  # see there
        costs = measure_idle(Endpoints.from_environment(environment), state.pid)
        runs = []
        for number in range(1, asked.runs + 1):
            run = Run.from_report(run_drill(asked.drill, data_dir))
            runs.append(run)
            took = ", ".join(f"{grade} {value}" for grade, value in run.took_s.items())
            why = "".join(f"\n    {reason}" for reason in run.reasons)
            print(f"{number}: {run.verdict} in {run.duration_s:.0f} s: {took}{why}", file=sys.stderr, flush=True)
    passed = sum(run.verdict == "PASS" for run in runs)
    system = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(
        f"`python bench/loop.py --runs {asked.runs} --drill {asked.drill}` on {system}: {passed} of {len(runs)} PASS\n"
    )
    print("\n".join([*times_table(runs), "", *costs_table(costs)]))
    return 0 if passed == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
