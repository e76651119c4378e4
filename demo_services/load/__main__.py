"""`python -m demo_services.load`: Locust with our arrivals, started by itself."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
from pathlib import Path

import gevent
import locust  # replaces the blocking calls of the standard library
from gevent.event import Event
from locust import User, constant, task
from locust.env import Environment
from locust.stats import stats_history

from demo_services.load.arrivals import PoissonArrivals
from demo_services.load.generator import Generator, LocustClient
from demo_services.load.journeys import Journeys
from demo_services.load.rates import RateBook
from demo_services.load.web import add_routes
from steersman.runtime.tokens import read_token

DEFAULT_RATES = '{"browse": 8, "recommend": 1, "cart": 1, "buy": 1}'
STOP_S = 3.0  # for requests in flight, once told to stop


def main() -> int:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    target = os.environ.get("LOAD_TARGET", "http://127.0.0.1:8080").rstrip("/")
    token = read_token(Path(os.environ["LOAD_TOKEN_FILE"]))
    book = RateBook(json.loads(os.environ.get("LOAD_RATES") or DEFAULT_RATES))
    chance = random.Random()

    environment = Environment(host=target, catch_exceptions=True)
    client = LocustClient(environment, target)
    generator = Generator(book, PoissonArrivals(chance), Journeys(client, random=chance, sleep=gevent.sleep))

    class OpenLoad(User):
        """The one user that Locust starts and stops; it sends the arrivals of all shoppers."""

        fixed_count = 1
        wait_time = constant(0)

        @task
        def send_arrivals(self) -> None:
            generator.run()

    environment.user_classes = [OpenLoad]
    runner = environment.create_local_runner()
    web = environment.create_web_ui(
        os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8089")), delayed_start=True
    )
    if web.app is None:
        raise RuntimeError("Locust made no web application")
    add_routes(web.app, generator, token=token, is_ready=lambda: generator.is_running)
    web.start()  # type: ignore[no-untyped-call]
    gevent.spawn(stats_history, runner)
    runner.start(1, spawn_rate=1)

    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopping.set)
    gevent.wait([stopping, web.greenlet], count=1)
    runner.quit()
    with gevent.Timeout(STOP_S, False):
        while generator.in_flight:
            gevent.sleep(0.05)
    web.stop()  # type: ignore[no-untyped-call]
    return 0 if stopping.is_set() else 1


if __name__ == "__main__":
    logging.getLogger("locust").info("Locust %s", locust.__version__)
    raise SystemExit(main())
