"""
Drills over HTTP, for whoever has a stack to show: which there are, what runs, reports, history; starting and stopping.

Reading is free; starting and stopping want the token `drills`. One drill at a time, whoever started it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from remediation.drills import definition, history, live, lock, page, report, score
from remediation.drills.errors import DefinitionError, DrillError, UnknownDrillError, UnknownReportError
from steersman.runtime.http import require_bearer

_RUN = re.compile(r"[a-z][a-z0-9-]{0,59}-\d{8}T\d{6}\.\d{3}Z")  # as `report` names runs; no path can hide in it
MAX_RUNS = 200


class Launcher(Protocol):
    """Who starts drills."""

    @property
    def running(self) -> str | None:
        """The name of the drill that it has started and that still runs."""
        ...

    def start(self, name: str) -> Awaitable[None]: ...

    def stop(self) -> None: ...


class StartRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    drill: str = Field(min_length=1, max_length=60)


def drills_router(launcher: Launcher, *, reports: Path, definitions: Path, token: str) -> APIRouter:
    """
    Args:
        reports: DATA_DIR/drills.
        definitions: The folder of the YAML files; a drill that is started is one of these.
    """
    router = APIRouter(prefix="/api/v1/drills")
    changes = [Depends(require_bearer(token))]
    starting = asyncio.Lock()  # two that ask at once do not both find that nothing runs

    @router.get("")
    def drills() -> dict[str, Any]:
        return {"drills": [_told(path) for path in definition.available(definitions)], "running": _holder(reports)}

    @router.get("/running")
    def running() -> dict[str, Any]:
        """`report` is null for the first moment of a run, and when nothing runs."""
        who = _holder(reports)
        told = live.read(reports / live.LIVE_FILE) if who else None
        return {"running": who, "started_here": launcher.running is not None, "report": told}

    @router.post("", status_code=202, dependencies=changes)
    async def start(body: StartRequest) -> dict[str, str]:
        try:
            if body.drill.endswith((".yaml", ".yml")):
                raise UnknownDrillError(f"a drill is started by its name, not by a path: {body.drill!r}")
            found = definition.find(body.drill, definitions)
        except UnknownDrillError as error:
            raise HTTPException(404, str(error)) from error
        except DefinitionError as error:
            raise HTTPException(422, str(error)) from error
        async with starting:
            if who := launcher.running or _holder(reports):
                raise HTTPException(409, f"a drill is running: {who}")
            await launcher.start(found.name)
        return {"drill": found.name}

    @router.delete("/running", status_code=202, dependencies=changes)
    async def stop() -> dict[str, str]:
        """It ends as a failure, after its rollback."""
        if (name := launcher.running) is None:
            who = _holder(reports)
            raise HTTPException(409, f"not started here: {who}; stop it where it was" if who else "no drill is running")
        launcher.stop()
        return {"drill": name}

    @router.get("/history")
    def past(last: Annotated[int, Query(ge=1, le=MAX_RUNS)] = 20) -> dict[str, Any]:
        try:
            return history.document(history.read(reports, definitions, None, last).resilience)
        except DrillError as error:
            raise HTTPException(422, str(error)) from error

    @router.get("/reports/{run}")
    def one(run: str) -> dict[str, Any]:
        found = _report(run, reports)
        return found.model_dump(mode="json") | {"score": round(score.of_run(found), 1)}

    @router.get("/reports/{run}/page", response_class=HTMLResponse)
    def as_page(run: str) -> str:
        return page.html(_report(run, reports))

    return router


def _report(run: str, reports: Path) -> report.Report:
    if not _RUN.fullmatch(run):
        raise HTTPException(404, f"a run is named NAME-TIMESTAMP, got {run[:80]!r}")
    try:
        return report.read(reports / f"{run}.json")
    except UnknownReportError as error:
        raise HTTPException(404, f"no report of {run}") from error


def _holder(reports: Path) -> str | None:
    return lock.holder(reports / lock.LOCK_FILE)


def _told(path: Path) -> dict[str, Any]:
    try:
        found = definition.load(path)
    except DefinitionError as error:
        return {"name": path.stem, "problem": str(error)}
    return {
        "name": found.name,
        "title": found.title,
        "description": " ".join(found.description.split()),
        "service": found.service,
        "timeout_s": found.timeout,
        "weight": found.weight,
    }
