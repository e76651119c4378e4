"""
Rate, errors and duration of a service's spans over time, counted from the spans themselves.

Durations are counted in buckets that grow by 2 %, so a quantile is exact to 1 %; that makes a window that slides over
the range a difference of two running sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from collector.model.telemetry import StatusCode

GROWTH = 1.02
MAX_STEPS = 11_000  # Prometheus's limit of points of one series (web/api/v1/api.go)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedQuery:
    services: Sequence[str]
    kinds: Sequence[int]  # SpanKind
    start_unix_nano: int  # of the first step
    step_nano: int
    steps: int
    window_nano: int  # each step counts the spans that started within this time before it
    by_operation: bool


@dataclass(frozen=True, slots=True)
class RedSeries:
    service: str
    operation: str  # empty unless asked for
    times_unix_nano: NDArray[np.int64]  # [steps]
    calls: NDArray[np.int64]  # [steps], within the window before each
    errors: NDArray[np.int64]  # [steps]
    buckets: NDArray[np.int64]  # [buckets in use], ascending: duration is at most GROWTH ** bucket ns
    durations: NDArray[np.int64]  # [steps, buckets in use]: calls in each

    def quantile_nano(self, quantile: float) -> NDArray[np.float64]:
        """[steps]; NaN where there were no calls."""
        running = self.durations.cumsum(axis=1)
        rank = np.maximum(1, np.ceil(quantile * self.calls))
        at = (running < rank[:, None]).sum(axis=1).clip(max=len(self.buckets) - 1)
        middle = GROWTH ** (self.buckets[at] - 0.5)
        return np.where(self.calls > 0, middle, np.nan)


def read_red(cursor: duckdb.DuckDBPyConnection, query: RedQuery) -> list[RedSeries]:
    """By service and operation; nothing for a service without a call in the range."""
    first = query.start_unix_nano - query.window_nano
    sql = f"""
        SELECT service, {"name" if query.by_operation else "''"} AS operation,
            ((start_unix_nano::HUGEINT - $first) // $step)::BIGINT AS slot,
            ceil(ln(greatest(duration_nano, 1)) / {math.log(GROWTH)})::BIGINT AS bucket,
            count(*), count(*) FILTER (status_code = {int(StatusCode.ERROR)})
        FROM spans WHERE start_unix_nano BETWEEN greatest($first, 0) AND $last
            AND list_contains($services::VARCHAR[], service) AND list_contains($kinds::INTEGER[], kind)
        GROUP BY ALL ORDER BY ALL
    """  # noqa: S608  (ours, the values are bound)
    values = {
        "first": first,
        "last": query.start_unix_nano + (query.steps - 1) * query.step_nano,
        "step": query.step_nano,
        "services": list(query.services),
        "kinds": list(query.kinds),
    }
    groups: dict[tuple[str, str], list[tuple[int, int, int, int]]] = {}
    for service, operation, *cell in cursor.execute(sql, values).fetchall():
        groups.setdefault((service, operation), []).append((cell[0], cell[1], cell[2], cell[3]))
    return [_one(service, operation, np.array(cells), query) for (service, operation), cells in groups.items()]


def _one(service: str, operation: str, cells: NDArray[np.int64], query: RedQuery) -> RedSeries:
    slots, buckets, counts, errors = cells.T
    in_use, column = np.unique(buckets, return_inverse=True)
    # The window is a whole number of steps, at least one; slot 0 begins one window before the first step.
    width = max(1, round(query.window_nano / query.step_nano))
    table = np.zeros((width + query.steps + 1, len(in_use)), np.int64)
    np.add.at(table, (slots.clip(max=len(table) - 1), column), counts)
    failed = np.zeros(len(table), np.int64)
    np.add.at(failed, slots.clip(max=len(table) - 1), errors)
    durations = _slid(table, width, query.steps)
    return RedSeries(
        service=service,
        operation=operation,
        times_unix_nano=query.start_unix_nano + np.arange(query.steps, dtype=np.int64) * query.step_nano,
        calls=durations.sum(axis=1),
        errors=_slid(failed, width, query.steps),
        buckets=in_use,
        durations=durations,
    )


def _slid(table: NDArray[np.int64], width: int, steps: int) -> NDArray[np.int64]:
    """Row i is the sum of `width` rows of the table from i on."""
    running = np.concatenate([np.zeros_like(table[:1]), table.cumsum(axis=0)])
    slid: NDArray[np.int64] = running[width : width + steps] - running[:steps]
    return slid
