"""The whole of Jaeger's port: its query API, versions 1 and 3, each with its own shape of errors."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from collector.api.jaeger_metrics import metrics_router
from collector.api.jaeger_performance import Performance, SpansPerformance
from collector.api.jaeger_v1 import v1_error, v1_router
from collector.api.jaeger_v3 import PREFIX as V3_PREFIX
from collector.api.jaeger_v3 import v3_error, v3_router
from collector.errors import BadRequestError, CollectorError, LimitExceededError, TemporaryError, UnsupportedError
from collector.storage.traces.reader import TraceReader

_STATUSES = {BadRequestError: 400, LimitExceededError: 413, TemporaryError: 503, UnsupportedError: 501}


def jaeger_app(reader: TraceReader, performance: Performance | None = None) -> FastAPI:
    """
    Args:
        performance: where the performance metrics come from; None: the spans.
    """
    app = FastAPI(title="Steersman: Jaeger query API", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(v3_router(reader))
    app.include_router(metrics_router(performance or SpansPerformance(reader)))
    app.include_router(v1_router(reader))
    _install_errors(app)

    @app.get("/", response_class=PlainTextResponse)
    async def root() -> str:
        return "Steersman's collector, Jaeger query API: see /api/services and /api/v3/services\n"

    @app.get("/-/healthy", response_class=PlainTextResponse)
    @app.get("/-/ready", response_class=PlainTextResponse)
    async def healthy() -> str:
        return "OK\n"

    return app


def _error(request: Request, status: int, message: str) -> JSONResponse:
    return (v3_error if request.url.path.startswith(V3_PREFIX) else v1_error)(status, message)


def _install_errors(app: FastAPI) -> None:
    @app.exception_handler(CollectorError)
    async def refused(request: Request, error: CollectorError) -> JSONResponse:
        status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)
        return _error(request, status, str(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return _error(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _error(request, 400, str(error.errors()[0]["msg"]))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _error_: Exception) -> JSONResponse:
        return _error(request, 500, "internal error; the log has the cause")  # the server logs it
