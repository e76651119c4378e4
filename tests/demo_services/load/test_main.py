"""The load generator as a process, against a shop that only counts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

TOKEN = "load-token-made-up-for-tests"


class CountingShop(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen[self.path.split("/")[1]] += 1  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_PUT = do_POST = _answer  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def shop() -> Iterator[CountingShop]:
    with CountingShop() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def load(shop: CountingShop, tmp_path_factory: pytest.TempPathFactory, request) -> Iterator[httpx.Client]:
    token_file: Path = tmp_path_factory.mktemp("load") / "load.token"
    token_file.write_text(TOKEN)
    port = _free_port()
    environment = os.environ | {
        "PORT": str(port),
        "LOAD_TARGET": f"http://127.0.0.1:{shop.server_address[1]}",
        "LOAD_TOKEN_FILE": str(token_file),
        "LOAD_RATES": '{"browse": 10, "recommend": 0, "cart": 0, "buy": 0}',
    }
    process = subprocess.Popen([sys.executable, "-m", "demo_services.load"], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5, trust_env=False) as client:
            until(lambda: client.get("/-/ready").status_code == 200)
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(check, patience_s: float = 15.0) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if check():
                return
        time.sleep(0.02)
    pytest.fail(f"did not happen within {patience_s:g} s")


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_it_starts_by_itself_at_the_rate_that_it_was_given(load: httpx.Client, shop: CountingShop) -> None:
    until(lambda: shop.seen["catalog"] >= 3)
    status = load.get("/rate").json()
    assert (status["browse"], status["buy"], status["running"], status["dropped_total"]) == (10, 0, True, 0)


def test_a_changed_rate_is_what_the_shop_sees_and_ends_by_itself(load: httpx.Client, shop: CountingShop) -> None:
    answer = load.put("/rate", json={"browse": 100, "ttl_s": 3}, headers=bearer())
    assert answer.json()["browse"] == 100
    started, before = time.monotonic(), shop.seen["catalog"]
    until(lambda: time.monotonic() - started > 2.5)
    rate = (shop.seen["catalog"] - before) / (time.monotonic() - started)
    assert rate == pytest.approx(100, rel=0.25)  # three standard deviations of 250 arrivals are 19 %
    until(lambda: load.get("/rate").json()["browse"] == 10)
    stats = load.get("/stats/requests").json()
    assert stats["state"] == "running"
    assert any(entry["name"] == "browse: product" and entry["num_failures"] == 0 for entry in stats["stats"])


def test_changing_asks_for_the_token_and_looking_does_not(load: httpx.Client) -> None:
    for path in ("/", "/rate", "/stats/requests", "/-/healthy", "/token"):
        assert load.get(path).status_code == 200, path
    for headers in ({}, bearer("wrong")):
        assert load.put("/rate", json={"browse": 1}, headers=headers).status_code == 401
        for path in ("/swarm", "/stop", "/stats/reset", "/user"):
            assert load.post(path, headers=headers).status_code == 401, path
    assert load.get("/stop").status_code == 405
    assert load.get("/stats/reset").status_code == 405
    assert load.get("/rate").json()["browse"] == 10


def test_a_browser_logs_in_with_the_token(load: httpx.Client) -> None:
    assert load.post("/token", data={"token": "wrong"}).status_code == 401
    answer = load.post("/token", data={"token": TOKEN})
    assert answer.status_code == 302
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert TOKEN not in answer.headers["set-cookie"]
    assert load.post("/stats/reset").status_code == 200  # with the cookie
    load.cookies.clear()


def test_bad_rates_are_refused(load: httpx.Client) -> None:
    for body in (b"", b"[]", b"{", b'{"browse": 501}', b'{"steal": 1}'):
        answer = load.put("/rate", content=body, headers=bearer())
        assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    assert load.put("/rate", content=b" " * 70_000, headers=bearer()).status_code == 413


def test_it_can_be_stopped_and_started_from_the_page(load: httpx.Client) -> None:
    assert load.post("/stop", headers=bearer()).status_code == 200
    until(lambda: load.get("/-/ready").status_code == 503)
    assert load.post("/swarm", data={"user_count": "7", "spawn_rate": "7"}, headers=bearer()).status_code == 200
    until(lambda: load.get("/-/ready").status_code == 200)
