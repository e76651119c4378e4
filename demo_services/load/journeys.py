"""What one arrival does: browse, look at a recommendation, fill a cart, or buy."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from demo_services.products import all_products

DEADLINE_S = 15.0  # of a whole journey: nobody waits longer
ORDER_ATTEMPTS = 4
ORDER_RETRY_S = 0.3  # doubled each time, with jitter: longer than the gateway takes to come back
_SKUS = [product.sku for product in all_products()]


class Client(Protocol):
    def request(
        self, method: str, path: str, *, name: str, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> int:
        """The status of the answer, 0 if there was none. Counted in the statistics as `name`."""


class Journeys:
    def __init__(
        self,
        client: Client,
        *,
        random: random.Random,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._random = random
        self._sleep = sleep
        self._clock = clock

    def run(self, kind: str) -> None:
        {"browse": self.browse, "recommend": self.recommend, "cart": self.cart, "buy": self.buy}[kind]()

    def browse(self) -> None:
        """One request to catalog, always: drills compute their load from it."""
        self._client.request("GET", f"/catalog/products/{self._sku()}", name="browse: product")

    def recommend(self) -> None:
        sku = self._sku()
        self._client.request("GET", f"/recommendation/recommendations/{sku}", name="recommend: list")
        click = {"user": self._user(), "sku": self._sku(), "seen_with": sku}
        self._client.request("POST", "/recommendation/clicks", json=click, name="recommend: click")

    def cart(self) -> None:
        self._put_item(self._user(), self._sku(), "cart: put item")

    def buy(self) -> None:
        """Repeats the order with the same key until it knows the answer, as a careful customer's client does."""
        deadline = self._clock() + DEADLINE_S
        user = self._user()
        statuses = [
            self._put_item(user, sku, "buy: put item") for sku in self._random.sample(_SKUS, self._random.randint(1, 3))
        ]
        if not any(status == 200 for status in statuses):
            return
        headers = {"Idempotency-Key": uuid.UUID(int=self._random.getrandbits(128), version=4).hex}
        for attempt in range(ORDER_ATTEMPTS):
            status = self._client.request(
                "POST", "/checkout/orders", json={"user": user}, headers=headers, name="buy: place order"
            )
            if 0 < status < 500:
                return
            wait_s = ORDER_RETRY_S * 2**attempt * self._random.uniform(0.5, 1.5)
            if self._clock() + wait_s > deadline:
                return
            self._sleep(wait_s)

    def _put_item(self, user: str, sku: str, name: str) -> int:
        quantity = {"quantity": self._random.randint(1, 3)}
        return self._client.request("PUT", f"/cart/carts/{user}/items/{sku}", json=quantity, name=name)

    def _sku(self) -> str:
        return self._random.choice(_SKUS)

    def _user(self) -> str:
        return f"shopper-{self._random.getrandbits(48):012x}"
