"""What the worker may scale, as its scaler sees it: `GET /api/v1/services`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException

from remediation.errors import ScalerError
from remediation.worker import Worker


def install_services(app: FastAPI, worker: Worker) -> None:
    @app.get("/api/v1/services")
    def services() -> dict[str, Any]:
        """How many replicas each should have, has ready and may have: as the orchestrator's, whatever the scaler."""
        try:
            found = worker.replicas()
        except ScalerError as error:
            raise HTTPException(503, f"the scaler cannot tell: {error}") from error
        return {
            "services": [
                {
                    "name": one.service,
                    "desired": one.desired,
                    "ready": one.ready,
                    "minimum": one.minimum,
                    "maximum": one.maximum,
                }
                for one in found
            ]
        }
