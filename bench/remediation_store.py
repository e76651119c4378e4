"""
100,000 recorded runs: how long listing and guards take. `python bench/remediation_store.py [--runs N] [--url URL]`

The store is generated: six services over 90 days, each run with two actions, eight lines of timeline, four findings.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from remediation.store.record import Action, State
from remediation.store.store import Store
from remediation.store.tables import actions, evidence, runs, timeline

SERVICES = ("cart", "catalog", "checkout", "inventory", "payment", "recommendation")
ENDS = ("resolved", "resolved", "resolved", "refused", "escalated")
DAYS_MS = 90 * 86_400_000
WEEK_MS = 7 * 86_400_000
AIM_S = 0.05
KINDS = ("median", "slowest", "CPU")
CHUNK = 2000


def fill(store: Store, count: int, now_ms: int) -> None:
    for first in range(0, count, CHUNK):
        rows: dict[sa.Table, list[dict[str, object]]] = {runs: [], actions: [], timeline: [], evidence: []}
        for number in range(first, min(first + CHUNK, count)):
            _run(rows, number, now_ms - DAYS_MS + number * DAYS_MS // count)
        with store.database.engine.begin() as connection:
            for table, some in rows.items():
                connection.execute(sa.insert(table), some)
    if store.database.shared:  # as its autovacuum does within a minute; a plan without statistics reads whole tables
        with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")


def _run(rows: dict[sa.Table, list[dict[str, object]]], number: int, at_ms: int) -> None:
    run_id, service = f"{number:016x}-{at_ms}", SERVICES[number % len(SERVICES)]
    rows[runs].append(
        {
            "id": run_id,
            "service": service,
            "alertname": "HighRequestLatency",
            "fingerprint": f"{number:016x}",
            "policy": "scale-out-on-latency",
            "policy_json": "{}" * 500,
            "alert_json": '{"labels": {"alertname": "HighRequestLatency"}, "annotations": {}}',
            "state": ENDS[number % len(ENDS)],
            "outcome": "the alert has resolved",
            "started_at_unix_ms": at_ms,
            "finished_at_unix_ms": at_ms + 60_000,
        }
    )
    shared = {"run_id": run_id, "at_unix_ms": at_ms}
    for turn, kind in enumerate(("scale_out", "scale_in")):
        counts = {"from_replicas": 1, "to_replicas": 3, "reason": "the load wants 2.4", "status": "done"}
        rows[actions].append(shared | counts | {"key": str(turn), "action": kind, "target": service})
    rows[timeline] += [shared | {"key": str(n), "event": "planned", "detail": "1 → 3 replicas"} for n in range(8)]
    rows[evidence] += [
        shared | {"key": str(n), "name": "p99", "query": "histogram_quantile(0.99, x)", "value_json": "1.9"}
        for n in range(4)
    ]


class Took(NamedTuple):
    """Seconds; `cpu_s` is this process's own, so on PostgreSQL the server's is not in it."""

    median_s: float
    slowest_s: float
    cpu_s: float


def took(turns: int, ask: Callable[[], object]) -> Took:
    """After one turn to warm up."""
    ask()
    each: list[float] = []
    cpu_s = time.process_time()
    for _ in range(turns):
        began_s = time.perf_counter()
        ask()
        each.append(time.perf_counter() - began_s)
    return Took(statistics.median(each), max(each), (time.process_time() - cpu_s) / turns)


def measure(store: Store, now_ms: int) -> dict[str, Took]:
    action = Action(
        key="k", action="scale_out", target="cart", from_replicas=1, to_replicas=2, reason="r", at_unix_ms=now_ms
    )
    newest = str(store.records(state=None, service=None, limit=1)[0]["id"])
    asked: dict[str, Callable[[], object]] = {
        "list 20": lambda: store.records(state=None, service=None, limit=20),
        "list 100": lambda: store.records(state=None, service=None, limit=100),
        "list 100 of a service": lambda: store.records(state=None, service="cart", limit=100),
        "list 100 escalated": lambda: store.records(state="escalated", service=None, limit=100),
        "one record": lambda: store.record(newest),
        "unfinished": store.unfinished,
        "guards of a target": lambda: store.history("cart", newest, now_ms),
        "guards, a week back": lambda: store.history("cart", newest, now_ms, looking_back_ms=WEEK_MS),
        "guards of all": lambda: store.fleet(newest, "scale-out-on-latency", now_ms, 600_000),
        "let an action in": lambda: store.intend(
            newest, State.ACTING, action, radius_ms=600_000, admit=lambda fleet, known: "measured only"
        ),
    }
    return {name: took(20, ask) for name, ask in asked.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--url", help="of an empty PostgreSQL database (postgresql+psycopg://…); SQLite without it")
    arguments = parser.parse_args()
    now_ms = time.time_ns() // 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        store = Store.at_url(arguments.url) if arguments.url else Store.in_file(Path(folder) / "store.sqlite")
        fill(store, arguments.runs, now_ms)
        print(f"{arguments.runs} runs")
        slow = []
        for name, one in measure(store, now_ms).items():
            told = [f"{kind} {seconds * 1000:7.1f} ms" for kind, seconds in zip(KINDS, one, strict=True)]
            print(f"{name:24} {'   '.join(told)}", flush=True)
            slow += [name] if one.median_s > AIM_S else []
        store.close()
    if slow:
        raise SystemExit(f"beyond {AIM_S * 1000:.0f} ms: {', '.join(slow)}")


if __name__ == "__main__":
    main()
