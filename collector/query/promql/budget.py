"""What a query may use, and what it has used."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collector.query.errors import QueryCancelledError, QueryTimeoutError, TooManySamplesError


@dataclass(slots=True)
class Budget:
    """
    Shared by a query and its subqueries.

    `samples` are the numbers that evaluation lays out, which is what the limit is about; `queryable` those that the
    selectors found at all steps together, as Prometheus counts them (util/stats/query_stats.go).
    """

    max_samples: int
    deadline: float | None  # of time.monotonic
    times: NDArray[np.int64]  # the query's steps
    cancelled: threading.Event | None = None  # set by whoever gave up waiting
    samples: int = 0
    queryable: int = 0
    queryable_per_step: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.queryable_per_step = np.zeros(len(self.times), dtype=np.int64)

    def spend(self, samples: int) -> None:
        self.samples += samples
        if self.samples > self.max_samples:
            raise TooManySamplesError
        self.check_time()

    def check_time(self) -> None:
        if self.cancelled is not None and self.cancelled.is_set():
            raise QueryCancelledError
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise QueryTimeoutError

    def count(self, per_step: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        """Samples that a selector found at `times`; at one time only where `@` pins it: they serve every step then."""
        pinned = len(per_step) != len(times)
        total = int(per_step.sum()) * (len(times) if pinned else 1)
        self.queryable += total
        if len(times) == len(self.times) and times is self.times:
            self.queryable_per_step += per_step  # broadcasts what is pinned
        elif len(self.times) == 1:
            self.queryable_per_step += total
        else:  # a subquery's steps belong to the next step of the query
            step = np.minimum(np.searchsorted(self.times, times), len(self.times) - 1)
            np.add.at(self.queryable_per_step, step, np.broadcast_to(per_step, times.shape))
