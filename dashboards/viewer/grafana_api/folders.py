"""Folders: flat, as Grafana's were before they could be nested."""

from __future__ import annotations

import zlib
from typing import Any

from fastapi import APIRouter, HTTPException

from dashboards.viewer.grafana_api.bodies import FolderBody
from dashboards.viewer.grafana_api.route import found
from dashboards.viewer.grafana_store import GrafanaStore
from dashboards.viewer.library import Library


def add_folders(router: APIRouter, library: Library, store: GrafanaStore, changes: list[Any]) -> None:
    @router.get("/folders")
    def folders() -> list[dict[str, Any]]:
        return store.documents("folder")

    @router.get("/folders/{uid}")
    def folder(uid: str) -> dict[str, Any]:
        return found(store.document("folder", uid), "folder not found")

    @router.get("/folders/id/{number}")
    def folder_by_number(number: int) -> dict[str, Any]:
        return found(store.document_by_id("folder", number), "folder not found")

    @router.post("/folders", dependencies=changes)
    def create_folder(body: FolderBody) -> dict[str, Any]:
        uid = body.uid or f"f{zlib.crc32(body.title.encode()):08x}"
        if store.document("folder", uid) is not None:
            raise HTTPException(409, "a folder with that UID already exists")
        return store.put("folder", uid, {"title": body.title, "version": 1})

    @router.put("/folders/{uid}", dependencies=changes)
    def update_folder(uid: str, body: FolderBody) -> dict[str, Any]:
        present = found(store.document("folder", uid), "folder not found")
        return store.put("folder", uid, {"title": body.title, "version": int(present.get("version", 1)) + 1})

    @router.delete("/folders/{uid}", dependencies=changes)
    def delete_folder(uid: str) -> dict[str, str]:
        """Its dashboards go to the general folder: nothing is lost with it."""
        found(store.document("folder", uid), "folder not found")
        for each in library.all():
            if store.placed(each.uid)[0] == uid:
                store.place(each.uid, "")
        store.remove("folder", uid)
        return {"message": "Folder deleted"}
