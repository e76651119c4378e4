"""
How long the loop takes on different alerting systems: the same fault, rule, policy and worker, in one run.

    python bench/loop_times.py                          all four, an hour and a half on a machine that does nothing else
    python bench/loop_times.py embedded tightest        only these
    python bench/loop_times.py --runs 1 default         so many of each

The fault is the drill latency-surge's: three times the load that catalog can serve, from one moment to the next, until
the worker has verified that it helped. Times count from that moment:

    firing     the alert's own `startsAt`
    notified   the worker has taken the alert, durably
    action     the new number of replicas is set
    verified   the rule's expression has been quiet for three seconds, after the action
    served     customers' p99 is below the rule's half second again, for good: the same measure for all, from the
               collector, which has the requests' durations every second in each of them

A rate over ten seconds has no value where scrapes are further apart, so for those the rules' and the policy's windows
are four scrapes, rule groups have the global interval, and verification has as much more time (`stacks/arms.py`).
Where scrapes are rare the fault begins at a random moment between two of them, on a fresh stack each time: what
Alertmanager holds back for `group_interval` would take longer to wait for than a stack takes to start.

Prints Markdown for docs/benchmarks.md; exits with 1 if a run was not verified.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import math
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from stacks.arms import ARMS, Arm
from stacks.own import NotReadyError, own_stack, running_state

from remediation.drills.breaker import Breaker
from remediation.drills.capacity import replica_capacity_query
from remediation.drills.disturbances import SetLoad
from remediation.drills.endpoints import Endpoints
from remediation.drills.errors import BrokenAnswerError, DrillError
from steersman.cli.handover import drill_environment
from steersman.runtime.paths import DataDir
from steersman.stack.settings import Urls

SERVICE, ALERT, JOURNEY = "catalog", "HighRequestLatency", "browse"
TIMES_CAPACITY = 3.0  # as drills/latency-surge.yaml
THRESHOLD_S = 0.5  # of the rule
P99 = (
    f'histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket{{job="{SERVICE}"}}[10s])))'
)
SERVED_FOR_S = 3.0  # as long as verification holds
STEADY_WITHIN_S = 240.0  # beside the time that the arm's windows take to fill
SETTLE_S = 10.0  # after the steady state, so that no start-up work is left
POLL_S = 0.2
TTL_MARGIN_S = 60.0
STAGES = ("firing", "notified", "action", "verified", "served")


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """Seconds since the fault; None if it never came."""

    firing: float | None = None
    notified: float | None = None
    action: float | None = None
    verified: float | None = None
    served: float | None = None
    outcome: str = ""  # of a run that was not verified

    @classmethod
    def of(cls, record: dict[str, Any], fault_unix_ms: float, served_s: float | None) -> Times:
        """From the worker's record, as `GET /api/v1/remediations/ID` gives it."""

        def since(at_unix_ms: float | None) -> float | None:
            return None if at_unix_ms is None else (at_unix_ms - fault_unix_ms) / 1000

        first: dict[str, int] = {}
        for event in record["timeline"]:
            first.setdefault(event["event"], event["at_unix_ms"])
        verified = since(first.get("verified"))
        return cls(
            firing=since(dt.datetime.fromisoformat(record["alert"]["startsAt"]).timestamp() * 1000),
            notified=since(record["started_at_unix_ms"]),
            action=since(first.get("scale_out")),
            verified=verified,
            served=served_s,
            outcome="" if verified is not None else f"{record['state']}: {record['outcome']}",
        )


class Watched(Breaker):
    """One stack of one arm. `measure` raises NotReadyError if it does not come to rest."""

    def __init__(self, endpoints: Endpoints, collector: str, arm: Arm) -> None:
        super().__init__(endpoints)
        self._arm = arm
        self._collector = httpx.AsyncClient(base_url=collector, timeout=5.0, trust_env=False)

    async def __aexit__(self, *exc: object) -> None:
        await self._collector.aclose()
        await super().__aexit__(*exc)

    async def configure(self, data_dir: DataDir) -> None:
        pids = {str(each["name"]): int(each["pid"]) for each in await self.processes()}
        self._arm.configure(data_dir, pids)

    async def measure(self) -> Times:
        rate = await self._steady()
        await asyncio.sleep(SETTLE_S + random.uniform(0, self._arm.interval_s))
        load = SetLoad(JOURNEY, rate, self._arm.within_s + TTL_MARGIN_S)
        (undo,) = await self.undo_of([load])
        began = time.time()
        try:
            await self.inject(load)
            return await self._watch(began)
        except DrillError as error:
            return Times(outcome=f"not measured: {error}")
        finally:
            await self.undo(undo)

    async def _steady(self) -> float:
        """Wait until nothing is the matter; the load that is too much, in arrivals a second."""
        deadline = time.monotonic() + STEADY_WITHIN_S + 2 * self._arm.window_s
        rated = f'sum(rate(worker_pool_arrivals_total{{job="{SERVICE}"}}[{max(10, self._arm.window_s)}s]))'
        per_replica = replica_capacity_query(SERVICE)
        why = ""
        while time.monotonic() < deadline:
            seen = await self.observe([rated, per_replica])
            why = "; ".join(seen.troubles)
            if not why:
                service = (seen.services or {})[SERVICE]
                conditions = {
                    f"{SERVICE} has its fewest replicas": service.desired == service.ready == service.minimum,
                    "no run is at work": not any(one.open for one in seen.remediations or ()),
                    "no alert is pending or fires": not any(
                        one.matches({"alertname": ALERT, "service": SERVICE}) for one in seen.alerts or ()
                    ),
                    "Prometheus has rates": bool(seen.samples.get(rated)) and seen.samples[rated][0] > 0,
                    "its capacity is known": bool(seen.samples.get(per_replica)),
                    "customers are served": (await self._p99() or math.inf) < THRESHOLD_S,
                }
                why = ", ".join(f"not so: {words}" for words, holds in conditions.items() if not holds)
                if not why:
                    return TIMES_CAPACITY * seen.samples[per_replica][0] * service.desired
            await asyncio.sleep(1.0)
        raise NotReadyError(f"{self._arm.name}: the stack did not come to rest: {why}")

    async def _watch(self, began: float) -> Times:
        record: dict[str, Any] | None = None
        served, suffered = None, False
        times = Times(outcome="no alert came to the worker")
        while time.time() - began < self._arm.within_s:
            p99 = await self._p99()
            if p99 is not None and p99 >= THRESHOLD_S:
                served, suffered = None, True
            elif suffered and p99 is not None and served is None:
                served = time.time() - began
            record = await self._record(began) or record
            if record is not None:
                times = Times.of(record, began * 1000, served)
                over = times.verified is not None or record["finished_at_unix_ms"] is not None
                if over and served is not None and time.time() - began - served >= SERVED_FOR_S:
                    break
            await asyncio.sleep(POLL_S)
        return times

    async def _record(self, began: float) -> dict[str, Any] | None:
        """The first run about the fault; None if there is none yet, or nobody answers."""
        try:
            answer = await self._get("remediation", "/api/v1/remediations", {"service": SERVICE, "limit": "10"})
        except BrokenAnswerError:
            return None
        runs = [one for one in answer["remediations"] if one["alertname"] == ALERT]
        since = [one for one in runs if one["started_at_unix_ms"] >= began * 1000]
        return since[-1] if since else None

    async def _p99(self) -> float | None:
        try:
            answer = await self._collector.get("/api/v1/query", params={"query": P99})
            result = answer.raise_for_status().json()["data"]["result"]
        except httpx.HTTPError:  # asked again in a moment
            return None
        value = float(result[0]["value"][1]) if result else math.nan
        return None if math.isnan(value) else value


async def measured(data_dir: DataDir, arm: Arm, runs: int, report: Callable[[Times], None]) -> None:
    state = running_state(data_dir)
    endpoints = Endpoints.from_environment(drill_environment(data_dir, state))
    async with Watched(endpoints, Urls.of(state.ports, arm.backend).collector, arm) as stack:
        await stack.configure(data_dir)
        for _ in range(runs):
            report(await stack.measure())


def run_arm(arm: Arm, runs: int) -> list[Times]:
    found: list[Times] = []

    def report(times: Times) -> None:
        found.append(times)
        told = ", ".join(f"{stage} {_seconds(getattr(times, stage))}" for stage in STAGES)
        print(f"{arm.name} {len(found)}/{runs}: {told} {times.outcome}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="steersman-arm-") as folder:
        code = arm.code(Path(folder) / "copy")
        for each in [1] * runs if arm.fresh else [runs]:
            try:
                with own_stack(code=code, backend=arm.backend) as data_dir:
                    asyncio.run(measured(data_dir, arm, each, report))
            except NotReadyError as error:  # the other runs and arms are worth their table
                report(Times(outcome=f"not measured: {error}"))
    return found


def table(results: dict[str, list[Times]]) -> list[str]:
    """Markdown: the median and, in brackets, the longest of each stage."""
    asks = "alerts from (scrape, evaluation, `group_wait`, `group_interval`)"
    lines = [f"| {asks} | runs | {' | '.join(STAGES)} |", "| --- | ---: |" + " ---: |" * len(STAGES)]
    for arm in (arm for arm in ARMS if arm.name in results):
        runs = results[arm.name]
        cells = []
        for stage in STAGES:
            values = [value for run in runs if (value := getattr(run, stage)) is not None]
            short = "" if len(values) == len(runs) else f", {len(values)} of {len(runs)}"
            cells.append(f"{statistics.median(values):.1f} s ({max(values):.1f} s{short})" if values else "never")
        lines.append(f"| {arm.words} | {len(runs)} | {' | '.join(cells)} |")
    return lines


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [arm.name for arm in ARMS]
    parser.add_argument("arms", nargs="*", help=f"of {', '.join(names)}; all, without one")
    parser.add_argument("--runs", type=int, help="of each arm, in place of ten, or three where each takes minutes")
    parser.add_argument("--json", type=Path, dest="json_file", help="every run's times")
    asked = parser.parse_args()
    if unknown := set(asked.arms) - set(names):
        parser.error(f"there is no arm {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [arm for arm in ARMS if not asked.arms or arm.name in asked.arms]
    results: dict[str, list[Times]] = {}
    for arm in chosen:
        with contextlib.suppress(KeyboardInterrupt):  # what was measured is printed all the same
            results[arm.name] = run_arm(arm, asked.runs or arm.runs)
    system = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(f"`python bench/loop_times.py` on {system}; seconds since the fault, median (longest)\n")
    print("\n".join(table(results)))
    if asked.json_file:
        found = {name: [dataclasses.asdict(run) for run in runs] for name, runs in results.items()}
        asked.json_file.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(run.verified is not None for runs in results.values() for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
