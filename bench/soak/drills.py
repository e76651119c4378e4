"""
Every drill, several times in a row on one stack, and a table of what came of it.

    python bench/soak/drills.py --runs 10                      a stack of its own, all drills
    python bench/soak/drills.py --runs 10 poisoned-message     only these
    python bench/soak/drills.py --data-dir DIR                 on the stack that runs there

Exits with 1 if any run failed. An escalation is remembered by the worker for ten minutes (`escalation_hold_off`), so
drills that end in one come last, on a stack of their own, once for each run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml
from stacks.drill import run_drill
from stacks.own import own_stack

from steersman.runtime.paths import DataDir, shipped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1] if __doc__ else "")
    parser.add_argument("drills", nargs="*", help="all that ship, without one")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data-dir", type=Path, help="of a running stack; without it one is started")
    parser.add_argument("--json", type=Path, dest="json_file")
    options = parser.parse_args()
    names = options.drills or sorted(path.stem for path in shipped("drills").glob("*.yaml"))
    escalating = [name for name in names if _escalates(name)]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with _stack(options.data_dir) as data_dir:
        for name in (name for name in names if name not in escalating):
            for _ in range(options.runs):
                results[name].append(_run(name, data_dir))
    for name in escalating:
        for _ in range(options.runs):
            with _stack(options.data_dir) as data_dir:
                results[name].append(_run(name, data_dir))
    print(table(results))
    if options.json_file:
        options.json_file.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(run["verdict"] == "PASS" for runs in results.values() for run in runs) else 1


def _escalates(name: str) -> bool:
    definition = yaml.safe_load((shipped("drills") / f"{name}.yaml").read_text())
    return any("escalated" in str(each.get("remediation", "")) for each in definition["expect"])


def _stack(running: Path | None) -> AbstractContextManager[DataDir]:
    """The one given, or one of our own, which ends with the block."""
    return own_stack() if running is None else contextlib.nullcontext(DataDir.at(running))


def _run(name: str, data_dir: DataDir) -> dict[str, Any]:
    report = run_drill(name, data_dir)
    print(f"{name}: {report['verdict']} in {report['duration_s']:.0f} s {' '.join(report['reasons'])}", flush=True)
    return report


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: drill, passed runs, and the median and the longest of each grade in seconds."""
    lines = ["| drill | passed | median duration | grades: median (longest) in seconds |", "| --- | --- | --- | --- |"]
    for name, runs in results.items():
        took: dict[str, list[float]] = {}
        for grade in (grade for run in runs for grade in run["grades"] if grade["took_s"] is not None):
            took.setdefault(grade["grade"], []).append(grade["took_s"])
        grades = ", ".join(f"{g} {statistics.median(v):.1f} ({max(v):.1f})" for g, v in took.items())
        passed = sum(run["verdict"] == "PASS" for run in runs)
        duration = statistics.median([run["duration_s"] for run in runs] or [0.0])
        lines.append(f"| {name} | {passed}/{len(runs)} | {duration:.0f} s | {grades} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
