"""What the connectors look at of the spans of one commit, taken together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.model.telemetry import Origin, SpanBatch, SpanKind
from collector.pipeline.connectors.texts import Places, Texts, joined, offsets_of, texts_of, view_of


class Attributes:
    """The attributes of n spans. Nothing is copied but what is found."""

    def __init__(self, lists: Sequence[pa.ListArray]) -> None:
        self._chunks = [_Chunk.of(each) for each in lists if len(each)]
        self._found: dict[str, tuple[Places, Texts]] = {}  # several ask for the same

    def find(self, key: str) -> tuple[Places, Texts]:
        """The spans that have it, ascending, and their values; the first one counts, as in the Collector's own maps."""
        if key not in self._found:
            self._found[key] = self._find(key)
        return self._found[key]

    def _find(self, key: str) -> tuple[Places, Texts]:
        rows, values, before = [], [], 0
        for chunk in self._chunks:
            row, value = chunk.find(key)
            rows.append(row + before)
            values.append(value)
            before += len(chunk.offsets) - 1
        return np.concatenate([_NO_ROWS, *rows]), joined(values)


class _Chunk(NamedTuple):
    offsets: NDArray[np.int32]  # [n + 1], of each span's pairs
    keys: Texts  # of all pairs
    values: Texts

    @classmethod
    def of(cls, lists: pa.ListArray) -> _Chunk:
        pairs = lists.values
        return cls(offsets_of(lists), view_of(pairs.field("k")), view_of(pairs.field("v")))

    def find(self, key: str) -> tuple[Places, Texts]:
        pairs = self.keys.equal(key)
        pairs = pairs[(pairs >= self.offsets[0]) & (pairs < self.offsets[-1])]
        row, first = np.unique(np.searchsorted(self.offsets[1:], pairs, side="right"), return_index=True)
        return row, self.values.of(pairs[first])


@dataclass(frozen=True, slots=True)
class SpanColumns:
    """Spans as columns of equal length."""

    trace_hi: NDArray[np.uint64]
    trace_lo: NDArray[np.uint64]
    span_id: NDArray[np.uint64]
    parent_span_id: NDArray[np.uint64]
    kind: NDArray[np.int64]
    status: NDArray[np.int64]
    duration_nano: NDArray[np.int64]  # never negative: a clock that stepped back counts as no time
    resource_id: NDArray[np.uint64]
    names: Texts
    attributes: Attributes
    resources: Mapping[int, Origin]
    received_ms: int  # when the last of them came

    def __len__(self) -> int:
        return len(self.span_id)

    @property
    def clients(self) -> Places:
        """The spans of those who call, and of those who send a message."""
        return np.flatnonzero((self.kind == SpanKind.CLIENT) | (self.kind == SpanKind.PRODUCER))

    @property
    def servers(self) -> Places:
        """The spans of those who are called, and of those who take a message."""
        return np.flatnonzero((self.kind == SpanKind.SERVER) | (self.kind == SpanKind.CONSUMER))

    @property
    def messaging(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (self.kind == SpanKind.PRODUCER) | (self.kind == SpanKind.CONSUMER)
        return found


def columns_of(batch: SpanBatch) -> SpanColumns:
    """
    Args:
        batch: Of at least one span; of the resources, those that were not seen before suffice.
    """
    spans = batch.table

    def numbers(name: str) -> NDArray[np.int64]:
        column: NDArray[np.int64] = spans.column(name).to_numpy().astype(np.int64, copy=False)
        return column

    def ids(name: str) -> NDArray[np.uint64]:
        column: NDArray[np.uint64] = spans.column(name).to_numpy().astype(np.uint64, copy=False)
        return column

    return SpanColumns(
        trace_hi=ids("trace_hi"),
        trace_lo=ids("trace_lo"),
        span_id=ids("span_id"),
        parent_span_id=ids("parent_span_id"),
        kind=numbers("kind"),
        status=numbers("status_code"),
        duration_nano=np.maximum(numbers("duration_nano"), 0),
        resource_id=ids("resource_id"),
        names=texts_of(spans.column("name").chunks),
        attributes=Attributes(spans.column("attributes").chunks),
        resources=batch.resources,
        received_ms=int(numbers("received_ms").max()),
    )


_NO_ROWS = np.empty(0, np.int64)
