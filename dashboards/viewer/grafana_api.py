"""
The part of Grafana's HTTP API that provisioning and annotating need, so that grafana-client works against the viewer.

Reading is as free as the pages are; changing wants the token, or the name and password of an operator. Errors have
Grafana's shape, `{"message": …}`.
Source: grafana.com/docs/grafana/latest/developers/http_api.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from dashboards.errors import DashboardError
from dashboards.viewer.grafana.dashboard import Dashboard
from dashboards.viewer.grafana_store import GrafanaStore
from dashboards.viewer.library import Library

GRAFANA_VERSION = "12.1.1"  # whose API this follows
Name = Annotated[str, Field(min_length=1, max_length=190)]
Uid = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,40}$")]
Text = Annotated[str, Field(max_length=10_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")


class SourceBody(BaseModel):
    model_config = ConfigDict(extra="allow")  # data sources have fields of their own

    name: Name
    type: Name
    uid: Uid | None = None
    url: str = Field(default="", max_length=2000)


class FolderBody(_Body):
    title: Name
    uid: Uid | None = None


class SaveBody(_Body):
    dashboard: dict[str, Any]
    folderUid: str = ""  # noqa: N815  (Grafana's name)
    overwrite: bool = False


class AnnotationBody(_Body):
    text: Text
    time: int | None = Field(default=None, ge=0, lt=1 << 53)
    timeEnd: int | None = Field(default=None, ge=0, lt=1 << 53)  # noqa: N815
    tags: list[Annotated[str, Field(max_length=100)]] = Field(default=[], max_length=50)
    dashboardUID: Annotated[str, Field(max_length=40)] | None = None  # noqa: N815
    panelId: int | None = None  # noqa: N815


class AnnotationChange(_Body):
    text: Text | None = None
    time: int | None = Field(default=None, ge=0, lt=1 << 53)
    timeEnd: int | None = Field(default=None, ge=0, lt=1 << 53)  # noqa: N815
    tags: list[Annotated[str, Field(max_length=100)]] | None = Field(default=None, max_length=50)


class _GrafanaRoute(APIRoute):
    """Errors as Grafana has them."""

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


def grafana_router(
    library: Library, store: GrafanaStore, *, allowed: Callable[[Request], Awaitable[None]]
) -> APIRouter:
    """
    Args:
        allowed: Raises HTTPException for a request that may not change anything.
    """
    router = APIRouter(prefix="/api", route_class=_GrafanaRoute)
    changes = [Depends(allowed)]

    @router.get("/health")
    def health() -> dict[str, str]:
        return {"database": "ok", "version": GRAFANA_VERSION, "commit": f"steersman-{version('steersman')}"}

    @router.get("/frontend/settings")
    def settings() -> dict[str, Any]:
        return {"buildInfo": {"version": GRAFANA_VERSION, "edition": "Steersman", "env": "production"}}

    @router.get("/org")
    def organisation() -> dict[str, Any]:
        return {"id": 1, "name": "Main Org."}

    @router.get("/search")
    def search(
        query: str = "",
        kind: Annotated[str, Query(alias="type")] = "",
        tag: Annotated[list[str] | None, Query()] = None,
        limit: int = 1000,
    ) -> list[dict[str, Any]]:
        folders = [
            {"id": each["id"], "uid": each["uid"], "title": each["title"], "type": "dash-folder", "tags": [], "url": ""}
            for each in store.documents("folder")
        ]
        boards = [_hit(each, store) for each in library.all()]
        chosen = {"dash-db": boards, "dash-folder": folders}.get(kind, [*folders, *boards])
        wanted = set(tag or [])
        hits = [hit for hit in chosen if query.lower() in str(hit["title"]).lower() and wanted <= set(hit["tags"])]
        return hits[: max(0, limit)]

    _add_sources(router, store, changes)
    _add_folders(router, library, store, changes)
    _add_dashboards(router, library, store, changes)
    _add_annotations(router, store, changes)
    return router


def _add_sources(router: APIRouter, store: GrafanaStore, changes: list[Any]) -> None:
    @router.get("/datasources")
    def sources() -> list[dict[str, Any]]:
        return store.documents("datasource")

    @router.get("/datasources/uid/{uid}")
    def source(uid: str) -> dict[str, Any]:
        return _found(store.document("datasource", uid), "Data source not found")

    @router.get("/datasources/name/{name}")
    def source_by_name(name: str) -> dict[str, Any]:
        named = next((each for each in store.documents("datasource") if each["name"] == name), None)
        return _found(named, "Data source not found")

    @router.post("/datasources", dependencies=changes)
    def create_source(body: SourceBody) -> dict[str, Any]:
        uid = body.uid or f"ds{zlib.crc32(body.name.encode()):08x}"
        if any(each["uid"] == uid or each["name"] == body.name for each in store.documents("datasource")):
            raise HTTPException(409, "data source with the same name already exists")
        kept = store.put("datasource", uid, {**body.model_dump(), "uid": uid})
        return {"id": kept["id"], "name": body.name, "message": "Datasource added", "datasource": kept}

    @router.put("/datasources/uid/{uid}", dependencies=changes)
    def update_source(uid: str, body: SourceBody) -> dict[str, Any]:
        _found(store.document("datasource", uid), "Data source not found")
        kept = store.put("datasource", uid, {**body.model_dump(), "uid": uid})
        return {"id": kept["id"], "name": body.name, "message": "Datasource updated", "datasource": kept}

    @router.put("/datasources/{number}", dependencies=changes)
    def update_source_by_id(number: int, body: SourceBody) -> dict[str, Any]:
        return update_source(_found(store.document_by_id("datasource", number), "Data source not found")["uid"], body)

    @router.delete("/datasources/uid/{uid}", dependencies=changes)
    def delete_source(uid: str) -> dict[str, str]:
        if not store.remove("datasource", uid):
            raise HTTPException(404, "Data source not found")
        return {"message": "Data source deleted"}


def _add_folders(router: APIRouter, library: Library, store: GrafanaStore, changes: list[Any]) -> None:
    @router.get("/folders")
    def folders() -> list[dict[str, Any]]:
        return store.documents("folder")

    @router.get("/folders/{uid}")
    def folder(uid: str) -> dict[str, Any]:
        return _found(store.document("folder", uid), "folder not found")

    @router.post("/folders", dependencies=changes)
    def create_folder(body: FolderBody) -> dict[str, Any]:
        uid = body.uid or f"f{zlib.crc32(body.title.encode()):08x}"
        if store.document("folder", uid) is not None:
            raise HTTPException(409, "a folder with that UID already exists")
        return store.put("folder", uid, {"title": body.title, "version": 1})

    @router.put("/folders/{uid}", dependencies=changes)
    def update_folder(uid: str, body: FolderBody) -> dict[str, Any]:
        present = _found(store.document("folder", uid), "folder not found")
        return store.put("folder", uid, {"title": body.title, "version": int(present.get("version", 1)) + 1})

    @router.delete("/folders/{uid}", dependencies=changes)
    def delete_folder(uid: str) -> dict[str, str]:
        """Its dashboards go to the general folder: nothing is lost with it."""
        _found(store.document("folder", uid), "folder not found")
        for each in library.all():
            if store.placed(each.uid)[0] == uid:
                store.place(each.uid, "")
        store.remove("folder", uid)
        return {"message": "Folder deleted"}


def _add_dashboards(router: APIRouter, library: Library, store: GrafanaStore, changes: list[Any]) -> None:
    @router.get("/dashboards/uid/{uid}")
    def dashboard(uid: str) -> dict[str, Any]:
        found = library.get(uid)
        if found is None:
            raise HTTPException(404, "Dashboard not found")
        folder, saved = store.placed(uid)
        model = {**found.raw, "id": _number(uid), "uid": uid, "version": saved or 1}
        meta = {
            "slug": uid,
            "url": f"/d/{uid}",
            "folderUid": folder,
            "version": saved or 1,
            "canSave": True,
            "type": "db",
        }
        return {"dashboard": model, "meta": meta}

    @router.post("/dashboards/db", dependencies=changes)
    def save(body: SaveBody) -> dict[str, Any]:
        if body.folderUid and store.document("folder", body.folderUid) is None:
            raise HTTPException(400, f"folder {body.folderUid[:60]!r} not found")
        uid = str(body.dashboard.get("uid") or "")
        _, saved = store.placed(uid)
        if uid and not body.overwrite and saved and body.dashboard.get("version") not in (None, saved):
            raise HTTPException(412, "The dashboard has been changed by someone else")
        try:
            kept = library.save({key: value for key, value in body.dashboard.items() if key not in ("id", "version")})
        except DashboardError as error:
            raise HTTPException(400, str(error)) from error
        number = store.place(kept.uid, body.folderUid)
        return {
            "status": "success",
            "id": _number(kept.uid),
            "uid": kept.uid,
            "url": f"/d/{kept.uid}",
            "version": number,
            "slug": kept.uid,
            "folderUid": body.folderUid,
        }

    @router.delete("/dashboards/uid/{uid}", dependencies=changes)
    def delete(uid: str) -> dict[str, str]:
        """One that ships with Steersman comes back as it was shipped."""
        if not library.remove(uid):
            raise HTTPException(404, "Dashboard not found")
        return {"title": uid, "message": f"Dashboard {uid} deleted"}


def _add_annotations(router: APIRouter, store: GrafanaStore, changes: list[Any]) -> None:
    @router.get("/annotations")
    def annotations(
        request: Request,
        tags: Annotated[list[str] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> list[dict[str, Any]]:
        now = int(time.time() * 1000)
        asked = request.query_params
        start, end = _milliseconds(asked.get("from"), 0), _milliseconds(asked.get("to"), now)
        return store.annotations(start, end, tags=tags or [], dashboard=asked.get("dashboardUID"), limit=limit)

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
        present = _found(store.annotation(number), "Annotation not found")
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


def _hit(dashboard: Dashboard, store: GrafanaStore) -> dict[str, Any]:
    folder = store.placed(dashboard.uid)[0]
    return {
        "id": _number(dashboard.uid),
        "uid": dashboard.uid,
        "title": dashboard.title,
        "type": "dash-db",
        "tags": list(dashboard.tags),
        "url": f"/d/{dashboard.uid}",
        "folderUid": folder,
    }


def _number(uid: str) -> int:
    """Grafana numbers dashboards; ours have names, and a number that follows from the name."""
    return zlib.crc32(uid.encode()) & 0x7FFFFFFF


def _milliseconds(text: str | None, default: int) -> int:
    if text is None or text == "":
        return default
    if not text.isdecimal() or len(text) > 16:
        raise HTTPException(400, f"times are Unix milliseconds, got {text[:60]!r}")
    return int(text)


def _found(document: dict[str, Any] | None, message: str) -> dict[str, Any]:
    if document is None:
        raise HTTPException(404, message)
    return document
