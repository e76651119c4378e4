"""What the autoscalers decided last, and what the forecast has: `GET /api/v1/autoscalers`, `GET /api/v1/forecast`."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query

from remediation.errors import TelemetryError
from remediation.worker import Worker


def install_scaling(app: FastAPI, worker: Worker) -> None:
    @app.get("/api/v1/autoscalers")
    def autoscalers(service: Annotated[str | None, Query(max_length=128)] = None) -> dict[str, Any]:
        """By service: the last decision and its reason, doing nothing included; empty until there is one."""
        return {"autoscalers": worker.scaling.statuses(service)}

    @app.get("/api/v1/forecast")
    def forecast(service: Annotated[str, Query(min_length=1, max_length=128)]) -> dict[str, Any]:
        """A season ahead, the floor that it has for now, and how good the method has been over the last season."""
        try:
            told = worker.scaling.forecast(service, time.time())
        except TelemetryError as error:
            raise HTTPException(503, f"no history of the load of {service!r}: {error}") from error
        if told is None:
            raise HTTPException(404, f"no autoscaler has service {service!r}")
        if told["forecast"] is None:
            raise HTTPException(404, f"autoscaler {told['autoscaler']!r} of service {service!r} has no forecast")
        return told
