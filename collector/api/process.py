"""What every HTTP port of the collector's own has: errors in one envelope, health, /metrics."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.responses import Response

from collector.errors import BadRequestError, TemporaryError
from steersman.runtime.http import error_response, install_error_envelope


def process_app(title: str, metrics: CollectorRegistry) -> FastAPI:
    """
    Args:
        metrics: of this collector; what a process has once (CPU, memory) is in prometheus_client's REGISTRY.
    """
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)
    install_error_envelope(app)

    @app.exception_handler(BadRequestError)
    async def bad_request(_request: Request, error: BadRequestError) -> JSONResponse:
        return error_response(400, str(error))

    @app.exception_handler(TemporaryError)
    async def not_now(_request: Request, error: TemporaryError) -> JSONResponse:
        return error_response(503, str(error))

    @app.get("/-/healthy", response_class=PlainTextResponse)
    @app.get("/-/ready", response_class=PlainTextResponse)
    async def healthy() -> str:
        return "OK\n"

    @app.get("/metrics")
    async def own_metrics() -> Response:
        return Response(generate_latest(REGISTRY) + generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    return app
