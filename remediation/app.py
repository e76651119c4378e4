"""The worker's HTTP API: the webhook, the records, health and metrics."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from remediation.store.record import KillSwitch, State
from remediation.webhook import Notification
from remediation.worker import Worker
from remediation.workflow.journal import now_unix_ms
from steersman.runtime.http import install_error_envelope, require_bearer

log = logging.getLogger("remediation")

MAX_BODY_BYTES = 4 << 20  # some 4,000 alerts with generous annotations
MAX_RECORDS = 1000
RunId = Annotated[str, Query(max_length=128)]


class KillSwitchRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    on: StrictBool
    reason: str = Field(min_length=1, max_length=1000)
    by: str = Field(min_length=1, max_length=128)


class AnswerRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: str = Field(min_length=1, max_length=128)
    reason: str = Field(min_length=1, max_length=1000)


def _told(switch: KillSwitch | None) -> dict[str, Any]:
    if switch is None:
        return {"on": False}
    return {"on": True, "reason": switch.reason, "by": switch.by, "at_unix_ms": switch.at_unix_ms}


def make_app(worker: Worker, token: str) -> FastAPI:
    app = FastAPI(title="Steersman remediation worker", docs_url=None, redoc_url=None, openapi_url=None)
    install_error_envelope(app)

    @app.post("/api/v1/webhook/alertmanager", dependencies=[Depends(require_bearer(token))])
    async def webhook(request: Request) -> dict[str, list[str]]:
        notification = _parsed(await _body(request))
        try:
            return {"accepted": await run_in_threadpool(worker.intake.take, notification, now_unix_ms())}
        except SQLAlchemyError as error:
            log.exception("alerts could not be stored")
            raise HTTPException(503, "the alerts could not be stored; send them again") from error

    @app.get("/api/v1/remediations")
    def remediations(
        state: State | None = None,
        service: Annotated[str | None, Query(max_length=128)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_RECORDS)] = 100,
    ) -> dict[str, Any]:
        return {"remediations": worker.store.records(state=state, service=service, limit=limit)}

    @app.get("/api/v1/remediations/{run_id}")
    def remediation(run_id: str) -> dict[str, Any]:
        record = worker.store.record(run_id)
        if record is None:
            raise HTTPException(404, f"no remediation {run_id[:128]!r}")
        return record

    @app.post("/api/v1/remediations/{run_id}/{verdict}", dependencies=[Depends(require_bearer(token))])
    def answer(run_id: str, verdict: Literal["approve", "refuse"], body: AnswerRequest) -> dict[str, Any]:
        """Answer the question that a run has asked; the first answer counts."""
        told = "approved" if verdict == "approve" else "refused"
        if not worker.store.answer(run_id, told, by=body.by, reason=body.reason, at_unix_ms=now_unix_ms()):
            raise HTTPException(409, f"remediation {run_id[:128]!r} has no open question")
        return remediation(run_id)

    @app.get("/api/v1/kill-switch")
    def kill_switch() -> dict[str, Any]:
        return _told(worker.store.kill_switch())

    @app.put("/api/v1/kill-switch", dependencies=[Depends(require_bearer(token))])
    def turn_kill_switch(body: KillSwitchRequest) -> dict[str, Any]:
        """On: no worker on this store acts until it is off again. Turned on twice, it keeps the first reason."""
        if body.on:
            switch = KillSwitch(reason=body.reason, by=body.by, at_unix_ms=now_unix_ms())
            switch = worker.store.stop_all(switch)
            log.warning("kill switch on, by %s: %s", switch.by, switch.reason)
            return _told(switch)
        worker.store.allow_all()
        log.warning("kill switch off, by %s: %s", body.by, body.reason)
        return _told(None)

    @app.get("/-/healthy")
    async def healthy() -> dict[str, str]:
        return {"status": "healthy"}

    @app.get("/-/ready")
    def ready() -> dict[str, str]:
        try:
            worker.store.unfinished()
        except SQLAlchemyError as error:
            raise HTTPException(503, f"the store does not answer: {type(error).__name__}") from error
        return {"status": "ready"}

    @app.get("/metrics")
    def metrics() -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return Response(generate_latest(worker.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"body is larger than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _parsed(body: bytes) -> Notification:
    try:
        return Notification.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        got = repr(first.get("input"))
        got = got if len(got) <= 80 else got[:79] + "…"
        raise HTTPException(400, f"{where}: {first['msg']}, got {got}") from error
