"""The API as one router: what it says of itself, and its parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, Request

from dashboards.viewer.grafana_api.annotations import add_annotations
from dashboards.viewer.grafana_api.boards import add_dashboards, add_search
from dashboards.viewer.grafana_api.folders import add_folders
from dashboards.viewer.grafana_api.route import GrafanaRoute
from dashboards.viewer.grafana_api.sources import add_sources
from dashboards.viewer.grafana_store import GrafanaStore
from dashboards.viewer.library import Library

GRAFANA_VERSION = "12.1.1"  # whose API this follows


def grafana_router(
    library: Library, store: GrafanaStore, *, allowed: Callable[[Request], Awaitable[None]]
) -> APIRouter:
    """
    Args:
        allowed: Raises HTTPException for a request that may not change anything.
    """
    router = APIRouter(prefix="/api", route_class=GrafanaRoute)
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

    add_search(router, library, store)
    add_sources(router, store, changes)
    add_folders(router, library, store, changes)
    add_dashboards(router, library, store, changes)
    add_annotations(router, store, changes)
    return router
