"""Sends arrivals to the shop, each in a greenlet of its own, and counts their requests in Locust's statistics."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import gevent
from geventhttpclient.client import HTTPClientPool
from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment

from demo_services.load.arrivals import PoissonArrivals
from demo_services.load.journeys import Journeys
from demo_services.load.rates import RateBook

MOST_IN_FLIGHT = 600  # at 60 arrivals/s, ten seconds of answers outstanding: by then the shop is down, not slow
CONNECT_S = 2.0
ANSWER_S = 10.0  # more than the shop's queue timeout and its retries
LONGEST_SLEEP_S = 0.05  # how late a change of the rates may be noticed

_logger = logging.getLogger(__name__)


class LocustClient:
    """Requests through geventhttpclient over shared connections."""

    def __init__(self, environment: Environment, base_url: str) -> None:
        pool = HTTPClientPool(concurrency=MOST_IN_FLIGHT, connection_timeout=CONNECT_S, network_timeout=ANSWER_S)
        self._session = FastHttpSession(base_url, environment.events.request, user=None, client_pool=pool)

    def request(
        self, method: str, path: str, *, name: str, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> int:
        response = self._session.request(
            method, path, name=name, json=json, headers=dict(headers or {}), allow_redirects=True
        )
        return int(response.status_code or 0)


class Generator:
    def __init__(self, book: RateBook, arrivals: PoissonArrivals, journeys: Journeys) -> None:
        self.book = book
        self._arrivals = arrivals
        self._journeys = journeys
        self.in_flight = 0
        self.started_total = 0
        self.dropped_total = 0  # arrivals that found MOST_IN_FLIGHT under way
        self.is_running = False

    def run(self) -> None:
        """Send arrivals until this greenlet is killed. A second one beside it only waits: the rates are the rates."""
        while self.is_running:
            gevent.sleep(1)
        self.is_running = True
        try:
            self._arrivals.due({}, time.monotonic())  # what would have come while nothing ran did not come
            while True:
                now = time.monotonic()
                for kind in self._arrivals.due(self.book.current(now), now):
                    self._begin(kind)
                gevent.sleep(max(0.0, min(self._arrivals.next_at - time.monotonic(), LONGEST_SLEEP_S)))
        finally:
            self.is_running = False

    def _begin(self, kind: str) -> None:
        if self.in_flight >= MOST_IN_FLIGHT:
            self.dropped_total += 1
            return
        self.started_total += 1
        self.in_flight += 1
        gevent.spawn(self._travel, kind)

    def _travel(self, kind: str) -> None:
        try:
            self._journeys.run(kind)
        except Exception:
            _logger.exception("a journey of kind %s failed", kind)
        finally:
            self.in_flight -= 1

    def status(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            **self.book.current(now),
            "ttl_s": self.book.ends_in(now),
            "running": self.is_running,
            "in_flight": self.in_flight,
            "started_total": self.started_total,
            "dropped_total": self.dropped_total,
        }
