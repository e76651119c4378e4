"""
Jaeger's query API v1, with its envelope for answers and for errors.

Source: jaegerquery/internal/http_handler.go; what calls it: jaeger-ui/src/api/jaeger.ts, grafana/pkg/tsdb/jaeger.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.responses import Response

from collector.api.jaeger_json import kind_name, trace_json
from collector.api.jaeger_otlp import traces_of_otlp
from collector.api.jaeger_query import (
    MAX_MS,
    MAX_US,
    parse_search,
    parse_tags,
    span_kind,
    trace_id,
    trace_ids,
    truth,
    whole_number,
)
from collector.errors import BadRequestError, LimitExceededError, UnsupportedError
from collector.model.ids import trace_id_hex
from collector.model.telemetry import Trace
from collector.receivers.otlp_json import request_of_json
from collector.storage.traces.reader import TraceReader

_NANO_PER_MS = 1_000_000
_DEFAULT_DEPENDENCY_LOOKBACK_MS = 24 * 3600 * 1000  # Jaeger's (jaegerquery/internal/default_params.go)
MAX_UPLOAD_BYTES = 16 * 1024 * 1024  # of OTLP/JSON that a user looks at in the browser; a large trace has some MB


def v1_router(reader: TraceReader) -> APIRouter:
    # Plain functions, not coroutines: they wait for DuckDB, so they run in the thread pool.
    router = APIRouter(prefix="/api")

    @router.get("/services")
    def services(request: Request) -> Response:
        return _answer(request, reader.services())

    @router.get("/services/{service:path}/operations")
    def operations_of_service(request: Request, service: str) -> Response:
        return _answer(request, list(dict.fromkeys(operation.name for operation in reader.operations(service))))

    @router.get("/operations")
    def operations(request: Request) -> Response:
        service = request.query_params.get("service", "")
        if not service:
            raise BadRequestError("parameter 'service' is required")
        found = reader.operations(service, kind=span_kind(request.query_params.get("spanKind", "")))
        data = [{"name": operation.name, "spanKind": kind_name(operation.kind)} for operation in found]
        return _answer(request, data)

    @router.get("/traces")
    def traces(request: Request) -> Response:
        parameters = request.query_params
        _check_bounds(request)
        if ids := trace_ids(parameters.getlist("traceID")):
            found = reader.traces(ids)
            missing = dict.fromkeys(ids).keys() - {trace.trace_id for trace in found}
            errors = [{"msg": "trace not found", "traceID": trace_id_hex(id_)} for id_ in ids if id_ in missing]
            return _traces(request, found, errors=errors)
        tags = parse_tags(parameters.getlist("tags"), parameters.getlist("tag"))
        query = parse_search(dict(parameters), tags=tags, now_us=time.time_ns() // 1000)
        return _traces(request, reader.find(query))

    @router.get("/traces/{text}")
    def trace(request: Request, text: str) -> Response:
        _check_bounds(request)
        found = reader.trace(trace_id(text))
        return _traces(request, [found]) if found else v1_error(404, "trace not found")

    @router.post("/archive/{text}")
    def archive(text: str) -> Response:
        if reader.trace(trace_id(text)) is None:
            return v1_error(404, "trace not found")
        raise UnsupportedError("archive span storage was not configured")

    @router.post("/transform")
    async def transform(request: Request) -> Response:
        body = request_of_json(await _bounded_body(request), ExportTraceServiceRequest)
        return _traces(request, traces_of_otlp(ExportTraceServiceRequest.FromString(body)))

    @router.get("/dependencies")
    def dependencies(request: Request) -> Response:
        parameters = request.query_params
        end, lookback = time.time_ns() // _NANO_PER_MS, _DEFAULT_DEPENDENCY_LOOKBACK_MS
        if parameters.get("endTs"):
            end = whole_number("endTs", parameters["endTs"], low=0, high=MAX_MS)
        if parameters.get("lookback"):
            lookback = whole_number("lookback", parameters["lookback"], low=0, high=MAX_MS)
        found = reader.dependencies(
            start_unix_nano=max(0, end - lookback) * _NANO_PER_MS, end_unix_nano=end * _NANO_PER_MS
        )
        service = parameters.get("service", "")
        data = [
            {"parent": link.parent, "child": link.child, "callCount": link.call_count}
            for link in found
            if not service or service in (link.parent, link.child)
        ]
        return _answer(request, data, total=0)

    @router.get("/quality-metrics")
    def quality_metrics(request: Request) -> Response:
        raise UnsupportedError(f"trace quality is not measured; asked for {request.url.path}")

    return router


def _check_bounds(request: Request) -> None:
    """What is checked although one answer does without: times (a hint for stores split by time), `raw`."""
    parameters = request.query_params
    for name in ("start", "end"):
        if parameters.get(name):
            whole_number(name, parameters[name], low=0, high=MAX_US)
    truth("raw", parameters.get("raw", ""))


async def _bounded_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_UPLOAD_BYTES:
            raise LimitExceededError(f"the body is larger than the limit of {MAX_UPLOAD_BYTES} bytes")
    return bytes(body)


def _traces(request: Request, found: Sequence[Trace], *, errors: Sequence[dict[str, Any]] = ()) -> Response:
    return _answer(request, [trace_json(trace) for trace in found], total=0, errors=errors)


def _answer(
    request: Request, data: list[Any], *, total: int | None = None, errors: Sequence[dict[str, Any]] = ()
) -> Response:
    """Jaeger counts what it lists, but says 0 for traces and dependencies."""
    count = len(data) if total is None else total
    answer = {"data": data, "total": count, "limit": 0, "offset": 0, "errors": list(errors) or None}
    if request.query_params.get("prettyPrint", "false") not in ("", "false"):
        return Response(json.dumps(answer, indent=4, ensure_ascii=False), media_type="application/json")
    return JSONResponse(answer)


def v1_error(status: int, message: str) -> JSONResponse:
    errors = [{"code": status, "msg": message}]
    return JSONResponse({"data": None, "total": 0, "limit": 0, "offset": 0, "errors": errors}, status_code=status)
