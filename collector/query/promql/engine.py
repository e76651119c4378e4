"""The query engine: PromQL over a SeriesSource."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from collector.errors import BadRequestError, UnsupportedError
from collector.model.series import SeriesSource
from collector.query.errors import TooManySamplesError
from collector.query.promql.annotations import Annotations
from collector.query.promql.budget import Budget
from collector.query.promql.calls import SUPPORTED_FUNCTIONS
from collector.query.promql.evaluator import Evaluator, Value
from collector.query.promql.range_answer import range_answer
from collector.query.promql.result import QueryStatistics, Result
from collector.query.promql.syntax import parse
from collector.query.promql.tree import Call, Node, RangeSelector, Subquery, children, kind_of
from collector.query.promql.values import Answer, Frame, Matrix, Scalar, StringValue, Times, to_matrix, to_vector

T = TypeVar("T")

LOOKBACK_MS = 300_000  # Prometheus's --query.lookback-delta, by its default
MAX_SAMPLES = 50_000_000  # Prometheus's --query.max-samples, by its default
SUBQUERY_STEP_MS = 60_000  # Prometheus's global.evaluation_interval, by its default


class Engine:
    """
    Answers PromQL. Safe to use from several threads: it keeps nothing between queries.

    Attributes:
        subquery_step_ms: Of subqueries that name none: how often rules are evaluated, which a reload may change.

    Every method raises:
        ParseError: the expression is not PromQL.
        UnsupportedError: it is, but uses something that is not built; the message names it.
        ExecutionError: these series do not allow an answer, e.g. many-to-many matching.
        TooManySamplesError, QueryTimeoutError: over a limit.
    """

    def __init__(
        self,
        source: SeriesSource,
        *,
        lookback_ms: int = LOOKBACK_MS,
        max_samples: int = MAX_SAMPLES,
        subquery_step_ms: int = SUBQUERY_STEP_MS,
    ) -> None:
        self.source = source
        self.lookback_ms = lookback_ms
        self.max_samples = max_samples
        self.subquery_step_ms = subquery_step_ms

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
        """Evaluate at one time, Unix milliseconds; the answer alone."""
        return self.instant_result(at_ms=at_ms, timeout_s=timeout_s, lookback_ms=lookback_ms).value

    def instant_result(
        self,
        *,
        at_ms: int,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        cancelled: threading.Event | None = None,
    ) -> Result[Answer]:
        """
        Evaluate at one time, Unix milliseconds.

        Args:
            cancelled: ends the evaluation early, with QueryCancelledError, once it is set.
        """
        began = time.perf_counter()
        evaluator = self._evaluator(np.array([at_ms], dtype=np.int64), 0, timeout_s, lookback_ms, cancelled)
        with np.errstate(all="ignore"):
            if isinstance(self.node, RangeSelector | Subquery):
                value: Answer = range_answer(evaluator.range_samples(self.node))
            else:
                value = _answer(_evaluated(evaluator, self.node), at_ms)
        return self._result(value, evaluator, began)

    def range(
        self,
        *,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
    ) -> Matrix:
        """Evaluate at start_ms, start_ms + step_ms, … up to end_ms; the answer alone."""
        return self.range_result(
            start_ms=start_ms, end_ms=end_ms, step_ms=step_ms, timeout_s=timeout_s, lookback_ms=lookback_ms
        ).value

    def range_result(
        self,
        *,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        cancelled: threading.Event | None = None,
    ) -> Result[Matrix]:
        if step_ms <= 0 or end_ms < start_ms:
            raise BadRequestError(f"range [{start_ms}, {end_ms}] with step {step_ms} ms has no steps")
        if isinstance(self.node, RangeSelector | Subquery):
            raise BadRequestError(
                'invalid expression type "range vector" for range query, must be Scalar or instant Vector'
            )
        began = time.perf_counter()
        steps = (end_ms - start_ms) // step_ms + 1
        if steps > self.engine.max_samples:
            raise TooManySamplesError
        times = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        evaluator = self._evaluator(times, step_ms, timeout_s, lookback_ms, cancelled)
        with np.errstate(all="ignore"):
            matrix = to_matrix(_as_frame(_evaluated(evaluator, self.node)), times)
        return self._result(matrix, evaluator, began)

    def _evaluator(
        self,
        times: Times,
        step_ms: int,
        timeout_s: float | None,
        lookback_ms: int | None,
        cancelled: threading.Event | None,
    ) -> Evaluator:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        return Evaluator(
            source=self.engine.source,
            times=times,
            lookback_ms=self.engine.lookback_ms if lookback_ms is None else lookback_ms,
            bounds_ms=(int(times[0]), int(times[-1])),
            step_ms=step_ms,
            subquery_step_ms=self.engine.subquery_step_ms,
            budget=Budget(self.engine.max_samples, deadline, times, cancelled),
            notes=Annotations(self.expr),
        )

    def _result(self, value: T, evaluator: Evaluator, began: float) -> Result[T]:
        budget = evaluator.budget
        statistics = QueryStatistics(
            seconds=time.perf_counter() - began,
            queryable=budget.queryable,
            peak=budget.samples,
            times_ms=evaluator.times,
            queryable_per_step=budget.queryable_per_step,
        )
        return Result(value, evaluator.notes.warnings, evaluator.notes.infos, statistics)


def _evaluated(evaluator: Evaluator, node: Node) -> Value:
    try:
        return evaluator.evaluate(node)
    except RecursionError as error:  # a chain of subqueries takes more frames a level than the parser's limit foresees
        raise BadRequestError("expression nested too deeply") from error


def _answer(value: Value, at_ms: int) -> Answer:
    if isinstance(value, str):
        return StringValue(value, at_ms)
    if isinstance(value, Frame):
        return to_vector(value)
    return Scalar(float(value[0]), at_ms)


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
