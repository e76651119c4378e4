"""`POST /api/v1/explain`: what would be done about an alert now. It changes nothing, but it asks Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from remediation.api.webhooks import body_of, parsed
from remediation.webhook import LabelName, Text
from remediation.worker import Worker
from remediation.workflow.journal import now_unix_ms
from steersman.runtime.http import require_bearer


class ExplainRequest(BaseModel):
    """An alert; what a notification says beside labels and annotations is ignored."""

    model_config = ConfigDict(extra="ignore")

    labels: dict[LabelName, Text] = Field(max_length=128)
    annotations: dict[LabelName, Text] = Field(default={}, max_length=128)


def install_explain(app: FastAPI, worker: Worker, token: str) -> None:
    @app.post("/api/v1/explain", dependencies=[Depends(require_bearer(token))])
    async def explain(request: Request) -> dict[str, Any]:
        body = parsed(ExplainRequest, await body_of(request))

        def explained() -> dict[str, Any]:
            now = now_unix_ms()
            told = worker.explainer.explain(body.labels, body.annotations, now)
            service = told.get("target") or body.labels.get("service") or ""
            return told | {"autoscaling": worker.scaling.explain(service, now / 1000)}

        return await run_in_threadpool(explained)
