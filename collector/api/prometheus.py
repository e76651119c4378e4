"""
Prometheus's HTTP API: queries and what there is to query.

Queries run in threads, so that ingest keeps flowing in the event loop while they do.

Source: prometheus/web/api/v1/api.go.
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from collector.api.prometheus_encoding import plain, query_data, success, timestamp_text
from collector.api.prometheus_parameters import MAX_TIME_MS, MIN_TIME_MS, Parameters, invalid, read_parameters
from collector.errors import BadRequestError, CollectorError, LimitExceededError, TemporaryError
from collector.model.series import Labels, Matcher, SeriesSource
from collector.query.errors import ParseError, QueryTimeoutError, TooManySamplesError
from collector.query.promql.engine import Engine, Query
from collector.query.promql.numerals import format_float
from collector.query.promql.syntax import matchers_of, pretty, selectors_of
from steersman.runtime.http import error_response

MAX_POINTS = 11_000  # steps of a range query (prometheus/web/api/v1/api.go, queryRange)
DEFAULT_TIMEOUT_MS = 120_000  # Prometheus's --query.timeout, by its default
QUERY_THREADS = 4  # NumPy frees the interpreter in its loops, so a few run side by side; more only take memory
_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

Handler = Callable[[Parameters], str]


def prometheus_router(
    *, engine: Engine, source: SeriesSource, targets: Callable[[], list[dict[str, Any]]], version: str = "0.1.0"
) -> APIRouter:
    """
    The routes under /api/v1.

    Args:
        targets: the active targets, each as Prometheus's API writes one (`scrapeUrl`, `labels`, `health`, …).
        version: of this software, for /api/v1/status/buildinfo.
    """
    router = APIRouter()
    api = _Api(engine, source)
    threads = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="promql")

    def serve(path: str, handler: Handler, *methods: str) -> None:
        endpoint = _endpoint(threads, handler)
        router.add_api_route(f"/api/v1/{path}", endpoint, methods=list(methods), name=f"prometheus {path}")

    for path, handler in {
        "query": api.query,
        "query_range": api.query_range,
        "query_exemplars": api.query_exemplars,
        "labels": api.labels,
        "series": api.series,
        "format_query": api.format_query,
    }.items():
        serve(path, handler, "GET", "POST")
    serve("metadata", api.metadata, "GET")
    started_ms = time.time_ns() // 1_000_000
    build = {"version": version, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}
    runtime = {"startTime": _rfc3339(started_ms), "queryThreads": QUERY_THREADS}
    flags = {
        "query.lookback-delta": f"{engine.lookback_ms // 1000}s",
        "query.max-samples": str(engine.max_samples),
        "query.max-concurrency": str(QUERY_THREADS),
        "query.timeout": f"{DEFAULT_TIMEOUT_MS // 1000}s",
    }
    for path, answer in (
        ("buildinfo", build | {"application": "Steersman"}),
        ("runtimeinfo", runtime),
        ("flags", flags),
    ):
        serve(f"status/{path}", functools.partial(_constant, plain(answer)), "GET")

    async def active_targets(request: Request) -> Response:  # in the event loop, where scrapes change them
        active = targets() if request.query_params.get("state", "").lower() in {"", "any", "active"} else []
        return _ok(plain({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}))

    router.add_api_route("/api/v1/targets", active_targets, methods=["GET"])

    async def label_values(request: Request) -> Response:
        handler = functools.partial(api.label_values, request.path_params["name"])
        return await _endpoint(threads, handler)(request)

    router.add_api_route("/api/v1/label/{name}/values", label_values, methods=["GET"])
    return router


def _endpoint(threads: ThreadPoolExecutor, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            parameters = await read_parameters(request)
            data = await asyncio.get_running_loop().run_in_executor(threads, handler, parameters)
        except CollectorError as error:
            return _refused(error)
        return _ok(data)

    return endpoint


def _ok(data: str) -> Response:
    return Response(success(data), media_type="application/json")


def _refused(error: CollectorError) -> Response:
    match error:
        case BadRequestError():
            return error_response(400, str(error), error_type="bad_data")
        case QueryTimeoutError():
            return error_response(503, str(error), error_type="timeout")
        case TemporaryError():
            return error_response(503, str(error), error_type="unavailable")
        case LimitExceededError() if not isinstance(error, TooManySamplesError):
            return error_response(413, str(error), error_type="bad_data")
    return error_response(422, str(error), error_type="execution")


class _Api:
    def __init__(self, engine: Engine, source: SeriesSource) -> None:
        self._engine = engine
        self._source = source

    def query(self, parameters: Parameters) -> str:
        at_ms = parameters.time_ms("time", default_ms=_now_ms())
        limit, options = parameters.limit(), self._options(parameters)
        query = self._prepared(parameters)
        return query_data(query.instant(at_ms=at_ms, **options), at_ms=at_ms, limit=limit)

    def query_range(self, parameters: Parameters) -> str:
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
        limit, options = parameters.limit(), self._options(parameters)
        query = self._prepared(parameters)
        if query.kind in {"matrix", "string"}:
            kind = "range vector" if query.kind == "matrix" else "string"
            raise invalid(
                "query", f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector'
            )
        return query_data(query.range(start_ms=start_ms, end_ms=end_ms, step_ms=step_ms, **options), limit=limit)

    def _prepared(self, parameters: Parameters) -> Query:
        try:
            return self._engine.prepare(parameters.text("query"))
        except ParseError as error:
            raise invalid("query", error) from error

    def _options(self, parameters: Parameters) -> dict[str, Any]:
        timeout_ms = parameters.duration_ms("timeout", default_ms=DEFAULT_TIMEOUT_MS)
        lookback_ms = parameters.duration_ms("lookback_delta", default_ms=self._engine.lookback_ms)
        return {"timeout_s": min(timeout_ms, DEFAULT_TIMEOUT_MS) / 1000, "lookback_ms": lookback_ms}

    def query_exemplars(self, parameters: Parameters) -> str:
        min_ms, max_ms = _bounds(parameters)
        try:
            selectors = selectors_of(parameters.text("query"))
        except ParseError as error:
            raise invalid("query", error) from error
        found: dict[Labels, dict[str, Any]] = {}
        for selector in selectors:
            for labels, exemplars in self._source.exemplars(selector.matchers, min_ms=min_ms, max_ms=max_ms):
                found[labels] = {
                    "seriesLabels": dict(labels),
                    "exemplars": [
                        {
                            "labels": dict(one.labels),
                            "value": format_float(one.value),
                            "timestamp": float(timestamp_text(one.timestamp_ms)),
                        }
                        for one in exemplars
                    ],
                }
        return plain([found[labels] for labels in sorted(found)])

    def labels(self, parameters: Parameters) -> str:
        min_ms, max_ms = _bounds(parameters)
        limit = parameters.limit()
        names: set[str] = set()
        for matchers in _selections(parameters):
            names.update(self._source.label_names(matchers, min_ms=min_ms, max_ms=max_ms))
        return plain(sorted(names)[: limit or None])

    def label_values(self, name: str, parameters: Parameters) -> str:
        if not _LABEL_NAME.fullmatch(name):
            raise BadRequestError(f'invalid label name: "{name}"')
        min_ms, max_ms = _bounds(parameters)
        limit = parameters.limit()
        values: set[str] = set()
        for matchers in _selections(parameters):
            values.update(self._source.label_values(name, matchers, min_ms=min_ms, max_ms=max_ms))
        return plain(sorted(values)[: limit or None])

    def series(self, parameters: Parameters) -> str:
        if not parameters.texts("match[]"):
            raise BadRequestError("no match[] parameter provided")
        min_ms, max_ms = _bounds(parameters)
        limit = parameters.limit()
        found: set[Labels] = set()
        for matchers in _selections(parameters):
            found.update(self._source.series(matchers, min_ms=min_ms, max_ms=max_ms))
        return plain([dict(labels) for labels in sorted(found)[: limit or None]])

    def metadata(self, parameters: Parameters) -> str:
        limit, per_metric = parameters.limit(), parameters.limit("limit_per_metric")
        wanted = parameters.text("metric")
        found: dict[str, list[dict[str, str]]] = {}
        for one in self._source.metadata():
            if wanted and one.name != wanted:
                continue
            if limit and one.name not in found and len(found) >= limit:
                continue
            entries = found.setdefault(one.name, [])
            if not per_metric or len(entries) < per_metric:
                entries.append({"type": one.kind, "help": one.help, "unit": one.unit})
        return plain(found)

    def format_query(self, parameters: Parameters) -> str:
        try:
            return plain(pretty(parameters.text("query")))
        except ParseError as error:
            raise invalid("query", error) from error


def _selections(parameters: Parameters) -> list[tuple[Matcher, ...]]:
    """The matchers of each `match[]`, ORed by the caller; one empty selection, everything, when there is none."""
    try:
        return [matchers_of(text) for text in parameters.texts("match[]")] or [()]
    except ParseError as error:
        raise invalid("match[]", error) from error


def _bounds(parameters: Parameters) -> tuple[int, int]:
    min_ms = parameters.time_ms("start", default_ms=MIN_TIME_MS)
    max_ms = parameters.time_ms("end", default_ms=MAX_TIME_MS)
    if max_ms < min_ms:
        raise invalid("end", "end timestamp must not be before start timestamp")
    return min_ms, max_ms


def _constant(data: str, _parameters: Parameters) -> str:
    return data


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _rfc3339(timestamp_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp_ms / 1000))
