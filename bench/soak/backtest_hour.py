"""
An hour of drills, then a backtest of the shop's rules over it: both must name the same firing times.

    python bench/soak/backtest_hour.py [--minutes 60] [--port-offset 7000] [--drill latency-surge]

Starts a stack of its own, runs the drill again and again, replays rules/*.yml over what was stored, and compares with
the series ALERTS that the live rules left. A rule that reads only what the collector records must agree to the
evaluation; one that reads raw samples (TargetDown) may be one evaluation off, because a sample that came late is there
for the replay and was not for the live rule. Prints Markdown; exit code 1 if a firing differs by more.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
from stacks.own import own_stack

from collector.rules.moment import unix_ms
from steersman.runtime.paths import DataDir, shipped
from steersman.stack.settings import Urls
from steersman.stack.state import read_state

SETTLE_S = 20.0  # after the last drill, so that what fires has resolved
ONE_EVALUATION_MS = 1000  # the interval of the shop's rules
DRILL_WITHIN_S = 400.0


@dataclass(frozen=True, slots=True)
class Compared:
    rule: str
    labels: str
    live_ms: int | None  # when it fired; None: it did not
    replayed_ms: int | None

    @property
    def off_ms(self) -> int | None:
        return None if self.live_ms is None or self.replayed_ms is None else self.replayed_ms - self.live_ms


def steersman(*arguments: str, timeout_s: float = DRILL_WITHIN_S) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "steersman", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def rehearse(data_dir: DataDir, drill: str, minutes: float) -> list[bool]:
    """Run the drill until the time is up; whether each passed."""
    passed: list[bool] = []
    deadline = time.monotonic() + minutes * 60
    while not passed or time.monotonic() < deadline:
        done = steersman("drill", "run", drill, "--quiet", "--data-dir", str(data_dir.root))
        passed.append(done.returncode == 0)
        print(f"drill {len(passed)}: {done.stdout.strip().splitlines()[-1:]}", file=sys.stderr, flush=True)
    return passed


def backtest(url: str, since_s: float, picture: Path | None) -> tuple[dict[str, Any], float]:
    """The backtest's document, and how long it took."""
    files = map(str, sorted(shipped("rules").glob("*.yml")))
    drawn = ["--picture", str(picture)] if picture else []
    began = time.monotonic()
    done = steersman("rules", "backtest", *files, "--url", url, "--from", f"{since_s:.3f}", "--format", "json", *drawn)
    if done.returncode != 0:
        raise SystemExit(f"the backtest failed: {done.stderr}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document, time.monotonic() - began


def compared(rule: dict[str, Any]) -> Iterator[Compared]:
    """Each firing of the live rule with the nearest one of the replay, and what is left over on either side."""
    ours, theirs = fired(rule["alerts"]), fired((rule["today"] or {"alerts": []})["alerts"])
    for labels in sorted(ours.keys() | theirs.keys()):
        left = list(ours.get(labels, []))
        for live_ms in theirs.get(labels, []):
            nearest = min(left, key=lambda at_ms: abs(at_ms - live_ms), default=None)
            if nearest is not None and abs(nearest - live_ms) <= 10 * ONE_EVALUATION_MS:
                left.remove(nearest)
            else:
                nearest = None
            yield Compared(rule["name"], labels, live_ms, nearest)
        yield from (Compared(rule["name"], labels, None, at_ms) for at_ms in left)


def fired(alerts: list[dict[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for alert in alerts:
        if alert["firedAt"] is not None:
            found.setdefault(json.dumps(alert["labels"], sort_keys=True), []).append(unix_ms(alert["firedAt"]))
    return found


def troubles(url: str) -> dict[str, float]:
    """What would make a replay differ: evaluations that the live rules missed, and those that failed."""
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text
    names = ("prometheus_rule_group_iterations_missed_total", "prometheus_rule_evaluation_failures_total")
    return {name: sum(map(float, re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE))) for name in names}


def report(document: dict[str, Any], passed: list[bool], took_s: float) -> int:
    """Print the figures; how many firings differ by more than an evaluation."""
    every = [one for rule in document["rules"] for one in compared(rule)]
    span_s = (unix_ms(document["to"]) - unix_ms(document["from"])) / 1000
    print(f"{len(passed)} drills, {sum(passed)} passed; {span_s / 60:.0f} minutes; replayed in {took_s:.1f} s")
    print(f"\n| rule | firings | same evaluation | one off | more | only live | only replayed |\n|{' --- |' * 7}")
    for name in sorted({rule["name"] for rule in document["rules"]}):
        own = [one for one in every if one.rule == name]
        off = [abs(one.off_ms) for one in own if one.off_ms is not None]
        figures = (
            len([one for one in own if one.live_ms is not None]),
            sum(each == 0 for each in off),
            sum(0 < each <= ONE_EVALUATION_MS for each in off),
            sum(each > ONE_EVALUATION_MS for each in off),
            sum(one.replayed_ms is None for one in own),
            sum(one.live_ms is None for one in own),
        )
        print(f"| {name} | {' | '.join(map(str, figures))} |")
    for one in every:
        if one.off_ms != 0:
            print(f"- {one.rule} {one.labels}: live {one.live_ms}, replayed {one.replayed_ms}, off {one.off_ms} ms")
    waits = [rule["evaluations"] for rule in document["rules"]]
    print(f"\n{len(waits)} rules, {statistics.mean(waits):.0f} evaluations each")
    return sum(one.off_ms is None or abs(one.off_ms) > ONE_EVALUATION_MS for one in every)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--port-offset", type=int, default=7000)
    parser.add_argument("--drill", default="latency-surge")
    parser.add_argument("--picture", type=Path, help="draw the backtest into this SVG file")
    options = parser.parse_args()
    with own_stack(options.port_offset) as data_dir:
        state = read_state(data_dir)
        if state is None:
            raise SystemExit("the stack is gone")
        time.sleep(SETTLE_S)  # what is absent while the stack starts is not what is compared
        since_s = time.time()
        passed = rehearse(data_dir, options.drill, options.minutes)
        time.sleep(SETTLE_S)
        url = Urls.of(state.ports).prometheus
        document, took_s = backtest(url, since_s, options.picture)
        print(*(f"{name}: {count:.0f}" for name, count in troubles(url).items()), *document["notices"], sep="\n")
    return 1 if report(document, passed, took_s) else 0


if __name__ == "__main__":
    sys.exit(main())
