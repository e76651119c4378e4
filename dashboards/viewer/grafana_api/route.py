"""Errors as Grafana has them: `{"message": …}`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.responses import Response


class GrafanaRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                return JSONResponse({"message": f"bad request data: {where}: {first['msg']}"}, 400)
            except HTTPException as error:
                return JSONResponse({"message": str(error.detail)}, error.status_code, headers=error.headers)

        return handled


def found(document: dict[str, Any] | None, message: str) -> dict[str, Any]:
    if document is None:
        raise HTTPException(404, message)
    return document
