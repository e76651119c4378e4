"""The part of the orchestrator's API that sets versions, weights and rates: GET tells, PUT sets, both by service."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.params import Depends
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from steersman.orchestrator.controls import UNSET, Controls

LONGEST_REASON = 1000
MOST_ZONES = 20


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    until_unix_ms: StrictInt | None = None
    expected: Any = None  # as it is thought to be; if it is neither that nor what is wanted: 409

    @property
    def expectation(self) -> Any:
        return self.expected if "expected" in self.model_fields_set else UNSET


class Version(_Body):
    version: str = Field(min_length=1, max_length=128)
    by: str = Field(default="api", min_length=1, max_length=128)
    reason: str = Field(default="", max_length=LONGEST_REASON)


class Weights(_Body):
    weights: dict[str, StrictInt] = Field(max_length=MOST_ZONES)  # empty: none


class Rate(_Body):
    requests_per_s: float | None = Field(allow_inf_nan=False)


def install_controls(app: FastAPI, controls: Controls, changes: list[Depends]) -> None:
    @app.get("/api/v1/services/{name}/version")
    async def version(name: str) -> dict[str, Any]:
        return controls.describe_version(name)

    @app.put("/api/v1/services/{name}/version", dependencies=changes)
    async def deploy(name: str, body: Version) -> dict[str, Any]:
        until, expected = body.until_unix_ms, body.expectation
        controls.deploy(name, body.version, by=body.by, reason=body.reason, expected=expected, until_unix_ms=until)
        return controls.describe_version(name)

    @app.get("/api/v1/services/{name}/traffic")
    async def traffic(name: str) -> dict[str, Any]:
        return controls.describe_traffic(name)

    @app.put("/api/v1/services/{name}/traffic", dependencies=changes)
    async def shift(name: str, body: Weights) -> dict[str, Any]:
        controls.shift(name, body.weights, expected=body.expectation, until_unix_ms=body.until_unix_ms)
        return controls.describe_traffic(name)

    @app.get("/api/v1/services/{name}/shedding")
    async def shedding(name: str) -> dict[str, Any]:
        return controls.describe_shedding(name)

    @app.put("/api/v1/services/{name}/shedding", dependencies=changes)
    async def shed(name: str, body: Rate) -> dict[str, Any]:
        controls.shed(name, body.requests_per_s, expected=body.expectation, until_unix_ms=body.until_unix_ms)
        return controls.describe_shedding(name)
