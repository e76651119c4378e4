"""The scraper against real HTTP servers on free ports, into a real store."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge, Histogram, MetricsHandler

from collector.errors import TemporaryError
from collector.model.series import STALE_BITS
from collector.receivers.scrape import ScrapeManager
from collector.receivers.scrape_config import ScrapeConfig
from collector.receivers.scrape_loop import INLINE_BYTES

INTERVAL = "120ms"  # short, so that tests are; a scrape must fit into it on a busy machine


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  (what threads and a store do sets no event)
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited ten seconds for: {what}")


@contextlib.asynccontextmanager
async def running(manager: ScrapeManager) -> AsyncIterator[ScrapeManager]:
    task = asyncio.create_task(manager.run())
    try:
        yield manager
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Shop:
    """A real prometheus_client endpoint that can go away and come back on its port."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.gauge = Gauge("worker_pool_size", "Workers.", ["kind"], registry=self.registry)
        self.gauge.labels("a").set(4)
        self.port = 0
        self._server = None
        self.start()

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), MetricsHandler.factory(self.registry))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        # As start_http_server does it, but quicker to stop.
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def shop() -> Iterator[Shop]:
    endpoint = Shop()
    yield endpoint
    endpoint.stop()


class Answer:
    """An endpoint that answers what the test wants."""

    def __init__(self) -> None:
        self.status, self.kind, self.body, self.headers = 200, "text/plain; version=0.0.4", b"m 1\n", {}
        self.asked: list[dict[str, str]] = []
        self.hold = threading.Event()
        self.hold.set()
        answer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer.asked.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
                answer.hold.wait(5)
                with contextlib.suppress(OSError):
                    self.send_response(answer.status)
                    self.send_header("Content-Type", answer.kind)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def answer() -> Iterator[Answer]:
    endpoint = Answer()
    yield endpoint
    endpoint.stop()


def config(*addresses: str, **keys: object) -> ScrapeConfig:
    entry = {
        "job_name": "shop",
        "scrape_interval": INTERVAL,
        "static_configs": [{"targets": list(addresses), "labels": {"instance": "shop-1"}}],
    }
    return ScrapeConfig.model_validate(entry | keys)


async def test_a_real_endpoint_is_scraped_with_exemplars_and_metadata(shop, metric_store, query):
    histogram = Histogram("latency_seconds", "Latency.", registry=shop.registry)
    histogram.observe(0.3, {"trace_id": "ab" * 16})
    manager = ScrapeManager([config(shop.address)], metric_store, metadata=metric_store.set_metadata)
    async with running(manager):
        await until(lambda: len(next(iter(query.values("up").values()), [])) >= 3, "three scrapes")
        (target,) = manager.targets()
    assert set(query.values("up", job="shop", instance="shop-1").popitem()[1]) == {1.0}
    assert query.last("worker_pool_size", kind="a", instance="shop-1") == 4.0
    assert query.last("scrape_series_added") == 0.0
    assert query.last("scrape_samples_scraped") == query.last("scrape_samples_post_metric_relabeling") > 10
    ((labels, exemplars),) = metric_store.exemplars([], min_ms=0, max_ms=1 << 60)
    assert dict(labels)["le"] == "0.5"
    assert [dict(each.labels) for each in exemplars] == [{"trace_id": "ab" * 16}]
    assert ("worker_pool_size", "gauge", "Workers.") in [
        (entry.name, entry.kind, entry.help) for entry in metric_store.metadata()
    ]
    assert target["health"] == "up"
    assert target["lastError"] == ""
    assert target["labels"] == {"job": "shop", "instance": "shop-1"}
    assert target["scrapeUrl"] == f"http://{shop.address}/metrics"
    assert target["lastScrape"].startswith("20")
    assert manager.stats.loop_errors == 0


async def test_samples_of_a_target_stand_at_even_distances(shop, metric_store):
    async with running(ScrapeManager([config(shop.address, scrape_interval="100ms")], metric_store)) as manager:

        def gaps() -> set[int]:
            blocks = metric_store.select([], min_ms=0, max_ms=1 << 60)
            return {gap for block in blocks for gap in (block.timestamps_ms[1:] - block.timestamps_ms[:-1]).tolist()}

        await until(lambda: 100 in gaps(), "two scrapes in a row that were on time")
        assert manager.stats.loop_errors == 0


async def test_a_target_that_goes_away_is_down_and_comes_back(shop, metric_store, query):
    async with running(ScrapeManager([config(shop.address)], metric_store)) as manager:
        await until(lambda: query.last("worker_pool_size") == 4.0, "first scrape")
        shop.stop()
        await until(lambda: query.last("up") == 0.0, "down")
        assert query.bits("worker_pool_size")[-1] == STALE_BITS
        assert manager.targets()[0]["health"] == "down"
        assert shop.address in manager.targets()[0]["lastError"]
        shop.start()
        await until(lambda: query.last("up") == 1.0, "up again")
    assert query.last("worker_pool_size") == 4.0


async def test_a_series_that_vanishes_ends_while_the_others_go_on(shop, metric_store, query):
    shop.gauge.labels("b").set(1)
    async with running(ScrapeManager([config(shop.address)], metric_store)):
        await until(lambda: query.last("worker_pool_size", kind="b") == 1.0, "first scrape")
        shop.gauge.remove("b")
        await until(lambda: query.bits("worker_pool_size", kind="b")[-1] == STALE_BITS, "marker")
    assert query.bits("worker_pool_size", kind="b").count(STALE_BITS) == 1
    assert query.last("worker_pool_size", kind="a") == 4.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body": b"<html>no metrics</html>\n"}, "line 1: expected a metric name"),
        ({"body": b"\xff\xfe\x00garbage"}, "not UTF-8"),
        ({"body": b"".join(b'm{n="%d"} 1\n' % n for n in range(1000))}, "over the sample_limit of 100"),
        ({"body": b"# " + b"x" * 100_000 + b"\n"}, "over the body_size_limit of 50000 bytes"),
        (
            {"body": gzip.compress(b"# " + b"x" * 100_000), "headers": {"Content-Encoding": "gzip"}},
            "over the body_size_limit",
        ),
        ({"body": b"not gzip", "headers": {"Content-Encoding": "gzip"}}, "Error"),
        ({"kind": "text/html"}, "unsupported Content-Type 'text/html'"),
        ({"kind": "application/openmetrics-text; version=1.0.0"}, 'does not end with "# EOF"'),
        ({"status": 500}, "server returned HTTP status 500 Internal Server Error"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, "server returned HTTP status 302 Found"),
    ],
)
async def test_an_answer_that_is_unusable_is_a_failed_scrape_that_says_why(
    answer, metric_store, query, change, message
):
    limits = {"sample_limit": 100, "body_size_limit": 50_000, "follow_redirects": False}
    async with running(ScrapeManager([config(answer.address, **limits)], metric_store)) as manager:
        await until(lambda: query.last("up") == 1.0, "a good scrape first")
        for name, value in change.items():
            setattr(answer, name, value)
        await until(lambda: query.last("up") == 0.0, "the failed scrape")
        await until(lambda: message in manager.targets()[0]["lastError"], message)
        assert query.bits("m")[-1] == STALE_BITS
        answer.status, answer.kind, answer.body, answer.headers = 200, "text/plain", b"m 2\n", {}
        await until(lambda: query.last("m") == 2.0, "good again")
        assert manager.stats.loop_errors == 0


async def test_an_answer_that_takes_too_long_is_a_failed_scrape(answer, metric_store, query):
    answer.hold.clear()
    async with running(ScrapeManager([config(answer.address, scrape_timeout="40ms")], metric_store)) as manager:
        await until(lambda: query.last("up") == 0.0, "timeout")
        assert manager.targets()[0]["lastError"] == "no complete answer within 0.04 s"
        answer.hold.set()
        await until(lambda: query.last("up") == 1.0, "in time")


async def test_credentials_are_read_anew_at_each_scrape_and_openmetrics_is_preferred(answer, metric_store, tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    settings = config(answer.address, authorization={"credentials_file": str(token)}, params={"module": ["x y"]})
    async with running(ScrapeManager([settings], metric_store)):
        await until(lambda: answer.asked, "a scrape")
        token.write_text("second\n")
        await until(lambda: answer.asked[-1]["authorization"] == "Bearer second", "the new token")
    assert answer.asked[0]["authorization"] == "Bearer first"
    assert answer.asked[0]["path"] == "/metrics?module=x+y"
    assert answer.asked[0]["accept"].startswith(
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    )


def written(path: Path, address: str, **labels: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([{"targets": [address], "labels": labels}]))
    fresh.replace(path)


async def test_replicas_come_and_go_through_a_file_within_a_second(shop, answer, metric_store, query, tmp_path):
    path = tmp_path / "shop.json"
    written(path, shop.address, instance="shop-1")
    settings = config(static_configs=[], file_sd_configs=[{"files": [str(tmp_path / "*.json")]}])
    async with running(ScrapeManager([settings], metric_store)) as manager:
        await until(lambda: query.last("up", instance="shop-1") == 1.0, "the first")
        started = asyncio.get_running_loop().time()
        written(path, answer.address, instance="shop-2")
        await until(lambda: query.last("up", instance="shop-2") == 1.0, "the second")
        await until(lambda: query.bits("up", instance="shop-1")[-1] == STALE_BITS, "the end of the first")
        assert asyncio.get_running_loop().time() - started < 1.5
        assert [target["labels"]["instance"] for target in manager.targets()] == ["shop-2"]
    for name in ("worker_pool_size", "scrape_duration_seconds", "scrape_samples_scraped"):
        assert query.bits(name, instance="shop-1")[-1] == STALE_BITS


async def test_a_replica_that_moves_to_another_port_keeps_its_series(shop, answer, metric_store, query, tmp_path):
    path = tmp_path / "shop.json"
    written(path, shop.address, instance="shop-1")
    settings = config(static_configs=[], file_sd_configs=[{"files": [str(path)]}])
    async with running(ScrapeManager([settings], metric_store)):
        await until(lambda: query.last("worker_pool_size") == 4.0, "the first place")
        written(path, answer.address, instance="shop-1")
        await until(lambda: query.last("m") == 1.0, "the second place")
    assert STALE_BITS not in query.bits("up")
    assert query.bits("worker_pool_size")[-1] == STALE_BITS


async def test_a_stop_of_the_collector_ends_no_series(shop, metric_store, query):
    async with running(ScrapeManager([config(shop.address)], metric_store)):
        await until(lambda: query.last("up") == 1.0, "a scrape")
    assert STALE_BITS not in query.bits("up")


async def test_a_store_that_fails_does_not_stop_the_scraper(shop, failing_sink):
    sink = failing_sink(TemporaryError("the disk is full"))
    async with running(ScrapeManager([config(shop.address)], sink)) as manager:
        await until(lambda: manager.stats.store_errors >= 3, "three refused scrapes")
        assert manager.targets()[0]["lastError"] == "the disk is full"
        assert manager.stats.loop_errors == 0


async def test_targets_over_the_limit_are_all_down_and_say_so(shop, answer, metric_store, query):
    settings = config(target_limit=1, static_configs=[{"targets": [shop.address, answer.address]}])
    async with running(ScrapeManager([settings], metric_store)) as manager:
        await until(lambda: [target["health"] for target in manager.targets()] == ["down"] * 2, "both down")
        assert {target["lastError"] for target in manager.targets()} == {
            "target_limit exceeded (number of targets: 2, limit: 1)"
        }
    assert answer.asked == []


async def test_a_url_names_targets_and_what_it_cannot_answer_changes_nothing(shop, answer, metric_store, query):
    answer.kind = "application/json"
    answer.body = json.dumps([{"targets": [shop.address], "labels": {"zone": "a"}}]).encode()
    discovery = {"url": f"http://{answer.address}/targets", "refresh_interval": "200ms"}
    settings = config(static_configs=[], http_sd_configs=[discovery])
    async with running(ScrapeManager([settings], metric_store)) as manager:
        await until(lambda: query.last("up", zone="a") == 1.0, "the target")
        (target,) = manager.targets()
        assert target["discoveredLabels"]["__meta_url"] == discovery["url"]
        assert answer.asked[0]["x-prometheus-refresh-interval-seconds"] == "0.2"
        changed = settings.model_copy(update={"sample_limit": 1000})
        manager.prepare([changed])()

        def changed_over() -> bool:  # between the old pool and the new there is none
            return (pool := manager._pools.get("shop")) is not None and pool.config == changed

        await until(changed_over, "the other configuration")
        assert len(manager.targets()) == 1  # before the URL is asked again
        for body in (b"[{", b'{"targets": []}', b'[{"targets": 5}]'):
            answer.body = body
            before = len(answer.asked)
            await until(lambda before=before: len(answer.asked) > before + 1, "more questions")
            assert len(manager.targets()) == 1
        answer.body = b"[]"
        await until(lambda: query.bits("up")[-1] == STALE_BITS, "the end of the target")
        assert manager.targets() == []


async def test_a_name_stands_for_addresses(shop, metric_store, query):
    port = int(shop.address.rpartition(":")[2])
    names = {"names": ["localhost"], "type": "A", "port": port}
    settings = config(static_configs=[], dns_sd_configs=[names])
    async with running(ScrapeManager([settings], metric_store)) as manager:
        await until(lambda: query.last("up") == 1.0, "the target")
        assert manager.targets()[0]["discoveredLabels"]["__meta_dns_name"] == "localhost"
        assert manager.targets()[0]["scrapeUrl"] == f"http://{shop.address}/metrics"


async def test_a_page_that_is_parsed_in_a_thread_is_scraped_as_others_are(answer, metric_store, query):
    answer.body = b"".join(b'measured{n="%d",label="of some length"} %d\n' % (n, n) for n in range(9_000))
    assert len(answer.body) > INLINE_BYTES
    async with running(ScrapeManager([config(answer.address, scrape_interval="2s")], metric_store)) as manager:
        await until(lambda: query.last("scrape_samples_scraped") == 9_000.0, "the page")
        assert query.last("measured", n="8999") == 8_999.0
        assert manager.targets()[0]["lastError"] == ""


async def test_what_is_left_out_of_a_page_is_shown_though_the_target_is_up(answer, metric_store, query):
    answer.body = b"m 1\nm 2\n"
    async with running(ScrapeManager([config(answer.address)], metric_store)) as manager:
        await until(lambda: query.last("m") == 1.0, "the scrape")
        assert "left out: 1 samples" in manager.targets()[0]["lastError"]
        assert manager.targets()[0]["health"] == "up"


async def test_samples_that_the_store_refuses_are_named_and_the_others_are_kept(answer, metric_store, query):
    answer.body = b"now 1\nlong_ago 1 1000\n"
    async with running(ScrapeManager([config(answer.address)], metric_store)) as manager:
        await until(lambda: query.last("now") == 1.0, "the scrape")
        await until(lambda: "1 samples left out, too old sample" in manager.targets()[0]["lastError"], "the reason")
        assert "long_ago" in manager.targets()[0]["lastError"]
        assert manager.targets()[0]["health"] == "up"
    assert query.last("long_ago") is None


async def test_a_password_in_the_url_of_a_discovery_is_sent_and_never_told(shop, answer, metric_store, caplog):
    answer.kind = "application/json"
    answer.body = json.dumps([{"targets": [shop.address]}]).encode()
    discovery = {"url": f"http://me:hunter2@{answer.address}/targets", "refresh_interval": "200ms"}
    settings = config(static_configs=[], http_sd_configs=[discovery])
    async with running(ScrapeManager([settings], metric_store)) as manager:
        await until(lambda: manager.targets(), "the target")
        assert answer.asked[0]["authorization"] == f"Basic {base64.b64encode(b'me:hunter2').decode()}"
        assert "hunter2" not in json.dumps(manager.targets())
        answer.status = 500
        await until(lambda: "stay as they were" in caplog.text, "the failure")
    assert "hunter2" not in caplog.text
