"""The query engine: PromQL over a SeriesSource."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from collector.errors import BadRequestError, UnsupportedError
from collector.model.series import SeriesSource
from collector.query.promql.evaluator import SUPPORTED_FUNCTIONS, Budget, Evaluator, Value
from collector.query.promql.syntax import Call, Node, RangeSelector, Subquery, children, kind_of, parse
from collector.query.promql.values import (
    Answer,
    Frame,
    Matrix,
    RangeVector,
    Scalar,
    StringValue,
    Times,
    to_matrix,
    to_vector,
)

LOOKBACK_MS = 300_000  # Prometheus's --query.lookback-delta, by its default
MAX_SAMPLES = 50_000_000  # Prometheus's --query.max-samples, by its default


class Engine:
    """
    Answers PromQL. Safe to use from several threads: it keeps nothing between queries.

    Every method raises:
        ParseError: the expression is not PromQL.
        UnsupportedError: it is, but uses something that is not built; the message names it.
        ExecutionError: these series do not allow an answer, e.g. many-to-many matching.
        TooManySamplesError, QueryTimeoutError: over a limit.
    """

    def __init__(self, source: SeriesSource, *, lookback_ms: int = LOOKBACK_MS, max_samples: int = MAX_SAMPLES) -> None:
        self.source = source
        self.lookback_ms = lookback_ms
        self.max_samples = max_samples

    def parse(self, expr: str) -> Node:
        """Parse and check an expression without evaluating it."""
        node = parse(expr)
        _require_supported(node)
        return node

    def prepare(self, expr: str) -> Query:
        """An expression parsed once, to be evaluated many times."""
        return Query(self, expr, self.parse(expr))

    def instant(
        self, expr: str, *, at_ms: int, timeout_s: float | None = None, lookback_ms: int | None = None
    ) -> Answer:
        return self.prepare(expr).instant(at_ms=at_ms, timeout_s=timeout_s, lookback_ms=lookback_ms)

    def range(
        self,
        expr: str,
        *,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
    ) -> Matrix:
        """Evaluate at start_ms, start_ms + step_ms, … up to end_ms, which is included if a step falls on it."""
        return self.prepare(expr).range(
            start_ms=start_ms, end_ms=end_ms, step_ms=step_ms, timeout_s=timeout_s, lookback_ms=lookback_ms
        )


@dataclass(frozen=True, slots=True)
class Query:
    engine: Engine
    expr: str
    node: Node

    @property
    def kind(self) -> str:
        """`scalar`, `vector`, `matrix` or `string`."""
        return kind_of(self.node)

    def instant(self, *, at_ms: int, timeout_s: float | None = None, lookback_ms: int | None = None) -> Answer:
        """Evaluate at one time, Unix milliseconds."""
        times = np.array([at_ms], dtype=np.int64)
        evaluator = self._evaluator(times, timeout_s, lookback_ms)
        with np.errstate(all="ignore"):
            if isinstance(self.node, RangeSelector | Subquery):
                return RangeVector(tuple(evaluator.range_samples(self.node)))
            value = _evaluated(evaluator, self.node)
        if isinstance(value, str):
            return StringValue(value, at_ms)
        if isinstance(value, Frame):
            return to_vector(value)
        return Scalar(float(value[0]), at_ms)

    def range(
        self,
        *,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
    ) -> Matrix:
        if step_ms <= 0 or end_ms < start_ms:
            raise BadRequestError(f"range [{start_ms}, {end_ms}] with step {step_ms} ms has no steps")
        if isinstance(self.node, RangeSelector | Subquery):
            raise BadRequestError(
                'invalid expression type "range vector" for range query, must be Scalar or instant Vector'
            )
        times = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        with np.errstate(all="ignore"):
            value = _evaluated(self._evaluator(times, timeout_s, lookback_ms), self.node)
        return to_matrix(_as_frame(value), times)

    def _evaluator(self, times: Times, timeout_s: float | None, lookback_ms: int | None) -> Evaluator:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        return Evaluator(
            source=self.engine.source,
            times=times,
            lookback_ms=self.engine.lookback_ms if lookback_ms is None else lookback_ms,
            bounds_ms=(int(times[0]), int(times[-1])),
            budget=Budget(self.engine.max_samples, deadline),
        )


def _evaluated(evaluator: Evaluator, node: Node) -> Value:
    try:
        return evaluator.evaluate(node)
    except RecursionError as error:  # a chain of subqueries takes more frames a level than the parser's limit foresees
        raise BadRequestError("expression nested too deeply") from error


def _as_frame(value: Value) -> Frame:
    if isinstance(value, str):
        raise BadRequestError('invalid expression type "string" for range query, must be Scalar or instant Vector')
    if isinstance(value, Frame):
        return value
    return Frame(((),), value[None, :], np.ones((1, len(value)), dtype=np.bool_))


def _require_supported(node: Node) -> None:
    if isinstance(node, Call) and node.name not in SUPPORTED_FUNCTIONS:
        raise UnsupportedError(f'function "{node.name}" is not supported')
    for child in children(node):
        _require_supported(child)
