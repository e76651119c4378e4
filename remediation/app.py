"""The worker's HTTP API: records, approvals, the kill switch, health and metrics; webhooks stand in `api`."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from sqlalchemy.exc import SQLAlchemyError

from remediation.api.audit import install_audit
from remediation.api.explain import install_explain
from remediation.api.scaling import install_scaling
from remediation.api.services import install_services
from remediation.api.webhooks import install_webhooks
from remediation.store.record import KillSwitch, State
from remediation.worker import Worker
from remediation.workflow.journal import now_unix_ms
from steersman.runtime.http import install_error_envelope, require_bearer

log = logging.getLogger("remediation")

MAX_RECORDS = 1000
MAX_UNIX_MS = 1 << 53  # beyond, JSON's numbers are no longer whole everywhere


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

    install_webhooks(app, worker, token)
    install_audit(app, worker)
    install_explain(app, worker, token)
    install_scaling(app, worker)
    install_services(app, worker)

    @app.get("/api/v1/remediations")
    def remediations(
        state: State | None = None,
        service: Annotated[str | None, Query(max_length=128)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_RECORDS)] = 100,
        before: Annotated[int | None, Query(ge=0, le=MAX_UNIX_MS)] = None,
    ) -> dict[str, Any]:
        """Newest first; `before` (Unix milliseconds) continues a list that was cut."""
        return {"remediations": worker.store.records(state=state, service=service, limit=limit, before=before)}

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
        worker.store.allow_all(by=body.by, reason=body.reason, at_unix_ms=now_unix_ms())
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
