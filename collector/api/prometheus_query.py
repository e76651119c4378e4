"""
query, query_range, query_exemplars, format_query and parse_query.

Source: prometheus/web/api/v1/api.go.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

import numpy as np

from collector.api.prometheus_ast import translated
from collector.api.prometheus_encoding import (
    SeriesJson,
    exemplar_text,
    histogram_series_json,
    labels_text,
    matrix_data,
    plain,
    scalar_data,
    scalar_text,
    series_json,
    vector_data,
)
from collector.api.prometheus_format import in_lines
from collector.api.prometheus_parameters import MAX_TIME_MS, MIN_TIME_MS, Parameters, invalid
from collector.api.prometheus_response import Reply
from collector.errors import BadRequestError
from collector.model.histogram import HistogramSeries, NativeHistogram
from collector.model.series import Labels, SeriesSource, Vector
from collector.query.errors import ParseError, QueryCancelledError, QueryTimeoutError
from collector.query.promql.engine import Engine, Query
from collector.query.promql.result import Result
from collector.query.promql.syntax import parsed, selectors_of
from collector.query.promql.values import Answer, InstantVector, Matrix, RangeVector, Scalar, StringValue

MAX_POINTS = 11_000  # steps of a range query (api.go, queryRange)
DEFAULT_TIMEOUT_MS = 120_000  # Prometheus's --query.timeout, by its default
TRUNCATED = "results truncated due to limit"


class QueryApi:
    def __init__(self, engine: Engine, source: SeriesSource) -> None:
        self._engine = engine
        self._source = source

    def query(self, parameters: Parameters) -> Reply:
        at_ms = parameters.time_ms("time", default_ms=time.time_ns() // 1_000_000)
        limit, timeout_s, lookback_ms = parameters.limit(), _timeout_s(parameters), self._lookback_ms(parameters)
        query = self._prepared(parameters)
        result = query.instant_result(
            at_ms=at_ms, timeout_s=timeout_s, lookback_ms=lookback_ms, cancelled=parameters.cancelled
        )
        return _replied(result, at_ms=at_ms, limit=limit, parameters=parameters)

    def query_range(self, parameters: Parameters) -> Reply:
        start_ms, end_ms = parameters.time_ms("start"), parameters.time_ms("end")
        if end_ms < start_ms:
            raise invalid("end", "end timestamp must not be before start time")
        step_ms = parameters.duration_ms("step")
        if step_ms <= 0:
            raise invalid(
                "step", "zero or negative query resolution step widths are not accepted. Try a positive integer"
            )
        if (end_ms - start_ms) // step_ms > MAX_POINTS:
            raise BadRequestError(
                "exceeded maximum resolution of 11,000 points per timeseries. "
                "Try decreasing the query resolution (?step=XX)"
            )
        limit, timeout_s, lookback_ms = parameters.limit(), _timeout_s(parameters), self._lookback_ms(parameters)
        query = self._prepared(parameters)
        if query.kind in {"matrix", "string"}:
            kind = "range vector" if query.kind == "matrix" else "string"
            raise invalid(
                "query", f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector'
            )
        result = query.range_result(
            start_ms=start_ms,
            end_ms=end_ms,
            step_ms=step_ms,
            timeout_s=timeout_s,
            lookback_ms=lookback_ms,
            cancelled=parameters.cancelled,
        )
        return _replied(result, at_ms=end_ms, limit=limit, parameters=parameters)

    def query_exemplars(self, parameters: Parameters) -> Reply:
        min_ms = parameters.time_ms("start", default_ms=MIN_TIME_MS)
        max_ms = parameters.time_ms("end", default_ms=MAX_TIME_MS)
        if max_ms < min_ms:
            raise BadRequestError("end timestamp must not be before start timestamp")
        selectors = selectors_of(parameters.text("query"))
        if not selectors:
            return Reply(None)
        found: dict[Labels, str] = {}
        for selector in selectors:
            for labels, exemplars in self._source.exemplars(selector.matchers, min_ms=min_ms, max_ms=max_ms):
                texts = (exemplar_text(one.labels, one.value, one.timestamp_ms) for one in exemplars)
                found[labels] = f'{{"seriesLabels":{labels_text(labels)},"exemplars":[{",".join(texts)}]}}'
        return Reply([f"[{','.join(found[labels] for labels in sorted(found))}]"])

    def format_query(self, parameters: Parameters) -> Reply:
        try:
            return Reply([plain(in_lines(parameters.text("query")))])
        except ParseError as error:
            raise invalid("query", error) from error

    def parse_query(self, parameters: Parameters) -> Reply:
        expr = parameters.text("query")
        try:
            self._engine.parse(expr)  # what is not well typed is refused here too
            return Reply([plain(translated(parsed(expr)))])
        except ParseError as error:
            raise invalid("query", error) from error

    def _prepared(self, parameters: Parameters) -> Query:
        try:
            return self._engine.prepare(parameters.text("query"))
        except ParseError as error:
            raise invalid("query", error) from error

    def _lookback_ms(self, parameters: Parameters) -> int:
        if not parameters.text("lookback_delta"):
            return self._engine.lookback_ms
        try:
            given = parameters.duration_ms("lookback_delta")
        except BadRequestError as error:
            raise BadRequestError(f"error parsing lookback delta duration: {error.__cause__}") from error
        return given if given > 0 else self._engine.lookback_ms


def _timeout_s(parameters: Parameters) -> float:
    """What is left of the time, of which waiting for a thread has taken some."""
    allowed_ms = min(parameters.duration_ms("timeout", default_ms=DEFAULT_TIMEOUT_MS), DEFAULT_TIMEOUT_MS)
    waited_s = _age_s(parameters)
    if allowed_ms / 1000 <= waited_s:
        raise QueryTimeoutError("query queue")
    if parameters.cancelled.is_set():
        raise QueryCancelledError
    return allowed_ms / 1000 - waited_s


def _age_s(parameters: Parameters) -> float:
    return time.monotonic() - parameters.arrived_s if parameters.arrived_s else 0.0


def _replied(result: Result[Answer] | Result[Matrix], *, at_ms: int, limit: int, parameters: Parameters) -> Reply:
    """At most `limit` series, 0 for all."""
    stats = ""
    if wanted := parameters.text("stats"):
        queued_s = max(0.0, _age_s(parameters) - result.statistics.seconds)
        stats = plain(replace(result.statistics, queued_s=queued_s).to_json(per_step=wanted == "all"))
    count, pieces = _pieces(result.value, at_ms, limit or None, stats)
    truncated = (TRUNCATED,) if limit and count > limit else ()
    return Reply(pieces, (*result.warnings, *truncated), result.infos)


def _pieces(answer: Answer | Matrix, at_ms: int, limit: int | None, stats: str) -> tuple[int, Iterator[str | bytes]]:
    """How many series there are, and the JSON of the first `limit` of them."""
    match answer:
        case Scalar():
            return 0, iter([scalar_data("scalar", scalar_text(answer.value), answer.timestamp_ms, stats=stats)])
        case StringValue():
            return 0, iter([scalar_data("string", answer.value, answer.timestamp_ms, stats=stats)])
        case Vector():
            kept = slice(0, limit)
            histograms = answer.histograms if isinstance(answer, InstantVector) else {}
            return len(answer.labels), vector_data(
                answer.labels[kept], answer.values[kept], at_ms, histograms=histograms, stats=stats
            )
        case Matrix():
            return len(answer.labels), matrix_data(_matrix_series(answer, limit), stats=stats)
        case RangeVector():
            labels = {one for block in answer.blocks for one in block.labels}
            labels.update(one.labels for one in answer.histograms)
            return len(labels), matrix_data(islice(_range_series(answer), limit), stats=stats)
    raise TypeError(f"not an answer: {type(answer).__name__}")


def _matrix_series(matrix: Matrix, limit: int | None) -> Iterator[tuple[Labels, SeriesJson]]:
    kept = slice(0, limit)
    histograms = {
        matrix.labels[row]: _histogram_series(matrix, row, by_step) for row, by_step in matrix.histograms.items()
    }
    return series_json(matrix.labels[kept], matrix.timestamps_ms, matrix.values[kept], histograms)


def _histogram_series(matrix: Matrix, row: int, by_step: Mapping[int, NativeHistogram]) -> HistogramSeries:
    timestamps = matrix.timestamps_ms[np.fromiter(by_step, np.intp, len(by_step))]
    return HistogramSeries(matrix.labels[row], timestamps, tuple(by_step.values()))


def _range_series(answer: RangeVector) -> Iterator[tuple[Labels, SeriesJson]]:
    """By labels, as Prometheus sorts every matrix."""
    alone = {one.labels: one for one in answer.histograms}
    parts: list[Iterable[tuple[Labels, SeriesJson]]] = []
    for block in answer.blocks:
        order = sorted(range(len(block.labels)), key=block.labels.__getitem__)
        labels = [block.labels[row] for row in order]
        mixed = {one: alone.pop(one) for one in labels if one in alone}
        parts.append(series_json(labels, block.timestamps_ms, block.values[order], mixed))
    parts.append(histogram_series_json([alone[labels] for labels in sorted(alone)]))
    return heapq.merge(*parts, key=lambda one: one[0])
