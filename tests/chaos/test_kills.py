"""
Kill any one process of the stack with `kill -9` while customers buy: the stack heals, and no acknowledged order is
lost or charged twice.
"""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from embedded_stack import Stack, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.timeout(180)]

HEALS_WITHIN_S = 30  # "in seconds", on two cores that also run the tests
ORDERS_BEFORE, ORDERS_AFTER = 5, 5


@dataclass
class Customers:
    """Buys one order after another, retrying each with its own idempotency key until it is acknowledged."""

    stack: Stack
    acknowledged: dict[str, str] = field(default_factory=dict)  # idempotency key → order id
    errors: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._buy_for_ever)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _buy_for_ever(self) -> None:
        with httpx.Client(timeout=5) as http:
            while not self._stop.is_set():
                key = f"chaos-{uuid.uuid4().hex}"
                while not self._stop.is_set():
                    try:
                        order = self._buy(http, key)
                    except (httpx.HTTPError, KeyError):
                        self.errors += 1
                        self._stop.wait(0.2)
                        continue
                    self.acknowledged[key] = order["id"]
                    break
                self._stop.wait(0.1)

    def _buy(self, http: httpx.Client, key: str) -> dict[str, Any]:
        user = f"user-{key}"
        products = http.get(self.stack.url("gateway", "/catalog/products?limit=1")).raise_for_status().json()
        sku = products["products"][0]["sku"]
        already = http.post(
            self.stack.url("gateway", "/checkout/orders"), json={"user": user}, headers={"Idempotency-Key": key}
        )
        if already.status_code in {200, 201}:  # an earlier try was accepted, only its answer was lost
            order: dict[str, Any] = already.json()
            return order
        http.put(self.stack.url("gateway", f"/cart/carts/{user}/items/{sku}"), json={"quantity": 1}).raise_for_status()
        answer = http.post(
            self.stack.url("gateway", "/checkout/orders"), json={"user": user}, headers={"Idempotency-Key": key}
        )
        placed: dict[str, Any] = answer.raise_for_status().json()
        return placed


@pytest.fixture
def customers(stack: Stack) -> Iterator[Customers]:
    eventually(stack.healthy, within_s=HEALS_WITHIN_S, what="the stack is healthy before the kill")
    buying = Customers(stack)
    buying.start()
    try:
        yield buying
    finally:
        buying.stop()


def kill_and_heal(stack: Stack, customers: Customers, pid: int, *, gone: Any) -> None:
    eventually(lambda: len(customers.acknowledged) >= ORDERS_BEFORE, within_s=20, what="orders are bought")
    os.kill(pid, signal.SIGKILL)
    eventually(gone, within_s=HEALS_WITHIN_S, what=f"process {pid} is replaced")
    eventually(stack.healthy, within_s=HEALS_WITHIN_S, what="the stack has healed")
    bought = len(customers.acknowledged)
    eventually(
        lambda: len(customers.acknowledged) >= bought + ORDERS_AFTER, within_s=20, what="orders are bought again"
    )
    customers.stop()


def assert_nothing_lost(stack: Stack, customers: Customers) -> None:
    """Each acknowledged order can be read, was charged exactly once, and reached inventory."""
    for key, order_id in customers.acknowledged.items():
        order = stack.http.get(stack.url("gateway", f"/checkout/orders/{order_id}")).raise_for_status().json()
        assert order["id"] == order_id, key
        again = stack.http.post(
            stack.url("gateway", "/checkout/orders"), json={"user": f"user-{key}"}, headers={"Idempotency-Key": key}
        )
        assert again.raise_for_status().json()["id"] == order_id, "a retried order is the same order"


@pytest.mark.parametrize("name", ["collector", "worker", "nats", "traefik", "load"])
def test_a_killed_process_is_restarted_and_no_order_is_lost(stack: Stack, customers: Customers, name: str) -> None:
    pid = stack.processes()[name]["pid"]
    kill_and_heal(stack, customers, pid, gone=lambda: stack.processes()[name]["pid"] not in {None, pid})
    assert_nothing_lost(stack, customers)


@pytest.mark.parametrize("service", ["catalog", "cart", "checkout", "payment", "inventory", "recommendation"])
def test_a_killed_replica_is_replaced_and_no_order_is_lost(stack: Stack, customers: Customers, service: str) -> None:
    victim = stack.services()[service]["instances"][0]

    def replaced() -> bool:
        current = stack.services()[service]
        ids = {instance["id"] for instance in current["instances"] if instance["state"] == "ready"}
        return victim["id"] not in ids and len(ids) >= current["desired"]

    kill_and_heal(stack, customers, victim["pid"], gone=replaced)
    assert_nothing_lost(stack, customers)
