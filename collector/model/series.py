"""
The shape of metrics, from ingest to answer.

Labels are canonical tuples, so they hash and compare cheaply. Samples travel in blocks whose series share timestamps,
because that is how they arrive (one scrape, one export) and how they are fastest to evaluate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

# Sorted by name, no empty values (an empty label is an absent one), metric name under "__name__".
Labels = tuple[tuple[str, str], ...]
METRIC_NAME = "__name__"

# The NaN that ends a series (prometheus/model/value/value.go, StaleNaN). Compare bits, never values.
STALE_BITS = 0x7FF0000000000002
# Ours: no sample at this timestamp. Same class of signalling NaN, never accepted from outside nor sent there.
ABSENT_BITS = 0x7FF0000000000003
STALE = np.array([STALE_BITS], dtype=np.uint64).view(np.float64)[0]
ABSENT = np.array([ABSENT_BITS], dtype=np.uint64).view(np.float64)[0]


def labels_of(pairs: Mapping[str, str]) -> Labels:
    return tuple(sorted((name, value) for name, value in pairs.items() if value))


def is_stale(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.equal(values.view(np.uint64), np.uint64(STALE_BITS))


def is_absent(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.equal(values.view(np.uint64), np.uint64(ABSENT_BITS))


class MatchOp(Enum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


class Matcher(NamedTuple):
    """One label matcher. A label that a series lacks counts as the empty string; regular expressions are anchored."""

    name: str
    op: MatchOp
    value: str

    def matches(self, value: str) -> bool:
        match self.op:
            case MatchOp.EQUAL:
                return value == self.value
            case MatchOp.NOT_EQUAL:
                return value != self.value
            case MatchOp.REGEX:
                return re.fullmatch(self.value, value) is not None
            case MatchOp.NOT_REGEX:
                return re.fullmatch(self.value, value) is None


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


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector: one value for each series, all at one time."""

    labels: tuple[Labels, ...]
    values: NDArray[np.float64]  # [s]


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    name: str  # the metric family's Prometheus name
    kind: str  # counter, gauge, histogram, summary, unknown
    help: str
    unit: str


class SeriesSource(Protocol):
    """What the query engine needs of a metric store. All bounds are Unix milliseconds, inclusive."""

    def select(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Block]: ...

    def series(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Labels]: ...

    def label_names(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]: ...

    def label_values(self, name: str, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]: ...

    def exemplars(
        self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]: ...

    def metadata(self) -> list[MetricMetadata]: ...


class SampleSink(Protocol):
    """What ingest, recording rules and alert state need of a metric store."""

    async def append(self, batches: Sequence[SampleBatch]) -> None:
        """Return once the samples are on disk. Several callers share one commit."""
        ...
