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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from steersman.runtime.paths import shipped
from steersman.runtime.ports import Ports

READY_S = 120.0  # four times what a stack needs on a quiet machine
RUN_S = 420.0  # the longest timeout of a drill, its steady state, and rollback
STOP_S = 60.0
PORTS_TRIED = range(5000, 30000, 500)


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


def _run(name: str, data_dir: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = [sys.executable, "-m", "steersman", "drill", "run", name, "--quiet", "--json", str(file)]
        done = subprocess.run(
            [*command, "--data-dir", str(data_dir)], capture_output=True, text=True, timeout=RUN_S, check=False
        )
        if not file.exists():
            print(f"{name}: could not be run: {done.stderr.strip()}", flush=True)
            return {"verdict": "NOT RUN", "reasons": [done.stderr.strip()], "grades": [], "duration_s": 0.0}
        report: dict[str, Any] = json.loads(file.read_text())
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


@contextlib.contextmanager
def _stack(running: Path | None) -> Iterator[Path]:
    """The data directory of a stack that is ready: the one given, or one of our own, which ends here."""
    if running is not None:
        yield running
        return
    with tempfile.TemporaryDirectory(prefix="steersman-drills-") as folder:
        data_dir = Path(folder) / "data"
        offset = _free_offset()
        command = [sys.executable, "-m", "steersman", "up", "--data-dir", str(data_dir), "--port-offset", str(offset)]
        with (Path(folder) / "up.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as stack:
            try:
                _wait_ready(data_dir, stack)
                yield data_dir
            finally:
                stack.terminate()
                stack.wait(STOP_S)


def _wait_ready(data_dir: Path, stack: subprocess.Popen[bytes]) -> None:
    """Until a drill could look at it; the drill's own steady state waits for the rest."""
    deadline = time.monotonic() + READY_S
    command = [sys.executable, "-m", "steersman", "drill", "run", "latency-surge", "--dry-run"]
    while time.monotonic() < deadline:
        if stack.poll() is not None:
            raise SystemExit(f"the stack did not start, exit code {stack.returncode}")
        looked = subprocess.run([*command, "--data-dir", str(data_dir)], capture_output=True, check=False)
        if looked.returncode in (0, 1):
            return
        time.sleep(1)
    raise SystemExit(f"the stack was not ready after {READY_S:.0f} s")


def _free_offset() -> int:
    import socket

    for offset in PORTS_TRIED:
        ports = Ports.at(offset)
        try:
            for port in (ports.prometheus, ports.nats, ports.remediation, ports.gateway):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return offset
    raise SystemExit(f"no free ports at offsets {PORTS_TRIED.start} to {PORTS_TRIED.stop}")


if __name__ == "__main__":
    sys.exit(main())
