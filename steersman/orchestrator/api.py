"""The orchestrator's HTTP API, as docs/architecture.md has it. Reading is free; changing wants the token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from starlette.types import ASGIApp

from steersman.errors import ConflictError, OrchestratorError, OutOfBoundsError
from steersman.orchestrator.controls_api import install_controls
from steersman.orchestrator.fleet import Fleet
from steersman.runtime.http import error_response, install_error_envelope, limit_bodies, require_bearer

LARGEST_BODY_BYTES = 4096  # the largest request is a version with the reason for it
LONGEST_NAME = 200


class Desired(BaseModel):
    model_config = ConfigDict(extra="forbid")
    desired: StrictInt


class Restart(BaseModel):
    model_config = ConfigDict(extra="forbid")
    instance: str | None = Field(default=None, max_length=LONGEST_NAME)
    started_before_unix_ms: StrictInt | None = None


def create_app(
    fleet: Fleet, *, token: str, processes: Callable[[], list[dict[str, Any]]], more: Sequence[APIRouter] = ()
) -> ASGIApp:
    """
    The ASGI application.

    Args:
        processes: Answers what the supervisor keeps alive.
        more: What else this port serves, such as the drills.
    """
    app = FastAPI(title="Steersman orchestrator", docs_url=None, redoc_url=None, openapi_url=None)
    install_error_envelope(app)
    changes = [Depends(require_bearer(token))]

    @app.exception_handler(OrchestratorError)
    async def refused(_request: Request, error: OrchestratorError) -> JSONResponse:
        status = {OutOfBoundsError: 422, ConflictError: 409}.get(type(error), 404)
        return error_response(status, str(error))

    @app.get("/-/healthy")
    @app.get("/-/ready")
    async def healthy() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/api/v1/services")
    async def services() -> dict[str, Any]:
        return {"services": [fleet.describe(name) for name in fleet.names]}

    @app.get("/api/v1/services/{name}")
    async def service(name: str) -> dict[str, Any]:
        return fleet.describe(name)

    @app.put("/api/v1/services/{name}/desired", dependencies=changes)
    async def set_desired(name: str, body: Desired) -> dict[str, Any]:
        fleet.set_desired(name, body.desired)
        return fleet.describe(name)

    @app.post("/api/v1/services/{name}/restart", status_code=202, dependencies=changes)
    async def restart(name: str, body: Restart) -> dict[str, Any]:
        fleet.restart(name, body.instance, started_before_unix_ms=body.started_before_unix_ms)
        return fleet.describe(name)

    install_controls(app, fleet.controls, changes)

    @app.get("/api/v1/processes")
    async def kept_alive() -> dict[str, Any]:
        return {"processes": processes()}

    for router in more:
        app.include_router(router)
    return limit_bodies(app, LARGEST_BODY_BYTES)
