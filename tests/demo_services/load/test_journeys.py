from __future__ import annotations

import random

from demo_services.load.journeys import Journeys


class Recorder:
    def __init__(self, *order_statuses: int) -> None:
        self.requests: list[tuple[str, str, dict | None]] = []
        self._order_statuses = list(order_statuses)

    def request(self, method, path, *, name, json=None, headers=None) -> int:
        self.requests.append((method, path, headers))
        if path == "/checkout/orders":
            return self._order_statuses.pop(0) if self._order_statuses else 201
        return 200


def journeys(client: Recorder) -> tuple[Journeys, list[float]]:
    slept: list[float] = []
    return Journeys(client, random=random.Random(3), sleep=slept.append, clock=lambda: sum(slept)), slept


def test_one_browse_is_one_request_to_catalog() -> None:
    client = Recorder()
    journeys(client)[0].run("browse")
    ((method, path, _),) = client.requests
    assert (method, path.rpartition("/")[0]) == ("GET", "/catalog/products")


def test_an_order_is_repeated_with_its_key_until_the_answer_is_known() -> None:
    client = Recorder(0, 503, 201)
    travel, slept = journeys(client)
    travel.run("buy")
    keys = [headers["Idempotency-Key"] for _, path, headers in client.requests if path == "/checkout/orders"]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len(slept) == 2


def test_a_refused_order_is_not_repeated_and_a_broken_shop_is_given_up() -> None:
    refused, broken = Recorder(409), Recorder(*[0] * 20)
    for client in (refused, broken):
        journeys(client)[0].run("buy")
    orders = [sum(path == "/checkout/orders" for _, path, _ in client.requests) for client in (refused, broken)]
    assert orders == [1, 4]


def test_two_orders_have_two_keys() -> None:
    client = Recorder()
    travel, _ = journeys(client)
    travel.run("buy")
    travel.run("buy")
    keys = {headers["Idempotency-Key"] for _, path, headers in client.requests if path == "/checkout/orders"}
    assert len(keys) == 2
