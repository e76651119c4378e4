"""Annotations: what the worker and the drills write, and what people write beside it."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request

from dashboards.viewer.grafana_api.bodies import AnnotationBody, AnnotationChange
from dashboards.viewer.grafana_api.route import found
from dashboards.viewer.grafana_store import GrafanaStore


def add_annotations(router: APIRouter, store: GrafanaStore, changes: list[Any]) -> None:
    @router.get("/annotations")
    def annotations(
        request: Request,
        tags: Annotated[list[str] | None, Query()] = None,
        panel: Annotated[int | None, Query(alias="panelId")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> list[dict[str, Any]]:
        now = int(time.time() * 1000)
        asked = request.query_params
        start, end = _milliseconds(asked.get("from"), 0), _milliseconds(asked.get("to"), now)
        board = asked.get("dashboardUID")
        return store.annotations(start, end, tags=tags or [], dashboard=board, panel=panel, limit=limit)

    @router.post("/annotations", dependencies=changes)
    def annotate(body: AnnotationBody) -> dict[str, Any]:
        at = int(time.time() * 1000) if body.time is None else body.time
        end = at if body.timeEnd is None else body.timeEnd
        if end < at:
            raise HTTPException(400, f"timeEnd {end} is before time {at}")
        number = store.annotate(
            time_ms=at,
            end_ms=end,
            text=body.text,
            tags=body.tags,
            dashboard=body.dashboardUID or "",
            panel=body.panelId or 0,
        )
        return {"message": "Annotation added", "id": number}

    @router.put("/annotations/{number}", dependencies=changes)
    @router.patch("/annotations/{number}", dependencies=changes)
    def change(number: int, body: AnnotationChange) -> dict[str, str]:
        present = found(store.annotation(number), "Annotation not found")
        start = present["time"] if body.time is None else body.time
        end = max(start, present["timeEnd"] if body.timeEnd is None else body.timeEnd)
        store.change_annotation(
            number,
            time_ms=start,
            end_ms=end,
            text=present["text"] if body.text is None else body.text,
            tags=present["tags"] if body.tags is None else body.tags,
        )
        return {"message": "Annotation updated"}

    @router.delete("/annotations/{number}", dependencies=changes)
    def delete(number: int) -> dict[str, str]:
        if not store.remove_annotation(number):
            raise HTTPException(404, "Annotation not found")
        return {"message": "Annotation deleted"}


def _milliseconds(text: str | None, default: int) -> int:
    if text is None or text == "":
        return default
    if not text.isdecimal() or len(text) > 16:
        raise HTTPException(400, f"times are Unix milliseconds, got {text[:60]!r}")
    return int(text)
