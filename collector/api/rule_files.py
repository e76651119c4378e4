"""
Rule files over HTTP, for an editor: `/api/v1/rule-files`, `/content`, `/check`, `/test`, `/backtest`.

Reading is free, as /api/v1/rules is; trying costs time and saving changes what alerts, so both want the collector's
token. Ours alone: Prometheus has nothing like it.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from collector.errors import BadRequestError, CollectorError, TemporaryError
from collector.rules.rule_files import MAX_TEXT_BYTES, ConflictError, ProblemsError, RuleFiles
from steersman.runtime.http import error_response, require_bearer

TIMEOUT_S = 60.0  # of one thing that is tried; a backtest of a day takes seconds
MAX_PATH = 4096
_MAX_MS = 1 << 53

Text = Annotated[str, Field(max_length=MAX_TEXT_BYTES)]
File = Annotated[str, Field(min_length=1, max_length=MAX_PATH)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    file: File
    text: Text


class TestBody(_Body):
    __test__ = False  # pytest takes it for a test

    tests: Text


class BacktestBody(_Body):
    from_unix_ms: int = Field(ge=0, le=_MAX_MS)
    to_unix_ms: int = Field(ge=0, le=_MAX_MS)
    alert: str = Field(default="", max_length=1000)


class SaveBody(_Body):
    version: str = Field(max_length=64)


def rule_files_router(files: RuleFiles, *, token: str) -> APIRouter:
    router = APIRouter(prefix="/api/v1/rule-files")
    acts = [Depends(require_bearer(token))]

    @router.get("")
    def listed() -> dict[str, Any]:
        return _success({"files": files.listed()})

    @router.get("/content")
    def content(file: Annotated[str, Query(max_length=MAX_PATH)]) -> dict[str, Any]:
        found = files.read(file)
        return _success({"file": file, "text": found.text, "version": found.version, "tests": found.tests})

    @router.post("/check", dependencies=acts)
    async def check(body: _Body) -> dict[str, Any]:
        return _success(await _within(files.check, body.text, body.file))

    @router.post("/test", dependencies=acts)
    async def test(body: TestBody) -> dict[str, Any]:
        return _success(await _within(files.test, body.text, body.tests, body.file))

    @router.post("/backtest", dependencies=acts)
    async def backtest(body: BacktestBody) -> dict[str, Any]:
        def replay() -> dict[str, Any]:
            return files.backtest(
                body.text, body.file, from_ms=body.from_unix_ms, to_ms=body.to_unix_ms, name=body.alert
            )

        return _success(await _within(replay))

    @router.put("/content", dependencies=acts, response_model=None)
    async def save(body: SaveBody) -> dict[str, Any] | JSONResponse:
        try:
            version = await files.save(body.text, body.file, version=body.version)
        except ConflictError as error:
            return error_response(409, str(error))
        except ProblemsError as error:
            shown = {"status": "error", "errorType": "bad_data", "error": str(error), "problems": error.problems}
            return JSONResponse(shown, 400)
        return _success({"file": body.file, "version": version})

    return router


async def _within(do: Any, *arguments: Any) -> Any:
    """In a thread, for these ask our own API; a thread cannot be stopped, but who waits for it can give up."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(do, *arguments), TIMEOUT_S)
    except TimeoutError as error:
        raise TemporaryError(f"it takes longer than the limit of {TIMEOUT_S:g} s") from error
    except (BadRequestError, TemporaryError):
        raise
    except CollectorError as error:  # the text, or what it asks for, cannot be used
        raise BadRequestError(str(error)) from error


def _success(data: Any) -> dict[str, Any]:
    return {"status": "success", "data": data}
