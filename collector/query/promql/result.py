"""An answer with what is to be said about it: annotations and statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", covariant=True)


@dataclass(frozen=True, slots=True)
class QueryStatistics:
    """As Prometheus counts them (util/stats/query_stats.go), but `peak`, see `Budget`."""

    seconds: float  # evaluation, and what it waited for storage
    queryable: int  # samples that the selectors found, at all steps together
    peak: int  # numbers that evaluation laid out
    times_ms: NDArray[np.int64]  # [k]
    queryable_per_step: NDArray[np.int64]  # [k]
    queued_s: float = 0.0  # waited for a free place

    def to_json(self, *, per_step: bool) -> dict[str, Any]:
        """The `stats` of the HTTP API; `per_step` is what `stats=all` asks for."""
        timings = {
            "evalTotalTime": self.seconds,
            "resultSortTime": 0.0,
            "queryPreparationTime": 0.0,
            "innerEvalTime": self.seconds,
            "execQueueTime": self.queued_s,
            "execTotalTime": self.seconds + self.queued_s,
        }
        samples: dict[str, Any] = {"totalQueryableSamples": self.queryable, "peakSamples": self.peak}
        if per_step:
            pairs = zip((self.times_ms / 1000).tolist(), self.queryable_per_step.tolist(), strict=True)
            samples["totalQueryableSamplesPerStep"] = [list(pair) for pair in pairs]
        return {"timings": timings, "samples": samples}


@dataclass(frozen=True, slots=True)
class Result(Generic[Value]):
    value: Value
    warnings: tuple[str, ...]  # in Prometheus's words, at most ten and how many more there are
    infos: tuple[str, ...]
    statistics: QueryStatistics
