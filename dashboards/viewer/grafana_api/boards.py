"""Dashboards: found, read, saved, deleted."""

from __future__ import annotations

import zlib
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from dashboards.errors import DashboardError
from dashboards.viewer.grafana.dashboard import Dashboard
from dashboards.viewer.grafana_api.bodies import SaveBody
from dashboards.viewer.grafana_store import GrafanaStore
from dashboards.viewer.library import Library

HOME_UID = "steersman-fleet"  # what one begins with
MOST_HITS = 5000  # of one search; Grafana's own bound


def add_dashboards(router: APIRouter, library: Library, store: GrafanaStore, changes: list[Any]) -> None:
    @router.get("/dashboards/home")
    def home() -> dict[str, Any]:
        return dashboard(HOME_UID)

    @router.get("/dashboards/tags")
    def tags() -> list[dict[str, Any]]:
        counted = Counter(tag for each in library.all() for tag in each.tags)
        return [{"term": tag, "count": count} for tag, count in sorted(counted.items())]

    @router.get("/dashboards/uid/{uid}")
    def dashboard(uid: str) -> dict[str, Any]:
        board = library.get(uid)
        if board is None:
            raise HTTPException(404, "Dashboard not found")
        folder, saved = store.placed(uid)
        model = {**board.raw, "id": _number(uid), "uid": uid, "version": saved or 1}
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


def add_search(router: APIRouter, library: Library, store: GrafanaStore) -> None:
    @router.get("/search")
    def search(
        query: str = "",
        kind: Annotated[str, Query(alias="type")] = "",
        tag: Annotated[list[str] | None, Query()] = None,
        dashboard_uids: Annotated[list[str] | None, Query(alias="dashboardUIDs")] = None,
        folder_uids: Annotated[list[str] | None, Query(alias="folderUIDs")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_HITS)] = 1000,
        page: Annotated[int, Query(ge=1, le=1000)] = 1,
    ) -> list[dict[str, Any]]:
        folders = [_folder_hit(each) for each in store.documents("folder")]
        boards = [_hit(each, store) for each in library.all()]
        if dashboard_uids or folder_uids:
            boards = [
                hit
                for hit in boards
                if (not dashboard_uids or hit["uid"] in dashboard_uids)
                and (not folder_uids or hit["folderUid"] in folder_uids)
            ]
            folders = []
        chosen = {"dash-db": boards, "dash-folder": folders}.get(kind, [*folders, *boards])
        wanted = set(tag or [])
        hits = [hit for hit in chosen if query.lower() in str(hit["title"]).lower() and wanted <= set(hit["tags"])]
        return hits[(page - 1) * limit : page * limit]


def _folder_hit(folder: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": folder["id"],
        "uid": folder["uid"],
        "title": folder["title"],
        "type": "dash-folder",
        "tags": [],
        "url": "",
    }


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
