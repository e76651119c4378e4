"""Thirty queries as dashboards and alert rules ask them, and their times and answers over HTTP."""

from __future__ import annotations

import http.client
import json
import math
import statistics
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from peers.dataset import Dataset
from peers.process import Process

TOLERANCE = 1e-9  # relative, absolute near zero
OFF_MS = 3  # past multiples of 10 ms; see PHASE_MS
MAX_STEPS = 1_441  # of a range: a sample's interval over six hours
QUERY_BUDGET_S = 12.0  # of one query at one server; the runs that do not fit are left out, three at least are made
LEAST_RUNS = 3

RATES = "MetricsQL's rate and increase do not extrapolate, and take in the sample before the window"
SUBQUERY = RATES + "; its subqueries align to their own start"
NAMES = "MetricsQL keeps the name of the metric there"


@dataclass(frozen=True, slots=True)
class Query:
    tier: str  # series touched when there are 10,000: "1", "100" or "10,000"
    title: str
    expr: str
    hours: float = 0.0  # of a range that ends with the data; 0: instant, at its end
    step_s: int = 15
    victoria: str = ""  # why VictoriaMetrics may answer otherwise


ONE = 'job="api",instance="api-0:9100"'
HTTP = "http_requests_total"
BUCKET = "http_request_duration_seconds_bucket"
MEMORY = "process_resident_memory_bytes"
QUERIES = (
    # One series: a panel of one replica, an alert on one target.
    Query("1", "alert: is it up", f"up{{{ONE}}} == 0 or up{{{ONE}}} == 1"),
    Query("1", "alert: is it gone", 'absent(up{job="api",instance="api-none:9100"})'),
    Query("1", "memory of one", f"{MEMORY}{{{ONE}}}", 6),
    Query("1", "rate of one", f'rate({HTTP}{{{ONE},route="/item",status="200"}}[5m])', 6, victoria=RATES),
    Query("1", "increase of an hour", f'increase({HTTP}{{{ONE},route="/item",status="200"}}[1h])', victoria=RATES),
    Query(
        "1",
        "today over an hour ago",
        f'rate({HTTP}{{{ONE},route="/item",status="200"}}[5m])'
        f' / rate({HTTP}{{{ONE},route="/item",status="200"}}[5m] offset 1h)',
        5,
        victoria=RATES,
    ),
    Query("1", "deepest queue", f'max_over_time(queue_depth{{{ONE},queue="email"}}[10m])', 6, victoria=NAMES),
    Query(
        "1",
        "highest rate of an hour",
        f'max_over_time(rate({HTTP}{{{ONE},route="/item",status="200"}}[1m])[1h:1m])',
        victoria=SUBQUERY,
    ),
    Query("1", "alert: memory in an hour", f"predict_linear({MEMORY}{{{ONE}}}[1h], 3600)", victoria=NAMES),
    # A hundred: one service's dashboard, one gauge of every replica.
    Query("100", "errors by route", f'sum by (route) (rate({HTTP}{{job="api",status="500"}}[5m]))', 6, victoria=RATES),
    Query(
        "100",
        "p99 of one route",
        f'histogram_quantile(0.99, sum by (le) (rate({BUCKET}{{job="api",route="/item"}}[5m])))',
        6,
        victoria=RATES,
    ),
    Query(
        "100",
        "error ratio of a service",
        f'sum(rate({HTTP}{{job="api",status=~"5.."}}[5m])) / sum(rate({HTTP}{{job="api"}}[5m]))',
        6,
        victoria=RATES,
    ),
    Query(
        "100",
        "busiest replicas",
        f'topk(3, sum by (instance) (rate({HTTP}{{job="api",status="200"}}[5m])))',
        6,
        victoria=RATES,
    ),
    Query("100", "up, every replica", "up", 6),
    Query("100", "descriptors in use", "process_open_fds / process_max_fds", 6),
    Query(
        "100",
        "memory by version",
        f"sum by (version) ({MEMORY} * on (job, instance) group_left (version) build_info)",
        6,
    ),
    Query("100", "memory by service", f"avg by (job) ({MEMORY})", 6, 60),
    Query("100", "alert: descriptors", "process_open_fds / on (job, instance) process_max_fds > 0.2"),
    Query("100", "alert: replicas up", "sum by (job) (up) / count by (job) (up) < 0.9 or avg by (job) (up)"),
    Query(
        "100",
        "alert: error ratio",
        f'sum by (instance) (rate({HTTP}{{job="api",status=~"5..",route="/order"}}[5m]))'
        f' / sum by (instance) (rate({HTTP}{{job="api",route="/order"}}[5m])) > 0.001',
        victoria=RATES,
    ),
    # Thousands: the overview of everything, and the rules over it.
    Query("10,000", "requests by service, 6 h", f"sum by (job) (rate({HTTP}[5m]))", 6, victoria=RATES),
    Query("10,000", "requests by service, 1 h", f"sum by (job) (rate({HTTP}[1m]))", 1, victoria=RATES),
    Query(
        "10,000",
        "p95 by service",
        f"histogram_quantile(0.95, sum by (job, le) (rate({BUCKET}[5m])))",
        6,
        60,
        victoria=RATES,
    ),
    Query(
        "10,000",
        "error ratio by service",
        f'sum by (job) (rate({HTTP}{{status=~"5.."}}[5m])) / sum by (job) (rate({HTTP}[5m]))',
        6,
        60,
        victoria=RATES,
    ),
    Query("10,000", "every rate, drawn", f'rate({HTTP}{{status="200"}}[5m])', 6, 60, victoria=RATES),
    Query("10,000", "every counter, drawn", HTTP, 1),
    Query("10,000", "busiest of all", f"topk(10, rate({HTTP}[5m]))", victoria=RATES),
    Query("10,000", "series of each service", 'count by (job) ({__name__=~".+"})', 1, 60),
    Query(
        "10,000",
        "highest sum of half an hour",
        f"max_over_time(sum by (job) (rate({HTTP}[5m]))[30m:1m])",
        1,
        60,
        victoria=SUBQUERY,
    ),
    Query(
        "10,000",
        "alert: p99 by route",
        f"histogram_quantile(0.99, sum by (job, route, le) (rate({BUCKET}[5m]))) > 0.1",
        victoria=RATES,
    ),
)
# Of these, one or two of each tier, how the times grow with the number of series.
GROWTH_TITLES = (
    "rate of one",
    "error ratio of a service",
    "up, every replica",
    "requests by service, 6 h",
    "every counter, drawn",
    "alert: p99 by route",
)


@dataclass(slots=True)
class Timing:
    """Of one query at one server, in milliseconds."""

    runs_ms: list[float] = field(default_factory=list)
    answer_bytes: int = 0
    error: str = ""
    verdict: str = ""  # against the reference

    @property
    def median_ms(self) -> float:
        return statistics.median(self.runs_ms) if self.runs_ms else math.nan

    @property
    def p95_ms(self) -> float:
        return float(np.quantile(self.runs_ms, 0.95)) if self.runs_ms else math.nan


def target(query: Query, data: Dataset) -> str:
    """Path and parameters. Ranges end with the data, and are no longer than it."""
    end_ms = data.end_ms - data.interval_ms
    end_ms += OFF_MS - end_ms % 10
    if not query.hours:
        return "/api/v1/query?" + urllib.parse.urlencode({"query": query.expr, "time": f"{end_ms / 1000:.3f}"})
    step_ms = max(query.step_s * 1000, data.interval_ms)
    steps = min(int(query.hours * 3_600_000), (data.ticks - 2) * data.interval_ms) // step_ms
    start_ms = end_ms - min(steps, MAX_STEPS - 1) * step_ms
    times = {"start": f"{start_ms / 1000:.3f}", "end": f"{end_ms / 1000:.3f}", "step": f"{step_ms / 1000:g}"}
    return "/api/v1/query_range?" + urllib.parse.urlencode({"query": query.expr, **times})


def ask(process: Process, path: str, runs: int, timing: Timing) -> bytes:
    """Read the whole answer `runs` times over one connection, after once to warm up; returns the last one."""
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=180)
    body = b""
    try:
        spent = 0.0
        for number in range(runs + 1):
            began = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            took = time.perf_counter() - began
            if answer.status != 200:
                timing.error = f"{answer.status}: {body[:200].decode(errors='replace')}"
                return b""
            if number:
                timing.runs_ms.append(took * 1000)
            spent += took
            if number >= LEAST_RUNS and spent > QUERY_BUDGET_S:
                break
    except OSError as error:
        timing.error = str(error) or type(error).__name__
    finally:
        connection.close()
    timing.answer_bytes = len(body)
    return body


def compare(reference: bytes, other: bytes) -> str:
    """ "equal", or what is different."""
    if not reference or not other:
        return "no answer"
    one, two = (_by_labels(json.loads(body)["data"]) for body in (reference, other))
    if one.keys() != two.keys():
        missing, more = len(one.keys() - two.keys()), len(two.keys() - one.keys())
        return f"{missing} series missing, {more} more"
    worst = 0.0
    for labels, (times, values) in one.items():
        their_times, their_values = two[labels]
        if len(times) != len(their_times) or not bool((times == their_times).all()):
            return f"{len(times)} points against {len(their_times)}, or other times"
        worst = max(worst, _difference(values, their_values))
    return "equal" if worst <= TOLERANCE else f"{worst:.1g} apart"


def _difference(one: Any, two: Any) -> float:
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    if bool(same.all()):
        return 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(one - two) / np.maximum(np.maximum(np.abs(one), np.abs(two)), 1e-300)
        apart = np.where(same | (np.abs(one - two) <= TOLERANCE * 1e-3), 0.0, apart)
    return float(np.where(np.isnan(apart), np.inf, apart).max())


def _by_labels(data: dict[str, Any]) -> dict[tuple[tuple[str, str], ...], tuple[Any, Any]]:
    found = {}
    for series in data["result"]:
        points = series["values"] if "values" in series else [series["value"]]
        times = np.array([point[0] for point in points])
        values = np.array([float(point[1]) for point in points])
        found[tuple(sorted(series["metric"].items()))] = (np.round(times, 3), values)
    return found


def kept_samples(process: Process, data: Dataset) -> int:
    """How many of the samples sent an answer has: counted by the server, one family at a time."""
    seconds = (data.end_ms - data.start_ms) // 1000 + 1
    total = 0
    for name in data.series_by_name():
        query = urllib.parse.urlencode(
            {"query": f"sum(count_over_time({name}[{seconds}s]))", "time": f"{(data.end_ms + OFF_MS) / 1000:.3f}"}
        )
        status, body = process.get(f"/api/v1/query?{query}")
        result = json.loads(body)["data"]["result"] if status == 200 else []
        total += round(float(result[0]["value"][1])) if result else 0
    return total


def measure(
    running: Mapping[str, Process], data: Dataset, chosen: Sequence[Query], *, runs: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """
    Every query at every server in turn, so that a slow minute of the machine meets all of them.

    Args:
        running: by name; the first one's answers are the reference.
    """
    for process in running.values():
        process.settle()
        process.forget_peak()
    before = {name: process.usage() for name, process in running.items()}
    rows = []
    for query in chosen:
        path = target(query, data)
        timings = {name: Timing() for name in running}
        answers = {name: ask(process, path, runs, timings[name]) for name, process in running.items()}
        reference = next(iter(running))
        for name, timing in timings.items():
            timing.verdict = timing.error or (
                "reference" if name == reference else compare(answers[reference], answers[name])
            )
        row = asdict(query) | {
            "timings": {
                name: asdict(timing) | {"median_ms": timing.median_ms, "p95_ms": timing.p95_ms}
                for name, timing in timings.items()
            }
        }
        rows.append(row)
        say(
            f"  {query.title}: "
            + ", ".join(f"{name} {timing.median_ms:.1f} ms ({timing.verdict})" for name, timing in timings.items())
        )
    after = {name: process.usage() for name, process in running.items()}
    servers = {
        name: {
            "restart_s": process.started_s,
            "cpu_s": after[name].cpu_s - before[name].cpu_s,
            "peak_bytes": after[name].peak_bytes,
            "rss_bytes": after[name].rss_bytes,
        }
        for name, process in running.items()
    }
    return {"queries": rows, "servers": servers, "runs": runs}
