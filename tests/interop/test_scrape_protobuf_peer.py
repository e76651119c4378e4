"""A page in protobuf, scraped by Debian's Prometheus and by the collector: the same floats and native histograms."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from alertmanager_server import require
from metric_pages import CONTENT_TYPE, page
from prometheus_process import PrometheusProcess, prometheus

from collector.model.series import Labels, Vector, labels_of
from collector.query.promql.engine import Engine
from collector.receivers.scrape import ScrapeManager
from collector.receivers.scrape_config import parse_scrape_configs
from collector.storage.metrics.store import MetricStore

pytestmark = pytest.mark.peer

NATIVE = ("native_seconds", "both_seconds", "fractions")
QUERIES = (
    '{job="shop", __name__!~"native_seconds|both_seconds|fractions|scrape_.*"}',
    *(f"histogram_{what}({name})" for name in NATIVE for what in ("count", "sum")),
    # Bounds of buckets, between which Prometheus 3 interpolates otherwise than 2 does.
    *(
        f"histogram_fraction({range_}, {name})"
        for name in NATIVE
        for range_ in ("-Inf, 1", "1, 4", "0.5, 2", "-4, -0.5")
    ),
    'count by (__name__) ({job="shop"})',
    "histogram_quantile(0.9, classic_seconds_bucket)",
)


@pytest.fixture
def target() -> Iterator[str]:
    body = page(time.time_ns() // 1_000_000)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Accept"].startswith("application/vnd.google.protobuf")
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def theirs(peer: PrometheusProcess, query: str) -> dict[Labels, str]:
    answer = peer.ask("/api/v1/query", {"query": query})["data"]["result"]
    return {labels_of(one["metric"]): f"{float(one['value'][1]):.9g}" for one in answer if "value" in one}


def ours(engine: Engine, query: str) -> dict[Labels, str]:
    answer = engine.instant(query, at_ms=time.time_ns() // 1_000_000)
    assert isinstance(answer, Vector)
    return {labels: f"{value:.9g}" for labels, value in zip(answer.labels, answer.values.tolist(), strict=True)}


async def test_both_read_the_same_of_a_page(tmp_path: Path, target: str) -> None:
    require("prometheus")
    job = {"job_name": "shop", "scrape_interval": "1s", "scrape_timeout": "1s"}
    job["static_configs"] = [{"targets": [target], "labels": {"instance": "shop-1"}}]  # type: ignore[assignment]
    (tmp_path / "peer").mkdir()
    store = MetricStore.open(tmp_path / "metrics", retention_s=3600)
    scrapes = ScrapeManager(parse_scrape_configs([job | {"scrape_native_histograms": True}], base=tmp_path), store)
    task = asyncio.create_task(scrapes.run())
    engine = Engine(store)
    try:
        with prometheus(tmp_path / "peer", {"scrape_configs": [job]}) as peer:
            async with asyncio.timeout(20):
                while not (theirs(peer, QUERIES[-1]) and ours(engine, QUERIES[-1])):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            for query in QUERIES:
                assert ours(engine, query) == theirs(peer, query), query
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        store.close()
