"""Evaluation of a syntax tree at every step of a query at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from collector.errors import UnsupportedError
from collector.model.series import ABSENT, Block, Labels, SeriesSource
from collector.query.errors import QueryTimeoutError, TooManySamplesError
from collector.query.promql import binary, functions, label_functions, range_functions
from collector.query.promql.aggregation import aggregate
from collector.query.promql.histogram import histogram_quantile
from collector.query.promql.selection import latest
from collector.query.promql.syntax import (
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
from collector.query.promql.windows import LEFT_OPEN, Windows, windows_of

# What a subquery without a step takes: Prometheus's global.evaluation_interval, by its default (1m).
DEFAULT_SUBQUERY_STEP_MS = 60_000

Value = Frame | Floats | str  # an instant vector; a scalar, [k]; a string


@dataclass(slots=True)
class Budget:
    """What one query may still use. Shared by its subqueries."""

    max_samples: int
    deadline: float | None  # of time.monotonic
    samples: int = 0

    def spend(self, samples: int) -> None:
        self.samples += samples
        if self.samples > self.max_samples:
            raise TooManySamplesError
        self.check_time()

    def check_time(self) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise QueryTimeoutError


@dataclass(frozen=True, slots=True)
class Evaluator:
    source: SeriesSource
    times: Times  # [k], the steps
    lookback_ms: int
    bounds_ms: tuple[int, int]  # the query's first and last step: what start() and end() mean, in subqueries too
    budget: Budget

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
                return self._instant(node)
            case Negation():
                value = self.evaluate(node.body)
                return value.with_values(-value.values).without_names() if isinstance(value, Frame) else -_floats(value)
            case Aggregation():
                return self._aggregation(node)
            case Binary():
                return self._binary(node)
            case Call():
                return self._call(node)
        raise UnsupportedError(f"a range vector cannot be evaluated here: {node}")

    # Selectors

    def _lookup_times(self, offset_ms: int, at: At | None) -> Times:
        """Where a selector looks: [k], or [1] when `@` pins it."""
        if at is None:
            return self.times - offset_ms
        if isinstance(at, Anchor):
            at = self.bounds_ms[0] if at is Anchor.START else self.bounds_ms[1]
        return np.array([at - offset_ms], dtype=np.int64)

    def _instant(self, node: Selector, *, timestamps: bool = False) -> Frame:
        ends = self._lookup_times(node.offset_ms, node.at)
        blocks = self._select(node, int(ends.min()) - self.lookback_ms, int(ends.max()))
        frames = []
        for block in blocks:
            self.budget.spend(len(block.labels) * len(ends))
            frame = latest(block, ends, self.lookback_ms, timestamps=timestamps)
            seen = frame.present.any(axis=1)
            frames.append(frame if seen.all() else frame.take(np.flatnonzero(seen)))
        return self._repeated(stacked(frames, len(ends)))

    def _select(self, node: Selector, start_ms: int, end_ms: int) -> list[Block]:
        blocks = self.source.select(node.matchers, min_ms=start_ms + LEFT_OPEN, max_ms=end_ms)
        return [block for block in blocks if block.labels]

    def _repeated(self, frame: Frame) -> Frame:
        """A frame of one step, pinned by `@`, at every step."""
        if frame.values.shape[1] == self.steps:
            return frame
        shape = (len(frame.labels), self.steps)
        return Frame(frame.labels, np.broadcast_to(frame.values, shape), np.broadcast_to(frame.present, shape))

    def windows(self, node: Node, *, every_step: bool = False) -> Iterator[Windows]:
        """The windows of a range vector; of one step only when `@` pins it, unless `every_step` is asked for."""
        if isinstance(node, RangeSelector):
            ends = self._lookup_times(node.selector.offset_ms, node.selector.at)
            range_ms = node.range_ms
            blocks = self._select(node.selector, int(ends.min()) - range_ms, int(ends.max()))
        elif isinstance(node, Subquery):
            ends = self._lookup_times(node.offset_ms, node.at)
            range_ms = node.range_ms
            blocks = [self._subquery(node, ends)]
        else:
            raise UnsupportedError(f"expected a range vector: {node}")
        if every_step:
            ends = np.broadcast_to(ends, self.times.shape)
        for block in blocks:
            self.budget.spend(block.values.size + len(block.labels) * len(ends))
            yield from windows_of(block, ends, range_ms)

    def _subquery(self, node: Subquery, ends: Times) -> Block:
        step = node.step_ms or DEFAULT_SUBQUERY_STEP_MS
        start = int(ends.min()) - node.range_ms
        first = -(-start // step) * step  # steps stand at multiples of the step, whatever the query's own
        if LEFT_OPEN and first == start:
            first += step
        grid = np.arange(first, int(ends.max()) + 1, step, dtype=np.int64)
        if not len(grid):
            return Block((), grid, np.empty((0, 0)))
        value = replace(self, times=grid).frame_of(node.body)
        values = np.where(value.present, value.values, ABSENT)
        return Block(value.labels, grid, np.ascontiguousarray(values))

    def range_samples(self, node: Node) -> list[Block]:
        """A range vector itself, at the only step of an instant query: the samples inside the window."""
        blocks = []
        for windows in self.windows(node):
            low, high = np.atleast_2d(windows.low), np.atleast_2d(windows.high)
            if windows.values.ndim == 2:
                part = slice(int(low[0, 0]), int(high[0, 0]))
                if part.stop > part.start:
                    values = np.ascontiguousarray(windows.values[:, part])
                    blocks.append(Block(windows.labels, windows.timestamps_ms[part], values))
                continue
            for row, labels in enumerate(windows.labels):
                part = slice(int(low[row, 0]), int(high[row, 0]))
                if part.stop > part.start:
                    blocks.append(Block((labels,), windows.timestamps_ms[part], windows.values[None, part]))
        return blocks

    # Operators

    def _aggregation(self, node: Aggregation) -> Frame:
        frame = self.frame_of(node.body)
        parameter = None if node.parameter is None else self.evaluate(node.parameter)
        if isinstance(parameter, str):
            return aggregate(node, frame, None, parameter)
        return aggregate(node, frame, None if parameter is None else _floats(parameter), None)

    def _binary(self, node: Binary) -> Value:
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        if isinstance(left, Frame) and isinstance(right, Frame):
            if node.operator in SET_OPERATORS:
                return binary.set_operation(node, left, right)
            return binary.vectors(node, left, right)
        if isinstance(left, Frame):
            return binary.vector_and_scalar(node, left, _floats(right))
        if isinstance(right, Frame):
            return binary.vector_and_scalar(node, _floats(left), right)
        return binary.scalars(node, _floats(left), _floats(right))

    def frame_of(self, node: Node) -> Frame:
        value = self.evaluate(node)
        if not isinstance(value, Frame):
            raise TypeError(f"expected an instant vector, which the parser checks: {node}")
        return value

    def _scalar(self, node: Node) -> Floats:
        return _floats(self.evaluate(node))

    # Functions

    def _call(self, node: Call) -> Value:
        name, arguments = node.name, node.arguments
        if name in range_functions.BY_NAME:
            return self._over_range(name, arguments[0])
        if (elementwise := functions.ELEMENTWISE.get(name)) is not None:
            frame = self.frame_of(arguments[0])
            return frame.with_values(elementwise(frame.values)).without_names()
        if (calendar := functions.CALENDAR.get(name)) is not None:
            frame = self.frame_of(arguments[0]) if arguments else self._vector(self.times / 1000)
            return frame.with_values(calendar(frame.values)).without_names()
        match name:
            case "time":
                return functions.timestamps_s(self.times)
            case "pi":
                return np.full(self.steps, np.pi)
            case "vector":
                return self._vector(self._scalar(arguments[0]))
            case "scalar":
                return functions.to_scalar(self.frame_of(arguments[0]))
            case "timestamp":
                return self._timestamp(arguments[0])
            case "clamp":
                low, high = self._scalar(arguments[1]), self._scalar(arguments[2])
                return functions.clamp(self.frame_of(arguments[0]), low, high)
            case "clamp_min":
                return functions.clamp_min(self.frame_of(arguments[0]), self._scalar(arguments[1]))
            case "clamp_max":
                return functions.clamp_max(self.frame_of(arguments[0]), self._scalar(arguments[1]))
            case "round":
                nearest = self._scalar(arguments[1]) if len(arguments) > 1 else np.ones(self.steps)
                return functions.round_(self.frame_of(arguments[0]), nearest)
            case "sort" | "sort_desc":
                return functions.sort(self.frame_of(arguments[0]), descending=name == "sort_desc")
            case "histogram_quantile":
                return histogram_quantile(self._scalar(arguments[0]), self.frame_of(arguments[1]))
            case "absent":
                return self._absent(arguments[0], self.frame_of(arguments[0]))
            case "absent_over_time":
                return self._absent(arguments[0], self._over_range("present_over_time", arguments[0], keep_names=True))
            case "quantile_over_time":
                ratios = self._scalar(arguments[0])
                return self._over_windows(
                    arguments[1], lambda w: range_functions.quantile_over_time(w, ratios), every_step=True
                )
            case "predict_linear":
                return self._predict_linear(arguments[0], self._scalar(arguments[1]))
            case "label_replace":
                return label_functions.label_replace(self.frame_of(arguments[0]), *self._texts(arguments[1:]))
            case "label_join":
                target, separator, *sources = self._texts(arguments[1:])
                return label_functions.label_join(self.frame_of(arguments[0]), target, separator, sources)
        raise UnsupportedError(f'function "{name}" is not supported')

    def _texts(self, nodes: tuple[Node, ...]) -> list[str]:
        return [node.value for node in nodes if isinstance(node, Text)]

    def _vector(self, values: Floats) -> Frame:
        return Frame(((),), values[None, :], np.ones((1, self.steps), dtype=np.bool_))

    def _timestamp(self, node: Node) -> Frame:
        if isinstance(node, Selector):
            return self._instant(node, timestamps=True).without_names()
        frame = self.frame_of(node)
        return frame.with_values(np.broadcast_to(self.times / 1000, frame.values.shape)).without_names()

    def _absent(self, argument: Node, frame: Frame) -> Frame:
        labels: Labels = ()
        if isinstance(argument, RangeSelector):
            argument = argument.selector
        if isinstance(argument, Selector):
            labels = label_functions.absent_labels(argument.matchers)
        missing = np.logical_not(np.any(frame.present, axis=0))
        return Frame((labels,), np.ones((1, self.steps)), missing[None, :])

    def _over_range(self, name: str, node: Node, *, keep_names: bool = False) -> Frame:
        keep_names = keep_names or name in range_functions.KEEPS_NAME
        return self._over_windows(node, range_functions.BY_NAME[name], keep_names=keep_names)

    def _over_windows(
        self, node: Node, function: range_functions.Function, *, keep_names: bool = False, every_step: bool = False
    ) -> Frame:
        frames = []
        for windows in self.windows(node, every_step=every_step):
            self.budget.check_time()
            frames.append(range_functions.apply(function, windows))
        frame = self._repeated(stacked(frames, self.steps))
        return frame if keep_names else frame.without_names()

    def _predict_linear(self, node: Node, seconds: Floats) -> Frame:
        def predict(windows: Windows) -> range_functions.Result:
            return range_functions.predict_linear(windows, self.times, seconds)

        return self._over_windows(node, predict, every_step=True)


def _floats(value: Value) -> Floats:
    if not isinstance(value, np.ndarray):
        raise TypeError("expected a scalar, which the parser checks")
    return value


SUPPORTED_FUNCTIONS = (
    frozenset(range_functions.BY_NAME)
    | frozenset(functions.ELEMENTWISE)
    | frozenset(functions.CALENDAR)
    | {"time", "pi", "vector", "scalar", "timestamp", "clamp", "clamp_min", "clamp_max", "round", "sort", "sort_desc"}
    | {"histogram_quantile", "absent", "absent_over_time", "quantile_over_time", "predict_linear"}
    | {"label_replace", "label_join"}
)
