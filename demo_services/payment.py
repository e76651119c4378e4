"""Payment: charges, once for each idempotency key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Path
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Column, Float, Integer, MetaData, String, Table, select

from demo_services.errors import NotFoundError, PaymentDeclinedError, ReusedKeyError
from demo_services.idempotency import IdempotencyKey
from demo_services.service import Service
from demo_services.settings import Settings
from demo_services.storage import attach_database

CREDIT_LIMIT_CENTS = 5_000_000  # a charge above it is declined, so that there is a way to be declined
HIGHEST_AMOUNT_CENTS = 10**9

metadata = MetaData()
charges = Table(
    "charges",
    metadata,
    Column("key", String(128), primary_key=True),
    Column("user", String(64), nullable=False),
    Column("order_id", String(64), nullable=False),
    Column("amount_cents", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at_unix_s", Float, nullable=False),
)


class ChargeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    order_id: str = Field(min_length=1, max_length=64)
    amount_cents: int = Field(ge=1, le=HIGHEST_AMOUNT_CENTS)


class ChargeView(ChargeRequest):
    key: str
    state: Literal["charged", "declined"]


def build(settings: Settings) -> Service:
    service = Service(settings, title="Payment", description="Charges, once for each idempotency key.")
    database = attach_database(service, metadata, [])
    counted = Counter("shop_charges", "Charges, by outcome", ["outcome"], registry=service.registry)

    @service.app.post("/charges", status_code=201, tags=["charges"])
    async def charge(body: ChargeRequest, idempotency_key: IdempotencyKey) -> ChargeView:
        """402 if it is declined, 422 if the key was used for another charge."""
        state = "charged" if body.amount_cents <= CREDIT_LIMIT_CENTS else "declined"
        wanted = body.model_dump() | {"key": idempotency_key, "state": state}
        async with database.write() as connection:
            added = await connection.execute(
                database.insert_ignoring(charges).values(**wanted, created_at_unix_s=time.time())
            )
            row = await connection.execute(select(charges).where(charges.c.key == idempotency_key))
            stored = _view(row.mappings().one())
        if stored.model_dump() != wanted:
            raise ReusedKeyError(f"idempotency key {idempotency_key!r} was used for another charge")
        counted.labels(state if added.rowcount else "repeated").inc()
        if state == "declined":
            raise PaymentDeclinedError(f"{body.amount_cents} cents are over the limit of {CREDIT_LIMIT_CENTS}")
        return stored

    @service.app.get("/charges/{key}", tags=["charges"])
    async def get_charge(key: Annotated[str, Path(min_length=1, max_length=128)]) -> ChargeView:
        async with database.read() as connection:
            row = (await connection.execute(select(charges).where(charges.c.key == key))).mappings().first()
        if row is None:
            raise NotFoundError(f"no charge {key!r}")
        return _view(row)

    return service


def _view(row: Mapping[Any, Any]) -> ChargeView:
    return ChargeView(**{name: row[name] for name in ChargeView.model_fields})


if __name__ == "__main__":
    from demo_services.replica import run

    run("payment", build)
