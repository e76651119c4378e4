"""
Native histograms as columns, so that an operator treats those of all series and steps at once.

Buckets are dense over the indexes that are populated somewhere in the table, never over a range of indexes: a sender's
far-apart buckets cost columns, not memory.

Source: prometheus/model/histogram/float_histogram.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collector.model.histogram import NativeHistogram
from collector.query.promql.arrays import Floats, Mask, Rows

Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Side:
    """The positive or the negative buckets. Index i covers (2**((i-1) * 2**-schema), 2**(i * 2**-schema)]."""

    index: Indexes  # [b], strictly increasing, each in the schema of the row that it is looked at for
    counts: Floats  # [h, b], 0 where a row has no such bucket

    def take(self, rows: Rows) -> Side:
        return Side(self.index, self.counts[rows])

    def on(self, index: Indexes) -> Floats:
        """The counts in the columns of a wider set of indexes."""
        if np.array_equal(index, self.index):
            return self.counts
        wide = np.zeros((len(self.counts), len(index)))
        wide[:, np.searchsorted(index, self.index)] = self.counts
        return wide

    def coarser(self, by: int) -> Side:
        """With buckets 2**by times as wide (on the scale of logarithms)."""
        if by == 0 or not len(self.index):
            return self
        index = ((self.index - 1) >> by) + 1
        unique, starts = np.unique(index, return_index=True)
        return Side(unique, np.asarray(np.add.reduceat(self.counts, starts, axis=1)))


@dataclass(frozen=True, slots=True)
class Histograms:
    schema: NDArray[np.int64]  # [h], as all columns
    count: Floats
    sum: Floats
    zero_threshold: Floats
    zero_count: Floats
    gauge: Mask
    positive: Side
    negative: Side

    def __len__(self) -> int:
        return len(self.schema)

    @property
    def elements(self) -> int:
        """Numbers that it holds."""
        return len(self) * (6 + len(self.positive.index) + len(self.negative.index))

    def take(self, rows: Rows) -> Histograms:
        return Histograms(
            self.schema[rows],
            self.count[rows],
            self.sum[rows],
            self.zero_threshold[rows],
            self.zero_count[rows],
            self.gauge[rows],
            self.positive.take(rows),
            self.negative.take(rows),
        )

    def scaled(self, factor: Floats | float) -> Histograms:
        wide = np.asarray(factor)[..., None]
        return replace(
            self,
            count=self.count * factor,
            sum=self.sum * factor,
            zero_count=self.zero_count * factor,
            positive=Side(self.positive.index, self.positive.counts * wide),
            negative=Side(self.negative.index, self.negative.counts * wide),
        )

    def divided(self, divisor: Floats) -> Histograms:
        """Division, not multiplication by the inverse: by 0 it gives Inf and, for empty buckets, none."""
        wide = np.asarray(divisor)[..., None]
        return replace(
            self,
            count=self.count / divisor,
            sum=self.sum / divisor,
            zero_count=self.zero_count / divisor,
            positive=Side(self.positive.index, _quotient(self.positive.counts, wide)),
            negative=Side(self.negative.index, _quotient(self.negative.counts, wide)),
        )

    def as_gauges(self) -> Histograms:
        return replace(self, gauge=np.ones(len(self), dtype=np.bool_))

    def reduced(self, schema: NDArray[np.int64]) -> Histograms:
        """In the given schemas, [h], none finer than its own."""
        steps = self.schema - schema
        if not steps.any():
            return self
        parts, places = [], []
        for step in np.unique(steps).tolist():
            rows = np.flatnonzero(steps == step)
            part = self.take(rows)
            sides = replace(part, positive=part.positive.coarser(step), negative=part.negative.coarser(step))
            parts.append(replace(sides, schema=schema[rows]))
            places.append(rows)
        return concatenated(parts).take(np.argsort(np.concatenate(places), kind="stable"))

    def with_zero_threshold(self, wanted: Floats) -> Histograms:
        """
        Widen the zero bucket to at least `wanted`, [h]; further where that would cut a populated bucket, to its end.

        Source: FloatHistogram.zeroCountForLargerThreshold.
        """
        rows = np.flatnonzero(wanted > self.zero_threshold)
        if not len(rows):
            return self
        threshold, zero = self.zero_threshold.copy(), self.zero_count.copy()
        threshold[rows] = wanted[rows]
        positive, negative = self.positive.counts.copy(), self.negative.counts.copy()
        upper, lower = self.bounds(self.positive.index), self.bounds(self.positive.index - 1)
        upper_n, lower_n = self.bounds(self.negative.index), self.bounds(self.negative.index - 1)
        while True:
            limit = threshold[:, None]
            cut = np.where((lower < limit) & (upper > limit) & (positive > 0), upper, 0.0).max(axis=1, initial=0.0)
            cut_n = np.where((lower_n < limit) & (upper_n > limit) & (negative > 0), upper_n, 0.0)
            further = np.maximum(cut, cut_n.max(axis=1, initial=0.0))
            grows = (further > threshold) & (wanted > self.zero_threshold)
            if not grows.any():
                break
            threshold = np.where(grows, further, threshold)
        swallowed = (upper <= threshold[:, None]) & (wanted > self.zero_threshold)[:, None]
        swallowed_n = (upper_n <= threshold[:, None]) & (wanted > self.zero_threshold)[:, None]
        zero += np.where(swallowed, positive, 0.0).sum(axis=1) + np.where(swallowed_n, negative, 0.0).sum(axis=1)
        return replace(
            self,
            zero_threshold=threshold,
            zero_count=zero,
            positive=Side(self.positive.index, np.where(swallowed, 0.0, positive)),
            negative=Side(self.negative.index, np.where(swallowed_n, 0.0, negative)),
        )

    def bounds(self, index: Indexes) -> Floats:
        """The upper bounds of buckets in each row's own schema, [h, b]."""
        return np.asarray(np.exp2(index[None, :] * np.exp2(-self.schema.astype(np.float64))[:, None]))

    def to_values(self) -> list[NativeHistogram]:
        """One by one, without empty buckets, for the answer."""
        sides = [(side.index, side.counts, side.counts != 0) for side in (self.positive, self.negative)]
        return [
            NativeHistogram(
                schema=int(self.schema[row]),
                count=float(self.count[row]),
                sum=float(self.sum[row]),
                zero_threshold=float(self.zero_threshold[row]),
                zero_count=float(self.zero_count[row]),
                positive_index=sides[0][0][sides[0][2][row]].astype(np.int32),
                positive=sides[0][1][row][sides[0][2][row]],
                negative_index=sides[1][0][sides[1][2][row]].astype(np.int32),
                negative=sides[1][1][row][sides[1][2][row]],
                gauge=bool(self.gauge[row]),
            )
            for row in range(len(self))
        ]


def _quotient(counts: Floats, divisor: Floats) -> Floats:
    return np.where(counts == 0, 0.0, counts / divisor)


def _dense(indexes: list[NDArray[np.int32]], counts: list[Floats]) -> Side:
    columns, flat = np.unique(np.concatenate(indexes).astype(np.int64), return_inverse=True)
    dense = np.zeros((len(indexes), len(columns)))
    dense[np.repeat(np.arange(len(indexes)), [len(one) for one in indexes]), flat] = np.concatenate(counts)
    return Side(columns, dense)


def table_of(histograms: Sequence[NativeHistogram]) -> Histograms:
    if not histograms:
        return empty_table()
    return Histograms(
        np.array([one.schema for one in histograms], dtype=np.int64),
        np.array([one.count for one in histograms], dtype=np.float64),
        np.array([one.sum for one in histograms], dtype=np.float64),
        np.array([one.zero_threshold for one in histograms], dtype=np.float64),
        np.array([one.zero_count for one in histograms], dtype=np.float64),
        np.array([one.gauge for one in histograms], dtype=np.bool_),
        _dense([one.positive_index for one in histograms], [one.positive for one in histograms]),
        _dense([one.negative_index for one in histograms], [one.negative for one in histograms]),
    )


def empty_table() -> Histograms:
    numbers, side = np.empty(0), Side(np.empty(0, np.int64), np.empty((0, 0)))
    return Histograms(np.empty(0, np.int64), numbers, numbers, numbers, numbers, np.empty(0, np.bool_), side, side)


def concatenated(tables: Sequence[Histograms]) -> Histograms:
    if len(tables) == 1:
        return tables[0]
    if not tables:
        return empty_table()
    return Histograms(
        np.concatenate([one.schema for one in tables]),
        np.concatenate([one.count for one in tables]),
        np.concatenate([one.sum for one in tables]),
        np.concatenate([one.zero_threshold for one in tables]),
        np.concatenate([one.zero_count for one in tables]),
        np.concatenate([one.gauge for one in tables]),
        _joined([one.positive for one in tables]),
        _joined([one.negative for one in tables]),
    )


def _joined(sides: list[Side]) -> Side:
    index = np.unique(np.concatenate([side.index for side in sides]))
    return Side(index, np.concatenate([side.on(index) for side in sides]))


def reconciled(left: Histograms, right: Histograms) -> tuple[Histograms, Histograms]:
    """Both in the coarser schema and with the wider zero bucket of each pair, on the same columns."""
    schema = np.minimum(left.schema, right.schema)
    left, right = left.reduced(schema), right.reduced(schema)
    while not np.array_equal(left.zero_threshold, right.zero_threshold):
        wider = np.maximum(left.zero_threshold, right.zero_threshold)
        left, right = left.with_zero_threshold(wider), right.with_zero_threshold(wider)
    sides = []
    for one, other in ((left.positive, right.positive), (left.negative, right.negative)):
        index = np.union1d(one.index, other.index)
        sides.append((Side(index, one.on(index)), Side(index, other.on(index))))
    return (
        replace(left, positive=sides[0][0], negative=sides[1][0]),
        replace(right, positive=sides[0][1], negative=sides[1][1]),
    )


def combined(left: Histograms, right: Histograms, sign: float) -> Histograms:
    """left + sign * right, row by row. The sum of two gauges, or what a difference gives, is a gauge."""
    left, right = reconciled(left, right)
    return replace(
        left,
        count=left.count + sign * right.count,
        sum=left.sum + sign * right.sum,
        zero_count=left.zero_count + sign * right.zero_count,
        gauge=(left.gauge | right.gauge) if sign > 0 else np.ones(len(left), dtype=np.bool_),
        positive=Side(left.positive.index, left.positive.counts + sign * right.positive.counts),
        negative=Side(left.negative.index, left.negative.counts + sign * right.negative.counts),
    )


def equal(left: Histograms, right: Histograms) -> Mask:
    """Whether both hold the same in the same buckets, [h]; NaN equals itself here. Gauge or not does not count."""
    index = np.union1d(left.positive.index, right.positive.index)
    same = np.asarray((left.positive.on(index) == right.positive.on(index)).all(axis=1))
    index = np.union1d(left.negative.index, right.negative.index)
    same &= (left.negative.on(index) == right.negative.on(index)).all(axis=1)
    for one, other in (
        (left.count, right.count),
        (left.sum, right.sum),
        (left.zero_count, right.zero_count),
    ):
        same &= (one == other) | (np.isnan(one) & np.isnan(other))
    return np.asarray(same & (left.schema == right.schema) & (left.zero_threshold == right.zero_threshold))


def resets(previous: Histograms, current: Histograms) -> Mask:
    """Whether a counter was reset between each pair, [h] (FloatHistogram.DetectReset)."""
    reset = np.asarray((current.count < previous.count) | (current.schema > previous.schema))
    reset |= current.zero_threshold < previous.zero_threshold
    schema = np.minimum(current.schema, previous.schema)
    previous = previous.reduced(schema).with_zero_threshold(current.zero_threshold)
    current = current.reduced(schema)
    reset |= (previous.zero_threshold != current.zero_threshold) | (current.zero_count < previous.zero_count)
    for before, now in ((previous.positive, current.positive), (previous.negative, current.negative)):
        index = np.union1d(before.index, now.index)
        reset |= (now.on(index) < before.on(index)).any(axis=1)
    return reset


def summed(table: Histograms, group_of: Rows, groups: int) -> Histograms:
    """Add up the rows of each group, [groups]; a group without rows is an empty histogram."""
    schema = np.full(groups, 127, dtype=np.int64)
    np.minimum.at(schema, group_of, table.schema)
    table = table.reduced(schema[group_of])
    while True:
        wider = np.zeros(groups)
        np.maximum.at(wider, group_of, table.zero_threshold)
        if np.array_equal(wider[group_of], table.zero_threshold):
            break
        table = table.with_zero_threshold(wider[group_of])
    order = np.argsort(group_of, kind="stable")
    found, starts = np.unique(group_of[order], return_index=True)
    table = table.take(order)

    def add(values: Floats) -> Floats:
        result = np.zeros((groups, *values.shape[1:]))
        result[found] = np.add.reduceat(values, starts, axis=0)
        return result

    gauge = np.zeros(groups, dtype=np.bool_)
    gauge[found] = np.logical_or.reduceat(table.gauge, starts)
    return Histograms(
        np.where(schema == 127, 0, schema),
        add(table.count),
        add(table.sum),
        wider,
        add(table.zero_count),
        gauge,
        Side(table.positive.index, add(table.positive.counts)),
        Side(table.negative.index, add(table.negative.counts)),
    )
