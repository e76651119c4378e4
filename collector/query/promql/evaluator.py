"""Evaluation of a syntax tree at every step of a query at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from collector.errors import UnsupportedError
from collector.model.histogram import HistogramSeries
from collector.model.series import ABSENT, Block, LatestSource, LatestVector, Matcher, SeriesSource
from collector.query.promql import binary, calls
from collector.query.promql import windows as windowing
from collector.query.promql.aggregation import aggregate
from collector.query.promql.annotations import Annotations
from collector.query.promql.budget import Budget
from collector.query.promql.native_windows import histogram_windows
from collector.query.promql.over_time import RangeSamples
from collector.query.promql.selection import joined, last_frame, latest, latest_histograms
from collector.query.promql.tree import (
    SET_OPERATORS,
    Aggregation,
    Anchor,
    At,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    RangeSelector,
    Selector,
    Subquery,
    Text,
)
from collector.query.promql.values import Floats, Frame, Times, stacked
from collector.query.promql.windows import Windows, together, windows_at, windows_of

Value = Frame | Floats | str  # an instant vector; a scalar, [k]; a string


@dataclass(frozen=True, slots=True)
class Evaluator:
    source: SeriesSource
    times: Times  # [k], the steps
    lookback_ms: int
    bounds_ms: tuple[int, int]  # the query's first and last step: what start() and end() mean, in subqueries too
    step_ms: int  # the query's own; 0 of an instant query
    subquery_step_ms: int  # of a subquery that names none
    budget: Budget
    notes: Annotations

    @property
    def steps(self) -> int:
        return len(self.times)

    def evaluate(self, node: Node) -> Value:
        self.budget.check_time()
        match node:
            case Number():
                return np.full(self.steps, node.value)
            case Text():
                return node.value
            case Selector():
                return self.instant(node)
            case Negation():
                value = self.evaluate(node.body)
                return binary.negated(value) if isinstance(value, Frame) else -_floats(value)
            case Aggregation():
                return self._aggregation(node)
            case Binary():
                return self._binary(node)
            case Call():
                return calls.call(self, node)
        raise UnsupportedError(f"a range vector cannot be evaluated here: {node}")

    # Selectors

    def _lookup_times(self, offset_ms: int, at: At | None) -> Times:
        """Where a selector looks: [k], or [1] when `@` pins it."""
        if at is None:
            return self.times - offset_ms
        if isinstance(at, Anchor):
            at = self.bounds_ms[0] if at is Anchor.START else self.bounds_ms[1]
        return np.array([at - offset_ms], dtype=np.int64)

    def instant(self, node: Selector, *, timestamps: bool = False) -> Frame:
        """The selector's series; with `timestamps` their samples' times in seconds, in place of the samples."""
        ends = self._lookup_times(node.offset_ms, node.at)
        start_ms, end_ms = int(ends.min()) - self.lookback_ms, int(ends.max())
        known: LatestVector | None = None
        if len(ends) == 1 and not timestamps and isinstance(self.source, LatestSource):
            known, blocks = self.source.latest(node.matchers, min_ms=start_ms + windowing.LEFT_OPEN, max_ms=end_ms)
            histograms = self._histograms(node.matchers, start_ms, end_ms)
        else:
            blocks, histograms = self._select(node.matchers, start_ms, end_ms)
        self.budget.spend(sum(len(block.labels) for block in blocks) * len(ends) + (len(known.labels) if known else 0))
        frame = latest(blocks, ends, self.lookback_ms, timestamps=timestamps)
        if known is not None:
            frame = stacked([last_frame(known), frame], 1) if frame.labels else last_frame(known)
        if histograms:
            self.budget.spend(len(histograms) * len(ends))
            other, when = latest_histograms(histograms, ends, self.lookback_ms, timestamps=timestamps)
            if other.cells is not None:
                self.budget.spend(other.cells.table.elements)
            frame = joined(frame, other, when, blocks, ends)
        self.budget.count(frame.present.sum(axis=0), self.times)
        return self.at_every_step(frame)

    def _select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> tuple[list[Block], list[HistogramSeries]]:
        blocks = self.source.select(matchers, min_ms=start_ms + windowing.LEFT_OPEN, max_ms=end_ms)
        return [block for block in blocks if block.labels], self._histograms(matchers, start_ms, end_ms)

    def _histograms(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[HistogramSeries]:
        found = self.source.select_histograms(matchers, min_ms=start_ms + windowing.LEFT_OPEN, max_ms=end_ms)
        return [one for one in found if len(one.histograms)]

    def at_every_step(self, frame: Frame) -> Frame:
        """A frame of one step, pinned by `@`, at every step."""
        return frame if frame.steps == self.steps else frame.repeated(self.steps)

    def range_samples(self, node: Node, *, every_step: bool = False) -> RangeSamples:
        """A range vector; of one step only when `@` pins it, unless `every_step` is asked for."""
        if isinstance(node, RangeSelector):
            selector, range_ms = node.selector, node.range_ms
            ends = self._lookup_times(selector.offset_ms, selector.at)
            blocks, histograms = self._select(selector.matchers, int(ends.min()) - range_ms, int(ends.max()))
        elif isinstance(node, Subquery):
            ends, range_ms = self._lookup_times(node.offset_ms, node.at), node.range_ms
            blocks, histograms = self._subquery(node, ends)
        else:
            raise UnsupportedError(f"expected a range vector: {node}")
        if every_step:
            ends = np.broadcast_to(ends, self.times.shape)
        floats = together(list(self._windows(blocks, ends, range_ms)))
        windows = histogram_windows(histograms, ends, range_ms) if histograms else None
        if windows is not None:
            self.budget.spend(windows.table.elements + len(histograms) * len(ends))
            self.budget.count(windows.counts.sum(axis=0), self.times)
        return RangeSamples(floats, windows, len(ends), node.start)

    def _windows(self, blocks: Sequence[Block], ends: Times, range_ms: int) -> Iterator[Windows]:
        small = [block for block in blocks if block.values.size <= windowing.SMALL_ELEMENTS] if len(ends) == 1 else []
        if len(small) > 1:
            self.budget.spend(sum(block.values.size + len(block.labels) for block in small))
            windows = windows_at(small, ends, range_ms)
            self.budget.count(windows.counts.sum(axis=0), self.times)
            if windows.labels:
                yield windows
            blocks = [block for block in blocks if block.values.size > windowing.SMALL_ELEMENTS]
        for block in blocks:
            self.budget.spend(block.values.size + len(block.labels) * len(ends))
            for windows in windows_of(block, ends, range_ms):
                self.budget.count(windows.full_counts().sum(axis=0), self.times)
                yield windows

    def _subquery(self, node: Subquery, ends: Times) -> tuple[list[Block], list[HistogramSeries]]:
        step = node.step_ms or self.subquery_step_ms
        start = int(ends.min()) - node.range_ms
        first = -(-start // step) * step  # steps stand at multiples of the step, whatever the query's own
        if windowing.LEFT_OPEN and first == start:
            first += step
        self.budget.spend(max(0, (int(ends.max()) - first) // step))
        grid = np.arange(first, int(ends.max()) + 1, step, dtype=np.int64)
        if not len(grid):
            return [], []
        frame = replace(self, times=grid, step_ms=step).frame_of(node.body)
        floats = frame.floats()
        values = np.where(floats.present, floats.values, ABSENT)
        block = Block(frame.labels, grid, np.ascontiguousarray(values))
        return ([block] if frame.labels else []), list(_histogram_series(frame, grid))

    # Operators

    def _aggregation(self, node: Aggregation) -> Frame:
        frame = self.frame_of(node.body)
        parameter = None if node.parameter is None else self.evaluate(node.parameter)
        if isinstance(parameter, str):
            return aggregate(node, frame, None, parameter, self.notes)
        return aggregate(node, frame, None if parameter is None else _floats(parameter), None, self.notes)

    def _binary(self, node: Binary) -> Value:
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        if isinstance(left, Frame) and isinstance(right, Frame):
            if node.operator in SET_OPERATORS:
                return binary.set_operation(node, left, right)
            return binary.vectors(node, left, right, self.notes)
        if isinstance(left, Frame):
            return binary.vector_and_scalar(node, left, _floats(right), self.notes)
        if isinstance(right, Frame):
            return binary.vector_and_scalar(node, _floats(left), right, self.notes)
        return binary.scalars(node, _floats(left), _floats(right))

    def frame_of(self, node: Node) -> Frame:
        value = self.evaluate(node)
        if not isinstance(value, Frame):
            raise TypeError(f"expected an instant vector, which the parser checks: {node}")
        return value

    def scalar(self, node: Node) -> Floats:
        return _floats(self.evaluate(node))

    def vector(self, values: Floats) -> Frame:
        """One series without labels."""
        return Frame(((),), values[None, :], np.ones((1, self.steps), dtype=np.bool_))


def _histogram_series(frame: Frame, times: Times) -> Iterator[HistogramSeries]:
    if frame.cells is None:
        return
    rows, steps, table = frame.histograms()
    values = table.to_values()
    for row in np.unique(rows).tolist():
        here = np.flatnonzero(rows == row)
        yield HistogramSeries(frame.labels[row], times[steps[here]], tuple(values[one] for one in here.tolist()))


def _floats(value: Value) -> Floats:
    if not isinstance(value, np.ndarray):
        raise TypeError("expected a scalar, which the parser checks")
    return value
