"""
Carts, in NATS key-value: one key for each user, one JSON object of SKU to quantity.

Every write is conditional on the revision that it was computed from, so two requests that change one cart at once never
lose each other's change: the slower one is refused by the server, reads again and tries again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Annotated, NamedTuple

from fastapi import Path, Query
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field

from demo_services import streams
from demo_services.bus import Bus, bus_errors
from demo_services.errors import ConflictError, NotFoundError, TemporaryError
from demo_services.products import SKU_PATTERN
from demo_services.service import Service
from demo_services.settings import Settings

HIGHEST_QUANTITY = 100
MOST_LINES = 50
ATTEMPTS = 12  # with the jitter below, enough for dozens of writers of one cart
RETRY_JITTER_S = 0.02  # a conditional write takes about 1 ms

User = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="becomes a key on the bus")]
Sku = Annotated[str, Path(pattern=SKU_PATTERN)]
Items = dict[str, int]


class Quantity(BaseModel):
    model_config = ConfigDict(extra="forbid")

    quantity: int = Field(ge=1, le=HIGHEST_QUANTITY)


class CartItem(Quantity):
    sku: str


class CartView(BaseModel):
    user: str
    items: list[CartItem]
    revision: int = Field(description="0 if the cart has never been written; give it to empty what you have seen")


class StoredCart(NamedTuple):
    items: Items
    revision: int  # 0: no such key


class CartStore:
    def __init__(self, bus: Bus, *, on_conflict: Callable[[], object] = lambda: None) -> None:
        self._bus = bus
        self._on_conflict = on_conflict

    async def get(self, user: str) -> StoredCart:
        bucket = await self._bus.bucket(streams.CARTS_BUCKET)
        try:
            with bus_errors():
                entry = await bucket.get(user)
        except KeyNotFoundError as error:  # never written, or deleted: then the marker's revision counts
            return StoredCart({}, error.entry.revision or 0 if error.entry else 0)
        return StoredCart(json.loads(entry.value or b"{}"), entry.revision or 0)

    async def change(self, user: str, change: Callable[[Items], Items]) -> StoredCart:
        """
        Replace a cart by `change(cart)`, which may be called several times.

        Raises:
            TemporaryError: too many others write this cart.
            BusUnavailableError: the write may or may not have happened.
        """
        bucket = await self._bus.bucket(streams.CARTS_BUCKET)
        for attempt in range(ATTEMPTS):
            before = await self.get(user)
            items = change(dict(before.items))
            if items == before.items:
                return before
            try:
                with bus_errors():
                    return StoredCart(items, await bucket.update(user, json.dumps(items).encode(), before.revision))
            except KeyWrongLastSequenceError:
                self._on_conflict()
                await asyncio.sleep(random.uniform(0, RETRY_JITTER_S * (attempt + 1)))
        raise TemporaryError(f"the cart of {user!r} was changed by others {ATTEMPTS} times in a row")

    async def empty(self, user: str, revision: int | None) -> StoredCart:
        """
        Raises:
            ConflictError: the cart is not at `revision` any more.
        """
        if revision is None:
            return await self.change(user, lambda _items: {})
        bucket = await self._bus.bucket(streams.CARTS_BUCKET)
        try:
            with bus_errors():
                return StoredCart({}, await bucket.update(user, b"{}", revision))
        except KeyWrongLastSequenceError:
            raise ConflictError(f"the cart of {user!r} has changed since revision {revision}") from None


def build(settings: Settings) -> Service:
    service = Service(settings, title="Cart", description="What a shopper is about to buy.")
    conflicts = Counter("shop_cart_conflicts", "Conditional writes that came too late", registry=service.registry)
    carts = CartStore(service.bus, on_conflict=conflicts.inc)
    app = service.app

    @app.get("/carts/{user}", tags=["carts"])
    async def get_cart(user: User) -> CartView:
        """A user who has no cart has an empty one."""
        return _view(user, await carts.get(user))

    @app.delete("/carts/{user}", tags=["carts"])
    async def empty_cart(user: User, revision: Annotated[int | None, Query(ge=0)] = None) -> CartView:
        """With `revision`, only if nobody has changed the cart since; 409 otherwise."""
        return _view(user, await carts.empty(user, revision))

    @app.get("/carts/{user}/items/{sku}", tags=["carts"])
    async def get_item(user: User, sku: Sku) -> CartItem:
        stored = await carts.get(user)
        if sku not in stored.items:
            raise NotFoundError(f"no {sku} in the cart of {user!r}")
        return CartItem(sku=sku, quantity=stored.items[sku])

    @app.put("/carts/{user}/items/{sku}", tags=["carts"])
    async def put_item(user: User, sku: Sku, body: Quantity) -> CartView:
        """Set the quantity; putting twice is putting once."""

        def change(items: Items) -> Items:
            if sku not in items and len(items) >= MOST_LINES:
                raise ConflictError(f"the cart of {user!r} has {len(items)} lines, {MOST_LINES} is the limit")
            return items | {sku: body.quantity}

        return _view(user, await carts.change(user, change))

    @app.delete("/carts/{user}/items/{sku}", tags=["carts"])
    async def delete_item(user: User, sku: Sku) -> CartView:
        """Removing what is not there is no error."""
        return _view(
            user,
            await carts.change(user, lambda items: {key: count for key, count in items.items() if key != sku}),
        )

    return service


def _view(user: str, stored: StoredCart) -> CartView:
    items = [CartItem(sku=sku, quantity=quantity) for sku, quantity in sorted(stored.items.items())]
    return CartView(user=user, items=items, revision=stored.revision)


if __name__ == "__main__":
    from demo_services.replica import run

    run("cart", build)
