"""
The shape of metrics, from ingest to answer.

Labels are canonical tuples, so they hash and compare cheaply. Samples travel in blocks whose series share timestamps,
because that is how they arrive (one scrape, one export) and how they are fastest to evaluate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from collector.model.histogram import HistogramSeries, NativeHistogram
from collector.model.labels import METRIC_NAME, Labels, Matcher, MatchOp, labels_of
from collector.model.markers import ABSENT, ABSENT_BITS, STALE, STALE_BITS, is_absent, is_stale

__all__ = [  # also what other modules know by this one's name
    "ABSENT",
    "ABSENT_BITS",
    "METRIC_NAME",
    "STALE",
    "STALE_BITS",
    "AppendOutcome",
    "Block",
    "Exemplar",
    "HistogramSeries",
    "Labels",
    "LatestSource",
    "LatestVector",
    "MatchOp",
    "Matcher",
    "MetricMetadata",
    "NativeHistogram",
    "Refusal",
    "RefusalReason",
    "SampleBatch",
    "SampleSink",
    "SampleTable",
    "SeriesSource",
    "Vector",
    "is_absent",
    "is_stale",
    "labels_of",
]


@dataclass(frozen=True, slots=True)
class Block:
    """Series that share their timestamps. A series stands in one block of an answer only."""

    labels: tuple[Labels, ...]  # s of them
    timestamps_ms: NDArray[np.int64]  # [n], strictly increasing
    values: NDArray[np.float64]  # [s, n], C-contiguous; ABSENT where a series has no sample at that timestamp


class Exemplar(NamedTuple):
    labels: Labels  # e.g. trace_id and span_id
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Samples of one target at one timestamp, as one scrape or one export brings them."""

    target: str  # what the series come from, stable over time: f"{source}|{job}|{instance}" says which block they join
    timestamp_ms: int
    labels: tuple[Labels, ...]  # s of them, distinct
    values: NDArray[np.float64]  # [s]
    exemplars: tuple[tuple[int, Exemplar], ...] = ()  # (index into labels, exemplar)
    histograms: tuple[tuple[int, NativeHistogram], ...] = ()  # (index into labels, histogram); values[index] is ABSENT

    def as_table(self) -> SampleTable:
        """The same samples as a table of one column."""
        return SampleTable(
            self.target,
            self.labels,
            np.array([self.timestamp_ms], np.int64),
            np.asarray(self.values, np.float64).reshape(-1, 1),
            self.exemplars,
            tuple((place, 0, histogram) for place, histogram in self.histograms),
        )


@dataclass(frozen=True, slots=True)
class SampleTable:
    """
    Samples of one target at many timestamps, as remote write and backfills bring them.

    Cheapest when the series of a table share their timestamps and when tables of one target reuse the same `labels`
    tuple (or at least the label tuples in it). Samples that share nothing make a table each, or one full of ABSENT.
    """

    target: str  # as in SampleBatch
    labels: tuple[Labels, ...]  # s of them, distinct
    timestamps_ms: NDArray[np.int64]  # [n], strictly increasing
    values: NDArray[np.float64]  # [s, n], C-contiguous; ABSENT where a series has no float at that timestamp
    exemplars: tuple[tuple[int, Exemplar], ...] = ()  # (index into labels, exemplar)
    # (index into labels, index into timestamps_ms, histogram); values is ABSENT there
    histograms: tuple[tuple[int, int, NativeHistogram], ...] = ()


class RefusalReason(Enum):
    """Why a sample was not stored. The texts are Prometheus's (storage/interface.go), where it has one."""

    DUPLICATE = "duplicate sample for timestamp"  # another value is there; the same one again is no refusal
    OUT_OF_ORDER = "out of order sample"  # older than the newest of its series by more than the window
    TOO_OLD = "too old sample"  # older than the retention
    TOO_FAR_AHEAD = "out of bounds"  # further in the future than clocks differ
    SERIES_LIMIT = "series limit exceeded"


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: RefusalReason
    count: int  # samples; series for SERIES_LIMIT
    example: str  # names a series, the value and the limit that was passed


@dataclass(frozen=True, slots=True)
class AppendOutcome:
    """What became of an append. All that is not refused is on disk."""

    stored: int  # samples, histograms among them
    repeated: int  # the same value was there already: nothing to do, no error
    refusals: tuple[Refusal, ...]  # at most one for each reason


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector: one value for each series, all at one time."""

    labels: tuple[Labels, ...]
    values: NDArray[np.float64]  # [s]


@dataclass(frozen=True, slots=True)
class LatestVector(Vector):
    """The last sample of each series before some time; a value may be a stale marker."""

    timestamps_ms: NDArray[np.int64]  # [s], of the samples


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    name: str  # the metric family's Prometheus name
    kind: str  # counter, gauge, histogram, summary, unknown
    help: str
    unit: str


class SeriesSource(Protocol):
    """What the query engine needs of a metric store. All bounds are Unix milliseconds, inclusive."""

    def select(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Block]: ...

    def select_histograms(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[HistogramSeries]: ...

    def series(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Labels]: ...

    def label_names(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]: ...

    def label_values(self, name: str, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]: ...

    def exemplars(
        self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]: ...

    def metadata(self) -> list[MetricMetadata]: ...


@runtime_checkable
class LatestSource(Protocol):
    """A SeriesSource that answers instant queries without a look into every sample."""

    def latest(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> tuple[LatestVector, list[Block]]:
        """
        The last sample in [min_ms, max_ms] of each series: of most at once, of the others in blocks as `select` gives.

        No series stands in both. Of series that have native histograms the floats are in the blocks.
        """
        ...


class SampleSink(Protocol):
    """What ingest, recording rules and alert state need of a metric store."""

    async def append(self, batches: Sequence[SampleBatch]) -> None:
        """
        Return once the samples are on disk. Several callers share one commit.

        What is refused is left out and counted; only new series over a limit are an error (SeriesLimitError).
        """
        ...

    async def append_tables(self, tables: Sequence[SampleTable]) -> AppendOutcome:
        """Return once the samples are on disk; what is refused is in the outcome, never an exception."""
        ...
