"""
Range vectors: the samples of each series inside each step's window.

A `Windows` has one of two layouts behind the same operations:
    shared   every series has every sample: samples [s, n], window bounds [k]
    ragged   series with holes, compacted one after another: samples [m], window bounds [s, k]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.model.series import Block, Labels, is_absent, is_stale
from collector.query.promql.values import Floats, Mask, Times

# A window and the lookback are (t - range, t], open at the left, since Prometheus 3.0. Prometheus 2 closed them, which
# counts one sample more where samples stand exactly `range` apart from a step.
LEFT_OPEN = True
# Elements of [series, steps] worked on at once: three or four such arrays of float64 fit a core's L2 cache (1 MB).
CHUNK_ELEMENTS = 32_768
# Windows of a block with fewer elements, samples and steps of its series, join others: Python's share of one function
# over one block is some 60 us, and the ragged layout costs about 10 ns more for each element.
SMALL_ELEMENTS = 4_000
JOINED_ELEMENTS = 130_000  # of [series, steps] joined at most, 1 MB of float64
# Elements of [series, steps, window] laid out at once. By measurement of stddev_over_time and quantile_over_time at 300
# series, 1,400 steps and 30 samples a window: 100,000 take half the time of 4,000,000; an array is then 0.8 MB.
_PADDED_ELEMENTS = 100_000


def first_inside(timestamps_ms: Times, starts_ms: Times) -> NDArray[np.intp]:
    """The index of the first sample of each window that begins at `starts_ms`."""
    return np.searchsorted(timestamps_ms, starts_ms, side="right" if LEFT_OPEN else "left")


@dataclass(frozen=True, slots=True)
class Windows:
    labels: tuple[Labels, ...]  # s of them
    timestamps_ms: Times  # [n] shared, [m] ragged
    values: Floats  # [s, n] shared, [m] ragged
    low: NDArray[np.intp]  # [k] shared, [s, k] ragged: index of a window's first sample
    high: NDArray[np.intp]  # the same, one past its last sample
    starts_ms: Times  # [k], excluded from the window
    ends_ms: Times  # [k], included

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.labels), len(self.ends_ms)

    @property
    def counts(self) -> NDArray[np.intp]:
        """Samples in each window, [k] or [s, k]."""
        return self.high - self.low

    def where(self, cells: Mask) -> Windows:
        """Other cells, of [s, k], have empty windows. Each series gets samples of its own."""
        low, high = np.broadcast_to(self.low, self.shape), np.broadcast_to(self.high, self.shape)
        values, times = self.values, self.timestamps_ms
        if values.ndim == 2:
            first = (np.arange(len(self.labels)) * values.shape[1])[:, None]
            low, high, times = low + first, high + first, np.tile(times, len(self.labels))
            values = values.reshape(-1)
        return Windows(self.labels, times, values, low, np.where(cells, high, low), self.starts_ms, self.ends_ms)

    def full(self, condition: Mask) -> Mask:
        """[k] or [s, k] as [s, k]."""
        return np.broadcast_to(condition, self.shape)

    def full_counts(self) -> NDArray[np.intp]:
        """[s, k]."""
        return np.broadcast_to(self.counts, self.shape)

    def full_floats(self, values: Floats) -> Floats:
        """[k] or [s, k] as [s, k]."""
        return np.broadcast_to(values, self.shape)

    def values_at(self, index: NDArray[np.intp]) -> Floats:
        """The values at sample indexes, clipped into the samples, [s, k]."""
        return np.take(self.values, index, axis=-1, mode="clip")

    def times_at(self, index: NDArray[np.intp]) -> Times:
        """The timestamps at sample indexes, clipped into the samples, [k] or [s, k]."""
        return np.take(self.timestamps_ms, index, mode="clip")

    def reduce(self, ufunc: np.ufunc, samples: Floats) -> Floats:
        """`ufunc` over the samples of each window, [s, k]; arbitrary where a window is empty. `samples` as `values`."""
        padded = np.concatenate([samples, np.zeros((*samples.shape[:-1], 1))], axis=-1)
        pairs = np.stack([self.low, np.maximum(self.high, self.low)], axis=-1).reshape(-1)
        return np.asarray(ufunc.reduceat(padded, pairs, axis=-1)[..., ::2].reshape(self.shape))

    def changes(self, changed: Mask) -> NDArray[np.int64]:
        """How many samples of each window but its first are marked in `changed`, [s, k]; `changed` as `values`."""
        before = np.zeros((*changed.shape[:-1], changed.shape[-1] + 1), dtype=np.int64)
        np.cumsum(changed, axis=-1, out=before[..., 1:])
        last = np.take(before, self.high, axis=-1)
        return np.asarray(last - np.take(before, np.minimum(self.low + 1, self.high), axis=-1))

    def row_chunks(self, elements: int = CHUNK_ELEMENTS) -> Iterator[Windows]:
        """The same in runs of series, small enough for the cache. Ragged windows come as they are."""
        rows = max(1, elements // max(1, len(self.ends_ms)))
        if self.values.ndim == 1 or rows >= len(self.labels):
            yield self
            return
        for row in range(0, len(self.labels), rows):
            yield Windows(
                self.labels[row : row + rows],
                self.timestamps_ms,
                self.values[row : row + rows],
                self.low,
                self.high,
                self.starts_ms,
                self.ends_ms,
            )

    def padded(self) -> Iterator[tuple[slice, Floats, Times, Mask]]:
        """
        Lay every window out in full, a run of steps at a time.

        Yields:
            (steps, values [s, c, w], timestamps_ms [c, w] or [s, c, w], mask of the same shape as timestamps); w is the
            largest window of the run, at least 1; where the mask is false the rest is arbitrary.
        """
        counts = self.counts
        widest = max(1, int(counts.max(initial=0)))
        steps = max(1, _PADDED_ELEMENTS // (widest * max(1, len(self.labels))))
        for start in range(0, len(self.ends_ms), steps):
            part = slice(start, start + steps)
            low, count = self.low[..., part], counts[..., part]
            span = np.arange(max(1, int(count.max(initial=0))))
            index = low[..., None] + span
            yield part, self.values_at(index), self.times_at(index), span < count[..., None]


def windows_of(block: Block, ends_ms: Times, range_ms: int) -> Iterator[Windows]:
    """
    Lay windows (end - range_ms, end] over a block: its complete series together, those with holes together.

    Stale markers and absent samples are never inside a window. Series without any sample are left out.
    """
    if not len(block.labels) or not len(block.timestamps_ms):
        return
    starts = ends_ms - range_ms
    low = first_inside(block.timestamps_ms, starts)
    high = np.maximum(low, np.searchsorted(block.timestamps_ms, ends_ms, side="right"))
    valid = ~(is_absent(block.values) | is_stale(block.values))
    complete = valid.all(axis=1)
    if complete.all():
        yield Windows(block.labels, block.timestamps_ms, block.values, low, high, starts, ends_ms)
        return
    if (rows := np.flatnonzero(complete)).size:
        labels = tuple(block.labels[row] for row in rows.tolist())
        yield Windows(labels, block.timestamps_ms, block.values[rows], low, high, starts, ends_ms)
    if (rows := np.flatnonzero(~complete & valid.any(axis=1))).size:
        yield _ragged(block, rows, valid[rows], (low, high), (starts, ends_ms))


def windows_at(blocks: Sequence[Block], ends_ms: Times, range_ms: int) -> Windows:
    """
    The window of the only step over many blocks at once, as one ragged piece.

    Args:
        blocks: None empty; all of their samples are inside the window, as a source cuts them.
    """
    series = np.array([len(one.labels) for one in blocks])
    lengths = np.repeat([len(one.timestamps_ms) for one in blocks], series)
    times = _repeated([one.timestamps_ms for one in blocks], series, lengths)
    values = np.concatenate([one.values.reshape(-1) for one in blocks])
    labels = tuple(labels for one in blocks for labels in one.labels)
    missing = is_absent(values) | is_stale(values)
    if missing.any():
        first = np.cumsum(lengths) - lengths
        lengths = lengths - np.add.reduceat(missing, first, dtype=np.intp)
        times, values = times[~missing], values[~missing]
        if not lengths.all():
            labels = tuple(labels[row] for row in np.flatnonzero(lengths).tolist())
            lengths = lengths[lengths > 0]
    high = np.cumsum(lengths)[:, None]
    return Windows(labels, times, values, high - lengths[:, None], high, ends_ms - range_ms, ends_ms)


def _repeated(times: Sequence[Times], series: NDArray[np.intp], row_lengths: NDArray[np.intp]) -> Times:
    """Timestamps of blocks as every row has its own; row_lengths: of all rows."""
    lengths = np.array([len(one) for one in times])
    shift = np.repeat(np.cumsum(lengths) - lengths, series) - (np.cumsum(row_lengths) - row_lengths)
    return np.asarray(np.concatenate(times)[np.arange(int(row_lengths.sum())) + np.repeat(shift, row_lengths)])


def together(parts: Sequence[Windows]) -> list[Windows]:
    """The same windows in fewer pieces: those of small blocks, of whatever timestamps, one after another in one."""
    joined: list[Windows] = []
    waiting: list[Windows] = []
    elements = 0
    for one in parts:
        size = len(one.labels) * len(one.ends_ms)
        if one.values.ndim == 1 or one.values.size + size > SMALL_ELEMENTS:
            joined.append(one)
            continue
        if elements + size > JOINED_ELEMENTS:
            joined.append(_joined(waiting))
            waiting, elements = [], 0
        waiting.append(one)
        elements += size
    return [*joined, _joined(waiting)] if waiting else joined


def _joined(parts: Sequence[Windows]) -> Windows:
    """Of the shared layout, over the same steps, as one ragged piece."""
    if len(parts) == 1:
        return parts[0]
    series = np.array([len(one.labels) for one in parts])
    lengths = np.array([len(one.timestamps_ms) for one in parts])
    row_lengths = np.repeat(lengths, series)
    row_starts = np.cumsum(row_lengths) - row_lengths
    return Windows(
        tuple(labels for one in parts for labels in one.labels),
        _repeated([one.timestamps_ms for one in parts], series, row_lengths),
        np.concatenate([one.values.reshape(-1) for one in parts]),
        np.repeat(np.stack([one.low for one in parts]), series, axis=0) + row_starts[:, None],
        np.repeat(np.stack([one.high for one in parts]), series, axis=0) + row_starts[:, None],
        parts[0].starts_ms,
        parts[0].ends_ms,
    )


def _ragged(
    block: Block,
    rows: NDArray[np.intp],
    valid: Mask,
    bounds: tuple[NDArray[np.intp], NDArray[np.intp]],
    window: tuple[Times, Times],
) -> Windows:
    before = np.zeros((len(rows), valid.shape[1] + 1), dtype=np.intp)  # valid samples of the row before each column
    np.cumsum(valid, axis=1, out=before[:, 1:])
    first = np.concatenate([[0], np.cumsum(before[:, -1])[:-1]])[:, None]  # where each row begins, once compacted
    return Windows(
        tuple(block.labels[row] for row in rows.tolist()),
        np.broadcast_to(block.timestamps_ms, valid.shape)[valid],
        block.values[rows][valid],
        first + before[:, bounds[0]],
        first + before[:, bounds[1]],
        *window,
    )
