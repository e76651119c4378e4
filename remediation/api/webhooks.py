"""What comes in: the webhooks of Alertmanager, Grafana and CloudWatch, and what a person asks for."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hmac
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from remediation.cloudwatch import Alarm, Envelope, keep_confirmation
from remediation.errors import RequestError
from remediation.intake import Request as Asked
from remediation.webhook import Alert, GrafanaNotification, LabelName, Notification, Text
from remediation.worker import Worker
from remediation.workflow.journal import now_unix_ms
from steersman.runtime.http import require_bearer
from steersman.runtime.tokens import bearer_matches

log = logging.getLogger("remediation")

MAX_BODY_BYTES = 4 << 20  # some 4,000 alerts with generous annotations
Model = TypeVar("Model", bound=BaseModel)


class RemediationRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: str = Field(min_length=1, max_length=128)
    policy: str = Field(min_length=1, max_length=64)
    reason: Annotated[Text, StringConstraints(min_length=1, max_length=1000)]
    by: Annotated[Text, StringConstraints(min_length=1, max_length=128)]
    labels: dict[LabelName, Text] = Field(default={}, max_length=64)


def install_webhooks(app: FastAPI, worker: Worker, token: str) -> None:
    bearer = [Depends(require_bearer(token))]

    @app.post("/api/v1/webhook/alertmanager", dependencies=bearer)
    async def alertmanager(request: Request) -> dict[str, list[str]]:
        return await _accepted(worker, parsed(Notification, await body_of(request)).alerts)

    @app.post("/api/v1/webhook/grafana", dependencies=bearer)
    async def grafana(request: Request) -> dict[str, list[str]]:
        return await _accepted(worker, parsed(GrafanaNotification, await body_of(request)).alerts)

    @app.post("/api/v1/webhook/cloudwatch", dependencies=[Depends(_require_password(token))])
    async def cloudwatch(request: Request) -> dict[str, Any]:
        envelope = parsed(Envelope, await body_of(request))
        if envelope.Type == "Notification":
            alert = _alarm(envelope)
            return await _accepted(worker, [] if alert is None else [alert], ends_named=True)
        if envelope.Type == "SubscriptionConfirmation":
            await run_in_threadpool(_keep, worker, envelope)
        return {"accepted": []}

    @app.post("/api/v1/remediations", dependencies=bearer)
    async def ask(request: Request) -> dict[str, Any]:
        """What a person asks for: a policy's steps for a service, within all of its guards."""
        body = parsed(RemediationRequest, await body_of(request))
        asked = Asked(id=f"asked-{uuid.uuid4().hex[:16]}", **body.model_dump())
        try:
            outcome = await run_in_threadpool(_stored, worker.intake.ask, asked, now_unix_ms())
        except RequestError as error:
            raise HTTPException(422, str(error)) from error
        return {"id": outcome.run_id, "result": outcome.what.value}


async def _accepted(worker: Worker, alerts: Sequence[Alert], *, ends_named: bool = False) -> dict[str, list[str]]:
    def take() -> list[str]:
        return worker.intake.take(alerts, now_unix_ms(), ends_named=ends_named)

    return {"accepted": await run_in_threadpool(_stored, take)}


def _stored(store: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return store(*arguments)
    except SQLAlchemyError as error:
        log.exception("alerts could not be stored")
        raise HTTPException(503, "the alerts could not be stored; send them again") from error


def _alarm(envelope: Envelope) -> Alert | None:
    try:
        return Alarm.model_validate_json(envelope.Message).alert()
    except ValidationError as error:
        raise HTTPException(400, f"Message.{first_fault(error)}") from error


def _keep(worker: Worker, envelope: Envelope) -> None:
    try:
        path = keep_confirmation(worker.data_dir / "sns-confirmations", envelope, dt.datetime.now(dt.UTC))
    except ValueError as error:
        raise HTTPException(503, str(error)) from error
    told = "%s asks to be confirmed: aws sns confirm-subscription, with the topic and the token in %s"
    log.warning(told, envelope.TopicArn, path)


def _require_password(token: str) -> Callable[[Request], Awaitable[None]]:
    """The bearer token, or the same as password of whatever user: all that SNS can send."""

    async def check(request: Request) -> None:
        header = request.headers.get("authorization") or ""
        scheme, _, rest = header.partition(" ")
        password = b""
        if scheme.lower() == "basic":
            try:
                password = base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                password = b""
        if not (hmac.compare_digest(password, token.encode()) or bearer_matches(header, token)):
            # SNS sends the password only after it was asked for it in this way.
            raise HTTPException(401, "missing or wrong token", headers={"WWW-Authenticate": 'Basic realm="steersman"'})

    return check


async def body_of(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"body is larger than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def parsed(model: type[Model], body: bytes) -> Model:
    """
    Raises:
        HTTPException: 400, naming the field.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(400, first_fault(error)) from error


def first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    got = repr(first.get("input"))
    return f"{where}: {first['msg']}, got {got if len(got) <= 80 else got[:79] + '…'}"
