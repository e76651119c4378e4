"""
The same targets, scraped by Debian's Prometheus and by the collector under the same configuration file: the same
series, values, exemplars and reports, of good pages and of bad ones.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest

from collector.config import load
from collector.model.series import ABSENT_BITS, STALE_BITS, Labels, labels_of
from collector.receivers.scrape import ScrapeManager
from collector.storage.metrics.store import MetricStore

pytestmark = pytest.mark.peer

TEXT = r"""# HELP shop_orders_total Orders, with \\ and a
# TYPE shop_orders_total counter
shop_orders_total{outcome="paid",Region="North",job="own",debug_a="1",debug_b="2"} 1027
shop_orders_total{outcome="refused",Region="South",tmp_pod="p-1",tmp_node="n-1"} 3
shop_orders_total{outcome="lost",path="C:\\DIR\nx\"y"} 1e-9
# TYPE go_threads gauge
go_threads 12
go_goroutines 7
dropped_by_name 1
same{one="x",other="x"} 1
same{one="x",other="same;x"} 1
same{one="x",other="y"} 2
odd{kind="nan"} NaN
odd{kind="inf"} +Inf
odd{kind="minus"} -Inf
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.5"} 4
latency_seconds_bucket{le="+Inf"} 5
latency_seconds_sum 2.5
latency_seconds_count 5
# TYPE rpc_seconds summary
rpc_seconds{quantile="0.5"} 4773
rpc_seconds_sum 1.7560473e+07
rpc_seconds_count 2693
"""
OPENMETRICS = """# TYPE requests counter
# HELP requests All of them.
requests_total{code="200"} 5.0 # {trace_id="abc",span_id="1"} 0.67 STAMP
requests_total{code="500"} 1.0
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_bucket{le="0.5"} 3 # {trace_id="def"} 0.3 STAMP
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_sum 2.25
wait_seconds_count 4
# TYPE build info
build_info{version="1"} 1
# EOF
"""
CONFIG = """
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: text
    static_configs: &here [{targets: ["ADDRESS"], labels: {zone: Z-1, __meta_rack: r7, __meta_row: w2}}]
    metrics_path: /text
    relabel_configs:
      - {source_labels: [zone], target_label: zone, action: lowercase}
      - {source_labels: [zone], target_label: ZONE, action: uppercase}
      - {regex: __meta_(.+), action: labelmap, replacement: "at_$1"}
      - {source_labels: [__address__, at_rack], target_label: shard, action: hashmod, modulus: 8}
      - {source_labels: [at_row], regex: w(.*), target_label: row, replacement: "row-${1}"}
      - {regex: at_row, action: labeldrop}
    metric_relabel_configs:
      - {source_labels: [__name__], regex: "dropped_.*", action: drop}
      - {source_labels: [__name__, outcome], regex: "go_threads;|shop.*;.+|[^sg].*|same.*", action: keep}
      - {source_labels: [__name__, one], target_label: other, action: dropequal}
      - {source_labels: [__name__], regex: "go_(.*)", target_label: __name__, replacement: "golang_$1"}
      - {regex: "tmp_(.*)", action: labelmap}
      - {regex: "(debug|tmp)_.*", action: labeldrop}
      - {source_labels: [Region], target_label: region, action: lowercase}
      - {source_labels: [exported_job], target_label: team, replacement: "team-$1", regex: "(.+)"}
      - {source_labels: [outcome], target_label: bucket_of, action: hashmod, modulus: 5}
  - job_name: kept
    static_configs: *here
    metrics_path: /text
    honor_labels: true
    metric_relabel_configs:
      - {source_labels: [other], target_label: one, action: keepequal}
      - {regex: "__name__|job|instance|quantile|le|outcome|kind|one|other", action: labelkeep}
  - job_name: openmetrics
    static_configs: *here
    metrics_path: /openmetrics
  - job_name: probe
    params: {module: [http, second], target: [nobody]}
    static_configs: [{targets: ["example.org"]}]
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__param_target], target_label: instance}
      - {target_label: __address__, replacement: "ADDRESS"}
      - {target_label: __metrics_path__, replacement: /echo}
  - job_name: gone
    static_configs: *here
    relabel_configs: [{source_labels: [zone], regex: Z.*, action: drop}]
  - job_name: stamped
    static_configs: *here
    metrics_path: /stamped
  - job_name: unstamped
    honor_timestamps: false
    static_configs: *here
    metrics_path: /stamped
  - job_name: basic
    static_configs: *here
    metrics_path: /basic
    basic_auth: {username: alice, password_file: password}
  - job_name: bearer
    static_configs: *here
    metrics_path: /bearer
    authorization: {credentials: sesame}
  - job_name: files
    file_sd_configs: [{files: ["targets*.json"]}]
    metrics_path: /text
  - {job_name: broken, static_configs: *here, metrics_path: /broken}
  - {job_name: html, static_configs: *here, metrics_path: /html}
  - {job_name: failing, static_configs: *here, metrics_path: /failing}
  - {job_name: unfinished, static_configs: *here, metrics_path: /unfinished}
  - {job_name: twice, static_configs: *here, metrics_path: /twice}
  - {job_name: slow, static_configs: *here, metrics_path: /slow, scrape_timeout: 200ms}
  - {job_name: many, static_configs: *here, metrics_path: /text, sample_limit: 10}
  - {job_name: wide, static_configs: *here, metrics_path: /text, label_limit: 5}
  - {job_name: long_name, static_configs: *here, metrics_path: /text, label_name_length_limit: 8}
  - {job_name: long_value, static_configs: *here, metrics_path: /text, label_value_length_limit: 7}
  - {job_name: large, static_configs: *here, metrics_path: /text, body_size_limit: 100B}
  - {job_name: crowd, static_configs: [{targets: ["ADDRESS", "localhost:1"]}], metrics_path: /text, target_limit: 1}
"""


class Pages:
    """What the target serves; may change while it is scraped."""

    def __init__(self) -> None:
        stamp_ms = time.time_ns() // 1_000_000
        text, openmetrics = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0; charset=utf-8"
        self.pages = {
            "/text": (200, text, TEXT),
            "/openmetrics": (200, openmetrics, OPENMETRICS.replace("STAMP", f"{stamp_ms / 1000:.3f}")),
            "/stamped": (200, text, f"own_time 1 {stamp_ms}\nno_time 2\nahead 3 {stamp_ms + 3_600_000}\n"),
            "/basic": (200, text, "secret_basic 1\n"),
            "/bearer": (200, text, "secret_bearer 1\n"),
            "/broken": (200, text, "fine 1\nnot fine at all\n"),
            "/html": (200, text, "<html><body>no metrics</body></html>\n"),
            "/failing": (500, text, "fine 1\n"),
            "/unfinished": (200, openmetrics, "fine 1\n"),
            "/twice": (200, text, "again 1\nagain 1\nother 2\n"),
            "/slow": (200, text, "fine 1\n"),
        }
        allowed = {
            "/basic": f"Basic {base64.b64encode(b'alice:open').decode()}",
            "/bearer": "Bearer sesame",
        }
        held = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                page = held.pages.get(path, (200, text, f'echo{{query="{query}"}} 1\n'))
                if path in allowed and self.headers["Authorization"] != allowed[path]:
                    page = (401, text, "who is it?\n")
                if path == "/slow":
                    held.stopped.wait(0.5)
                status, kind, body = page
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.end_headers()
                    self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def metric_store(tmp_path: Path) -> Iterator[MetricStore]:
    store = MetricStore.open(tmp_path / "metrics", retention_s=3600)
    yield store
    store.close()


@pytest.fixture
def pages() -> Iterator[Pages]:
    served = Pages()
    yield served
    served.stop()


@pytest.fixture
def config(pages: Pages, tmp_path: Path) -> Path:
    (tmp_path / "password").write_text("open\n")
    (tmp_path / "targets-1.json").write_text(json.dumps([{"targets": [pages.address], "labels": {"from": "file"}}]))
    path = tmp_path / "prometheus.yml"
    path.write_text(CONFIG.replace("ADDRESS", pages.address))
    return path


@pytest.fixture
def peer(config: Path) -> Iterator[httpx.Client]:
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have prometheus and promtool on PATH")
        pytest.skip("prometheus and promtool are not on PATH")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    checked = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True, timeout=20)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    flags = {
        "config.file": str(config),
        "storage.tsdb.path": str(config.parent / "data"),
        "web.listen-address": f"127.0.0.1:{port}",
        "enable-feature": "extra-scrape-metrics,exemplar-storage",
        "log.level": "error",
    }
    with (config.parent / "prometheus.log").open("wb") as log:
        command = ["prometheus", *(f"--{name}={value}" for name, value in flags.items())]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        process.wait(20)


@contextlib.asynccontextmanager
async def scraping(config: Path, store: MetricStore) -> AsyncIterator[ScrapeManager]:
    # Debian's Prometheus knows the extra metrics as a feature, not as a key of the file.
    jobs = [each.model_copy(update={"extra_scrape_metrics": True}) for each in load(config).scrape_configs]
    manager = ScrapeManager(jobs, store, metadata=store.set_metadata)
    task = asyncio.create_task(manager.run())
    try:
        yield manager
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def of_peer(client: httpx.Client) -> dict[Labels, float]:
    """What an instant query of everything finds."""
    try:
        answer = client.get("/api/v1/query", params={"query": '{__name__!=""}'})
    except httpx.TransportError:
        return {}
    if answer.status_code != 200:
        return {}
    return {labels_of(each["metric"]): float(each["value"][1]) for each in answer.json()["data"]["result"]}


def of_ours(store: MetricStore) -> dict[Labels, float]:
    found: dict[Labels, tuple[int, float]] = {}
    now_ms = time.time_ns() // 1_000_000
    for block in store.select([], min_ms=now_ms - 300_000, max_ms=now_ms):
        for labels, row in zip(block.labels, block.values, strict=True):
            present = np.flatnonzero(row.view(np.uint64) != ABSENT_BITS)
            if len(present):
                found[labels] = (row.view(np.uint64)[present[-1]] == STALE_BITS, float(row[present[-1]]))
    return {labels: value for labels, (stale, value) in found.items() if not stale}


def differences(ours: dict[Labels, float], theirs: dict[Labels, float]) -> list[str]:
    told = [f"only ours: {dict(each)} {ours[each]}" for each in sorted(ours.keys() - theirs.keys())]
    told += [f"only theirs: {dict(each)} {theirs[each]}" for each in sorted(theirs.keys() - ours.keys())]
    for labels in sorted(ours.keys() & theirs.keys()):
        if dict(labels)["__name__"] == "scrape_duration_seconds":
            continue
        if not np.array_equal(ours[labels], theirs[labels], equal_nan=True):
            told.append(f"{dict(labels)}: ours {ours[labels]}, theirs {theirs[labels]}")
    return told


async def until_same(
    store: MetricStore, peer: httpx.Client, *, jobs: int, has: Callable[[set[tuple[str, str]]], bool]
) -> dict[Labels, float]:
    """Both have scraped every target, the (job, metric name) pairs are as wanted, and both show the same."""
    deadline = time.monotonic() + 20
    while True:
        theirs = await asyncio.to_thread(of_peer, peer)
        ours = of_ours(store)
        ups = [sum(dict(each)["__name__"] == "up" for each in found) for found in (ours, theirs)]
        told = differences(ours, theirs)
        pairs = {(named.get("job", ""), named["__name__"]) for named in map(dict, ours)}
        if ups == [jobs, jobs] and not told and has(pairs):
            return ours
        assert time.monotonic() < deadline, "\n".join([f"up: {ups}", *told])
        await asyncio.sleep(0.2)


def shown(targets: list[dict]) -> dict[str, object]:
    """
    What /api/v1/targets says, without what depends on the moment and on the wording of errors.

    Of the discovered labels the names only: Prometheus 2.42 shows those as relabelling has changed them.
    """
    same = ("labels", "scrapeUrl", "scrapePool", "health", "scrapeInterval", "scrapeTimeout")
    return {
        json.dumps([each["scrapePool"], each["labels"]], sort_keys=True): {
            **{name: each[name] for name in same},
            "discovered": sorted(each["discoveredLabels"]),
            "fails": each["health"] == "down" and each["lastError"] != "",
        }
        for each in targets
    }


async def test_both_find_the_same_in_good_pages_and_in_bad_ones(pages, config, peer, metric_store):
    async with scraping(config, metric_store) as manager:
        found = await until_same(metric_store, peer, jobs=22, has=lambda pairs: ("text", "golang_threads") in pairs)
        assert len(found) > 200
        theirs = peer.get("/api/v1/targets").json()["data"]
        assert shown(manager.targets()) == shown(theirs["activeTargets"])
        dropped, counts = manager.dropped_targets()
        assert [each["discoveredLabels"] for each in dropped] == [
            each["discoveredLabels"] for each in theirs["droppedTargets"]
        ]
        assert counts["gone"] == 1
        now_s = time.time()
        asked = {"query": '{job="openmetrics"}', "start": now_s - 600, "end": now_s + 600}
        exemplars = peer.get("/api/v1/query_exemplars", params=asked).json()["data"]
        assert {
            (
                labels_of(each["seriesLabels"]),
                labels_of(one["labels"]),
                float(one["value"]),
                round(one["timestamp"] * 1000),
            )
            for each in exemplars
            for one in each["exemplars"]
        } == {
            (labels, one.labels, one.value, one.timestamp_ms)
            for labels, each in metric_store.exemplars([], min_ms=0, max_ms=1 << 60)
            for one in each
        }

        # Series and pages vanish, and end. (Prometheus takes five seconds to see that a target does.)
        pages.pages["/text"] = (200, "text/plain; version=0.0.4", "go_threads 13\nnew_one 1\n")
        pages.pages["/openmetrics"] = (503, "text/plain", "")
        pages.pages["/broken"] = (200, "text/plain; version=0.0.4", "fine 1\n")
        new = {("text", "golang_threads"), ("text", "new_one"), ("broken", "fine")}
        gone = {("openmetrics", "requests_total"), ("kept", "rpc_seconds")}
        await until_same(metric_store, peer, jobs=22, has=lambda pairs: new <= pairs and not gone & pairs)
