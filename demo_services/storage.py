"""Giving a service its database: where the settings say, made and seeded in the background, closed at the end."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, Table

from demo_services.database import Database, sqlite_url
from demo_services.service import Service


def attach_database(service: Service, metadata: MetaData, seeds: list[tuple[Table, list[dict[str, Any]]]]) -> Database:
    """The service's database; the service is not ready before its tables and seeds are there."""
    settings = service.settings
    if settings.database_url is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    url = settings.database_url or sqlite_url(settings.data_dir / f"{settings.service}.sqlite")

    async def before_use() -> None:
        await service.before_call("database")

    database = Database(url, metadata, before_use=before_use)

    async def prepare() -> None:
        await database.prepare(seeds)

    service.background("database", prepare)
    service.ready_when("the database", database.prepared.is_set)
    service.on_close(database.close)
    return database
