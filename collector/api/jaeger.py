"""Jaeger's query API v1, with Jaeger's own envelope for answers and for errors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from collector.api.jaeger_json import kind_name, trace_json
from collector.api.jaeger_query import parse_search, parse_tags, whole_number
from collector.errors import BadRequestError, LimitExceededError, TemporaryError
from collector.model.ids import parse_trace_id
from collector.model.telemetry import SpanKind
from collector.storage.traces.reader import TraceReader

_NANO_PER_MS = 1_000_000
_DEFAULT_DEPENDENCY_LOOKBACK_MS = 24 * 3600 * 1000  # Jaeger's (cmd/query/app/http_handler.go)
_MAX_MS = 2**63 // _NANO_PER_MS


def jaeger_app(reader: TraceReader) -> FastAPI:
    """The whole of port 16686."""
    app = FastAPI(title="Steersman: Jaeger query API", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(jaeger_router(reader))
    _install_errors(app)

    @app.get("/", response_class=PlainTextResponse)
    async def root() -> str:
        return "Steersman's collector, Jaeger query API: see /api/services\n"

    @app.get("/-/healthy", response_class=PlainTextResponse)
    @app.get("/-/ready", response_class=PlainTextResponse)
    async def healthy() -> str:
        return "OK\n"

    return app


def jaeger_router(reader: TraceReader) -> APIRouter:
    # Plain functions, not coroutines: they wait for DuckDB, so they run in the thread pool.
    router = APIRouter(prefix="/api")

    @router.get("/services")
    def services() -> JSONResponse:
        return _answer(reader.services())

    @router.get("/services/{service}/operations")
    def operations_of_service(service: str) -> JSONResponse:
        return _answer(list(dict.fromkeys(operation.name for operation in reader.operations(service))))

    @router.get("/operations")
    def operations(request: Request) -> JSONResponse:
        service = request.query_params.get("service", "")
        if not service:
            raise BadRequestError("parameter 'service' is required")
        found = reader.operations(service, kind=_kind(request.query_params.get("spanKind", "")))
        return _answer([{"name": operation.name, "spanKind": kind_name(operation.kind)} for operation in found])

    @router.get("/traces")
    def traces(request: Request) -> JSONResponse:
        parameters = request.query_params
        if ids := parameters.getlist("traceID"):
            found = reader.traces([_trace_id(text) for text in ids])
            missing = {_trace_id(text) for text in ids} - {trace.trace_id for trace in found}
            errors = [
                {"code": 404, "msg": "trace not found", "traceID": text} for text in ids if _trace_id(text) in missing
            ]
            return _answer([trace_json(trace) for trace in found], total=0, errors=errors)
        tags = parse_tags(parameters.getlist("tags"), parameters.getlist("tag"))
        query = parse_search(dict(parameters), tags=tags, now_us=time.time_ns() // 1000)
        return _answer([trace_json(trace) for trace in reader.find(query)], total=0)

    @router.get("/traces/{trace_id}")
    def trace(trace_id: str) -> JSONResponse:
        found = reader.trace(_trace_id(trace_id))
        return _answer([trace_json(found)], total=0) if found else _error(404, "trace not found")

    @router.get("/dependencies")
    def dependencies(request: Request) -> JSONResponse:
        parameters = request.query_params
        end = whole_number("endTs", parameters.get("endTs", ""), low=0, high=_MAX_MS)
        lookback = _DEFAULT_DEPENDENCY_LOOKBACK_MS
        if parameters.get("lookback"):
            lookback = whole_number("lookback", parameters["lookback"], low=0, high=_MAX_MS)
        found = reader.dependencies(
            start_unix_nano=max(0, end - lookback) * _NANO_PER_MS, end_unix_nano=end * _NANO_PER_MS
        )
        return _answer([{"parent": link.parent, "child": link.child, "callCount": link.call_count} for link in found])

    return router


def _trace_id(text: str) -> Any:
    try:
        return parse_trace_id(text)
    except ValueError as error:
        raise BadRequestError(str(error)) from error


def _kind(name: str) -> int | None:
    if not name:
        return None
    for kind in SpanKind:
        if kind.name.lower() == name.lower():
            return int(kind)
    raise BadRequestError(f"parameter 'spanKind': {name[:40]!r} is not server, client, producer, consumer or internal")


def _answer(data: list[Any], *, total: int | None = None, errors: Sequence[dict[str, Any]] = ()) -> JSONResponse:
    """Jaeger counts what it lists, but says 0 for traces (http_handler.go)."""
    count = len(data) if total is None else total
    return JSONResponse({"data": data, "total": count, "limit": 0, "offset": 0, "errors": list(errors) or None})


def _error(status: int, message: str) -> JSONResponse:
    errors = [{"code": status, "msg": message}]
    return JSONResponse({"data": None, "total": 0, "limit": 0, "offset": 0, "errors": errors}, status_code=status)


def _install_errors(app: FastAPI) -> None:
    @app.exception_handler(BadRequestError)
    async def bad_request(_request: Request, error: BadRequestError) -> JSONResponse:
        return _error(400, str(error))

    @app.exception_handler(LimitExceededError)
    async def too_much(_request: Request, error: LimitExceededError) -> JSONResponse:
        return _error(413, str(error))

    @app.exception_handler(TemporaryError)
    async def not_now(_request: Request, error: TemporaryError) -> JSONResponse:
        return _error(503, str(error))

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return _error(400, str(error.errors()[0]["msg"]))
