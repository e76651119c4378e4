"""Data sources. They are kept for who asks for them; the viewer itself asks the peers that it was started with."""

from __future__ import annotations

import zlib
from typing import Any

from fastapi import APIRouter, HTTPException

from dashboards.viewer.grafana_api.bodies import SourceBody
from dashboards.viewer.grafana_api.route import found
from dashboards.viewer.grafana_store import GrafanaStore


def add_sources(router: APIRouter, store: GrafanaStore, changes: list[Any]) -> None:
    @router.get("/datasources")
    def sources() -> list[dict[str, Any]]:
        return store.documents("datasource")

    @router.get("/datasources/uid/{uid}")
    def source(uid: str) -> dict[str, Any]:
        return found(store.document("datasource", uid), "Data source not found")

    @router.get("/datasources/name/{name}")
    def source_by_name(name: str) -> dict[str, Any]:
        named = next((each for each in store.documents("datasource") if each["name"] == name), None)
        return found(named, "Data source not found")

    @router.get("/datasources/id/{name}")
    def source_number(name: str) -> dict[str, int]:
        return {"id": source_by_name(name)["id"]}

    @router.get("/datasources/{number}")
    def source_by_number(number: int) -> dict[str, Any]:
        return found(store.document_by_id("datasource", number), "Data source not found")

    @router.post("/datasources", dependencies=changes)
    def create_source(body: SourceBody) -> dict[str, Any]:
        uid = body.uid or f"ds{zlib.crc32(body.name.encode()):08x}"
        if any(each["uid"] == uid or each["name"] == body.name for each in store.documents("datasource")):
            raise HTTPException(409, "data source with the same name already exists")
        kept = store.put("datasource", uid, {**body.model_dump(), "uid": uid})
        return {"id": kept["id"], "name": body.name, "message": "Datasource added", "datasource": kept}

    @router.put("/datasources/uid/{uid}", dependencies=changes)
    def update_source(uid: str, body: SourceBody) -> dict[str, Any]:
        found(store.document("datasource", uid), "Data source not found")
        kept = store.put("datasource", uid, {**body.model_dump(), "uid": uid})
        return {"id": kept["id"], "name": body.name, "message": "Datasource updated", "datasource": kept}

    @router.put("/datasources/{number}", dependencies=changes)
    def update_source_by_id(number: int, body: SourceBody) -> dict[str, Any]:
        return update_source(source_by_number(number)["uid"], body)

    @router.delete("/datasources/uid/{uid}", dependencies=changes)
    def delete_source(uid: str) -> dict[str, str]:
        if not store.remove("datasource", uid):
            raise HTTPException(404, "Data source not found")
        return {"message": "Data source deleted"}

    @router.delete("/datasources/name/{name}", dependencies=changes)
    def delete_source_by_name(name: str) -> dict[str, str]:
        return delete_source(source_by_name(name)["uid"])

    @router.delete("/datasources/{number}", dependencies=changes)
    def delete_source_by_number(number: int) -> dict[str, str]:
        return delete_source(source_by_number(number)["uid"])
