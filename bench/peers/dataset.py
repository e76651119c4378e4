"""
What is measured with: the series of a fleet of services, made with NumPy, the same at every run.

Each instance has 100 series and, as a scraped target has, a phase of its own within the interval. Counters start high
and a reset drops them by a part only, since Prometheus 2 and 3 extrapolate differently towards a zero that is near.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SERIES_PER_INSTANCE = 100
JOBS = ("api", "cart", "catalog", "checkout", "fraud", "inventory", "mail", "payment", "search", "shipping")
ROUTES = tuple(
    f"/{name}" for name in ("", "item", "items", "login", "logout", "order", "orders", "pay", "quote", "user")
)
STATUSES = ("200", "404", "500", "503")
STATUS_RATES = (40.0, 1.5, 0.4, 0.2)  # requests in one interval
TIMED_ROUTES = ROUTES[:3]
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
CPU_RATES = {"user": 4.0, "system": 1.5, "iowait": 0.3, "idle": 9.0}  # seconds in one interval of 15 s
QUEUES = ("email", "export", "index", "refund")
# Phases are 5 ms past multiples of 10. So a query at 3 ms past one has no sample at the edge of a window, and neither
# have the steps of its subqueries, which are whole seconds.
PHASE_MS, PHASE_OFF_MS = 10, 5
COUNTER_START = 1e6
RESET_KEEPS = 0.6  # of a counter, when its process restarts
SEED = 42


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples of series i at tick k stand at `start_ms + phases_ms[i] + k * interval_ms`."""

    labels: tuple[tuple[tuple[str, str], ...], ...]  # of each series, sorted by name
    phases_ms: NDArray[np.int64]  # [series], below the interval
    values: NDArray[np.float64]  # [series, ticks]
    start_ms: int
    interval_ms: int

    @property
    def series(self) -> int:
        return len(self.labels)

    @property
    def ticks(self) -> int:
        return int(self.values.shape[1])

    @property
    def samples(self) -> int:
        return int(self.values.size)

    @property
    def end_ms(self) -> int:
        """After the last sample."""
        return self.start_ms + self.ticks * self.interval_ms

    def timestamps_ms(self, rows: slice, tick: int) -> NDArray[np.int64]:
        return self.start_ms + self.phases_ms[rows] + tick * self.interval_ms

    def series_by_name(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for labels in self.labels:
            name = dict(labels)["__name__"]
            counts[name] = counts.get(name, 0) + 1
        return counts


def fleet(*, series: int, ticks: int, end_ms: int, interval_ms: int) -> Dataset:
    """
    Args:
        series: a multiple of 100.
        end_ms: Unix milliseconds; all samples are before it.
    """
    if series < SERIES_PER_INSTANCE or series % SERIES_PER_INSTANCE:
        raise SystemExit(f"--series {series}: not a multiple of {SERIES_PER_INSTANCE}")
    instances = series // SERIES_PER_INSTANCE
    start_ms = end_ms - ticks * interval_ms
    start_ms -= start_ms % PHASE_MS
    labels: list[tuple[tuple[str, str], ...]] = []
    values = np.empty((series, ticks))
    for number in range(instances):
        job = JOBS[number % len(JOBS)]
        place = {"job": job, "instance": f"{job}-{number // len(JOBS)}:9100"}
        rows = values[number * SERIES_PER_INSTANCE : (number + 1) * SERIES_PER_INSTANCE]
        labels += _instance(number, place, rows)
    phases = np.arange(instances, dtype=np.int64) * 7_919 * PHASE_MS % (interval_ms - interval_ms % PHASE_MS)
    phases += PHASE_OFF_MS
    return Dataset(tuple(labels), np.repeat(phases, SERIES_PER_INSTANCE), values, start_ms, interval_ms)


def _instance(number: int, place: dict[str, str], out: NDArray[np.float64]) -> list[tuple[tuple[str, str], ...]]:
    """Fill `out` [100, ticks] with the samples of one instance; returns the labels of its rows."""
    random = np.random.default_rng([SEED, number])
    ticks = out.shape[1]
    labels: list[tuple[tuple[str, str], ...]] = []

    def add(name: str, row: Any, **more: str) -> None:
        out[len(labels)] = row  # of any number type
        labels.append(tuple(sorted({"__name__": name, **place, **more}.items())))

    reset = int(random.integers(1, max(2, ticks))) if number % 5 == 4 else ticks

    def counted(row: NDArray[Any]) -> NDArray[np.float64]:
        row = COUNTER_START + row
        if reset < ticks:
            row[reset:] -= np.floor(row[reset - 1] * (1 - RESET_KEEPS))
        return row

    busy = 1 + 0.5 * np.sin(np.arange(ticks) / 240 + number)  # a slow tide of load
    for route in ROUTES:
        for status, rate in zip(STATUSES, STATUS_RATES, strict=True):
            row = np.cumsum(random.poisson(rate * busy)).astype(np.float64)
            add("http_requests_total", counted(row), method="GET", route=route, status=status)
    for route in TIMED_ROUTES:
        within = np.cumsum(np.cumsum(random.poisson(3 * busy, (len(BOUNDS), ticks)), axis=1), axis=0).astype(np.float64)
        for bound, row in zip(BOUNDS, within, strict=True):
            add("http_request_duration_seconds_bucket", counted(row), route=route, le=bound)
        add("http_request_duration_seconds_count", counted(within[-1]), route=route)
        add("http_request_duration_seconds_sum", counted(np.round(within[-1] * 0.18, 4)), route=route)
    for cpu in ("0", "1"):
        for mode, seconds in CPU_RATES.items():
            row = np.round(np.cumsum(random.gamma(4, seconds / 4, ticks)), 2)
            add("node_cpu_seconds_total", counted(row), cpu=cpu, mode=mode)
    add("process_resident_memory_bytes", 2e8 + np.cumsum(random.integers(-512, 600, ticks)) * 4096.0)
    add("process_open_fds", 200 + np.cumsum(random.integers(-2, 3, ticks)))
    add("process_max_fds", np.full(ticks, 1024.0))
    add("go_goroutines", random.integers(40, 400, ticks))
    add("up", np.greater(random.random(ticks), 0.002))
    add("build_info", np.ones(ticks), version=f"1.{number % 3}.0")
    for queue in QUEUES:
        add("queue_depth", np.round(np.abs(random.normal(20, 15, ticks)), 3), queue=queue)
    assert len(labels) == SERIES_PER_INSTANCE
    return labels
