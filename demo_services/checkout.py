"""
Checkout: from a cart to a placed order.

Read the cart, begin the order, reserve its goods, charge for them, place the order, empty the cart. The worker is held
all the while. Every step is idempotent under ids that follow from the `Idempotency-Key`, so a request may die anywhere
and be repeated: the customer is charged once, and once the answer 201 has left, the order is in the database and its
event in the outbox of the same transaction.
"""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import Path, Response
from fastapi.responses import JSONResponse
from opentelemetry import trace
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import MetaData

from demo_services.database import Database
from demo_services.errors import (
    ConflictError,
    PaymentDeclinedError,
    PeerError,
    PeerUnavailableError,
    RejectedError,
    ShopError,
)
from demo_services.idempotency import IdempotencyKey
from demo_services.order_book import Order, OrderBook, order_id_for, same_user_or_refuse
from demo_services.orders import OrderLine
from demo_services.outbox import Outbox
from demo_services.peers import Peers
from demo_services.service import Service
from demo_services.settings import Settings
from demo_services.storage import attach_database
from steersman.runtime.http import error_response

_logger = logging.getLogger("demo_services.checkout")  # not __name__, which is __main__ in a replica


class OrderRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")


class OrderView(BaseModel):
    id: str
    user: str
    state: str
    lines: list[OrderLine]
    total_cents: int


class Checkout:
    def __init__(self, *, database: Database, book: OrderBook, outbox: Outbox, peers: Peers) -> None:
        self._database = database
        self._book = book
        self._outbox = outbox
        self._peers = peers

    async def order(self, key: str, user: str) -> Order:
        """
        The finished order of this key.

        Raises:
            ConflictError: the cart is empty; nothing was begun.
            ReusedKeyError: the key belongs to another user's order.
            PeerUnavailableError, DatabaseUnavailableError: not finished; repeat it with the same key.
        """
        order_id = order_id_for(key)
        trace.get_current_span().set_attribute("order.id", order_id)  # so that a customer's order leads to its trace
        order = await self._book.find(self._database, order_id) or await self._begin(order_id, user)
        same_user_or_refuse(order, user)
        if order.state == "begun":
            order = await self._finish(order)
        if order.state == "placed":
            await self._empty_cart(order)
        return order

    async def _begin(self, order_id: str, user: str) -> Order:
        answer = await self._peers.call("cart", "GET", f"/carts/{user}")
        _expect(answer.status_code, 200, "cart", answer.text)
        cart = answer.json()
        items = {item["sku"]: item["quantity"] for item in cart["items"]}
        if not items:
            twin = await self._book.find(self._database, order_id)
            if twin is not None:  # it has finished, and emptied the cart, since we looked
                return twin
            raise ConflictError(f"the cart of {user!r} is empty")
        return await self._book.begin(self._database, order_id, user=user, items=items, cart_revision=cart["revision"])

    async def _finish(self, order: Order) -> Order:
        try:
            lines, total_cents = await self._reserve(order)
            await self._charge(order, total_cents)
        except (ConflictError, PaymentDeclinedError) as refusal:
            rejected = await self._book.reject(self._database, order, refusal.status, str(refusal))
            await self._release(order)
            return rejected
        return await self._book.place(self._database, self._outbox, order, lines, total_cents)

    async def _reserve(self, order: Order) -> tuple[list[OrderLine], int]:
        items = [{"sku": sku, "quantity": quantity} for sku, quantity in sorted(order.items.items())]
        answer = await self._peers.call(
            "inventory", "POST", "/reservations", json={"order_id": order.id, "items": items}
        )
        if answer.status_code == ConflictError.status:
            raise ConflictError(answer.json()["error"])
        _expect(answer.status_code, 201, "inventory", answer.text)
        reservation = answer.json()
        return [OrderLine(**line) for line in reservation["lines"]], reservation["total_cents"]

    async def _charge(self, order: Order, amount_cents: int) -> None:
        answer = await self._peers.call(
            "payment",
            "POST",
            "/charges",
            json={"user": order.user, "order_id": order.id, "amount_cents": amount_cents},
            headers={"Idempotency-Key": f"order-{order.id}"},
        )
        if answer.status_code == PaymentDeclinedError.status:
            raise PaymentDeclinedError(answer.json()["error"])
        _expect(answer.status_code, 201, "payment", answer.text)

    async def _release(self, order: Order) -> None:
        """Best effort: a reservation that stays behind ends by itself."""
        try:
            await self._peers.call("inventory", "DELETE", f"/reservations/{order.id}")
        except ShopError as error:
            _logger.warning("the reservation of order %s is left to expire: %s", order.id, error)

    async def _empty_cart(self, order: Order) -> None:
        """Best effort, and only if the cart is still what was bought: an order must not fail for it."""
        try:
            await self._peers.call(
                "cart", "DELETE", f"/carts/{order.user}", params={"revision": str(order.cart_revision)}
            )
        except (PeerUnavailableError, PeerError) as error:
            _logger.warning("the cart of order %s is left as it is: %s", order.id, error)


def _expect(status: int, expected: int, peer: str, text: str) -> None:
    if status != expected:
        raise PeerError(f"{peer} answered {status} where {expected} was expected: {text[:200]}")


def build(settings: Settings) -> Service:
    service = Service(settings, title="Checkout", description="From a cart to a placed order.")
    metadata = MetaData()
    book = OrderBook(metadata)
    outbox = Outbox(metadata, service.bus)
    database = attach_database(service, metadata, [])
    peers = Peers(settings.mesh_url, before_call=service.before_call)
    checkout = Checkout(database=database, book=book, outbox=outbox, peers=peers)
    counted = Counter("shop_orders", "Orders asked for, by outcome", ["outcome"], registry=service.registry)
    for outcome in ("placed", "rejected", "failed"):
        counted.labels(outcome)  # so that a rate over them starts at 0, not at the first

    async def relay() -> None:
        await outbox.relay(database)

    service.background("outbox", relay)
    service.on_close(peers.close)

    @service.app.post("/orders", status_code=201, response_model=OrderView, tags=["orders"])
    async def place_order(body: OrderRequest, idempotency_key: IdempotencyKey) -> Response:
        """
        Buy what is in the cart. Repeating it with the same key gives the same answer and charges once.

        402 declined, 409 out of stock or an empty cart, 422 the key was used for another order, 502 and 503 not
        finished: repeat with the same key.
        """
        try:
            order = await checkout.order(idempotency_key, body.user)
        except RejectedError:
            counted.labels("rejected").inc()
            raise
        except ShopError:
            counted.labels("failed").inc()
            raise
        counted.labels(order.state).inc()
        if order.state == "rejected":
            return error_response(order.status, order.reason)
        _logger.info("order %s placed: %d lines, %d cents", order.id, len(order.lines), order.total_cents)
        return JSONResponse(_view(order).model_dump(), status_code=order.status)

    @service.app.get("/orders/{order_id}", tags=["orders"])
    async def get_order(order_id: Annotated[str, Path(min_length=1, max_length=64)]) -> OrderView:
        return _view(await book.get(database, order_id))

    return service


def _view(order: Order) -> OrderView:
    return OrderView(id=order.id, user=order.user, state=order.state, lines=order.lines, total_cents=order.total_cents)


if __name__ == "__main__":
    from demo_services.replica import run

    run("checkout", build)
