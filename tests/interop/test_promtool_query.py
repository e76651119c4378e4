"""
Debian's Prometheus and promtool against the collector's port: promtool queries it, Prometheus writes to it and
federates from it, and the same requests, good and bad, as Grafana's data source sends them, get the same answers from
both.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
import httpx
import pytest

from collector.receivers.remote_write_wire import message_class
from steersman.runtime import lifeline

pytestmark = [pytest.mark.peer, pytest.mark.prompt]

STEP_MS = 5_000
NOW_MS = time.time_ns() // 1_000_000 // STEP_MS * STEP_MS
START_S, END_S = NOW_MS / 1000 - 300, NOW_MS / 1000
RULES = {
    "groups": [
        {
            "name": "shown",
            "interval": "10h",  # not evaluated while the test runs
            "limit": 5,
            "rules": [
                {"record": "job:load:sum", "expr": "sum(load)\n  by(job)", "labels": {"team": "a"}},
                {"record": "one", "expr": "vector(1.0)"},
                {
                    "alert": "High",
                    "expr": 'load{job="shop"}>1e3 and on(job)\n(up==1 or absent(up) and rate(requests_total[90s])!=0)',
                    "for": "5m",
                    "keep_firing_for": "1m",
                    "labels": {"severity": "page"},
                    "annotations": {"summary": "{{ $labels.job }} has {{ $value }}"},
                },
            ],
        },
        {"name": "more", "interval": "5h", "rules": [{"alert": "Never", "expr": "vector(0) > 1"}]},
    ]
}
SPAN = {"start": f"{START_S:.3f}", "end": f"{END_S:.3f}"}


@dataclass(frozen=True, slots=True)
class Servers:
    ours: httpx.Client
    peer: httpx.Client
    url: str  # of ours


def write_request() -> bytes:
    """Five minutes of a counter, a gauge and a classic histogram of two instances, with an exemplar."""
    request = message_class("WriteRequest")()
    for instance in ("a:1", "b:1"):
        named = {"requests_total": {}, "load": {}} | {f"wait_seconds_bucket/{le}": {"le": le} for le in ("1", "+Inf")}
        for name, extra in named.items():
            one = request.timeseries.add()
            labels = {"__name__": name.partition("/")[0], "job": "shop", "instance": instance} | extra
            for label, value in sorted(labels.items()):
                one.labels.add(name=label, value=value)
            for number, at in enumerate(range(NOW_MS - 300_000, NOW_MS + 1, STEP_MS)):
                one.samples.add(value=number * (2.5 if name == "load" else 3), timestamp=at)
            if name == "requests_total":
                exemplar = one.exemplars.add(value=0.25, timestamp=NOW_MS)
                exemplar.labels.add(name="trace_id", value="abc")
    _add_native_histograms(request)
    return bytes(request.SerializeToString())


def _add_native_histograms(request: Any) -> None:
    one = request.timeseries.add()
    for label, value in (("__name__", "native_seconds"), ("instance", "a:1"), ("job", "shop")):
        one.labels.add(name=label, value=value)
    for number, at in enumerate(range(NOW_MS - 300_000, NOW_MS + 1, STEP_MS)):
        sent = one.histograms.add(
            count_int=2 + 9 * number, sum=1.5 * number, schema=2, zero_threshold=0.001, zero_count_int=2, timestamp=at
        )
        sent.positive_spans.add(offset=-3, length=2)
        sent.positive_spans.add(offset=4, length=1)
        sent.positive_deltas.extend([number, number, -number])
        sent.negative_spans.add(offset=1, length=2)
        sent.negative_deltas.extend([number * 2, number])


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def running(name: str, folder: Path, argv: list[str], port: int) -> Iterator[httpx.Client]:
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(lifeline.command(argv), cwd=folder, stdout=out, stderr=out)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:

            def ready() -> bool:
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/-/ready").status_code == 200
                return False

            wait_for(ready, f"{name} to be ready")
            yield client
    finally:
        process.terminate()
        process.wait(20)


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have prometheus and promtool on PATH")
        pytest.skip("prometheus and promtool are not on PATH")
    folder = tmp_path_factory.mktemp("interop")
    http, grpc, otlp, jaeger, alertmanager, peer_port = free_ports(6)
    rules = folder / "rules.yml"
    rules.write_text(json.dumps(RULES))
    configuration = {"global": {"external_labels": {"site": "here"}}, "rule_files": [str(rules)]}
    (folder / "collector.yml").write_text(json.dumps(configuration))
    (folder / "prometheus.yml").write_text(json.dumps(_peer_configuration(http, peer_port, rules)))
    ports = {"http": http, "otlp-grpc": grpc, "otlp-http": otlp, "jaeger": jaeger, "alertmanager": alertmanager}
    argv = [sys.executable, "-m", "collector", "--config", "collector.yml", "--data-dir", "ours"]
    argv += [f"--{flag}=127.0.0.1:{port}" for flag, port in ports.items()]
    peer_argv = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]
    peer_argv += ["--enable-feature=exemplar-storage,native-histograms", "--web.enable-remote-write-receiver"]
    peer_argv += [f"--web.listen-address=127.0.0.1:{peer_port}"]
    with (
        running("collector", folder, argv, http) as ours,
        running("prometheus", folder, peer_argv, peer_port) as peer,
    ):
        body = bytes(cramjam.snappy.compress_raw(write_request()))
        for client in (ours, peer):
            answer = client.post("/api/v1/write", content=body, headers={"Content-Encoding": "snappy"})
            assert answer.status_code == 204, answer.text
        yield Servers(ours, peer, f"http://127.0.0.1:{http}")


def _peer_configuration(ours: int, peer: int, rules: Path) -> dict[str, Any]:
    federated = {
        "job_name": "federated",
        "honor_labels": True,
        "metrics_path": "/federate",
        "params": {"match[]": ['{job="shop"}', "load"]},
        "static_configs": [{"targets": [f"127.0.0.1:{ours}"]}],
        # so that questions about what both have do not find these too
        "metric_relabel_configs": [
            {"source_labels": ["__name__"], "target_label": "__name__", "replacement": "federated_$1"}
        ],
    }
    itself = {"job_name": "itself", "static_configs": [{"targets": [f"127.0.0.1:{peer}"]}]}
    queue = {"batch_send_deadline": "200ms"}
    sender = {
        "url": f"http://127.0.0.1:{ours}/api/v1/write",
        "queue_config": queue,
        "metadata_config": {"send_interval": "1s"},
        "write_relabel_configs": [{"source_labels": ["job"], "regex": "itself", "action": "keep"}],
    }
    return {
        "global": {"scrape_interval": "1s", "external_labels": {"origin": "peer"}},
        "rule_files": [str(rules)],
        "scrape_configs": [federated, itself],
        "remote_write": [sender],
    }


# --- promtool


def promtool(*argv: str) -> str:
    done = subprocess.run(["promtool", *argv], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_promtool_queries_an_instant_and_a_range(servers: Servers) -> None:
    found = promtool("query", "instant", servers.url, f"sum by (job) (load @ {END_S})")
    assert found.startswith('{job="shop"} => 300 @')
    span = [f"--start={START_S:.0f}", f"--end={END_S:.0f}", "--step=60s"]
    found = promtool("query", "range", *span, servers.url, "max(load)")
    assert [line.partition(" @")[0] for line in found.splitlines()[1:]] == ["0", "30", "60", "90", "120", "150"]


def test_promtool_lists_series_and_labels(servers: Servers) -> None:
    found = promtool("query", "series", "--match=load", servers.url)
    assert '{__name__="load", instance="a:1", job="shop"}' in found
    assert promtool("query", "labels", servers.url, "le").split() == ["+Inf", "1"]


def test_promtool_takes_our_metrics_along(servers: Servers, tmp_path: Path) -> None:
    done = subprocess.run(
        ["promtool", "debug", "metrics", servers.url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "error" not in done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        assert content.getnames()


# --- Prometheus as a sender and as a scraper


def value(client: httpx.Client, expr: str) -> float | None:
    found = client.get("/api/v1/query", params={"query": expr}).json()["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def test_prometheus_writes_what_it_scrapes_to_us(servers: Servers) -> None:
    wait_for(lambda: value(servers.ours, 'up{job="itself",origin="peer"}') == 1.0, "its samples")
    wait_for(lambda: "go_goroutines" in servers.ours.get("/api/v1/metadata").json()["data"], "its metadata")
    at_s = f"{time.time():.3f}"
    wait_for(lambda: value(servers.ours, f'timestamp(up{{job="itself"}}) > {at_s}') is not None, "newer samples")
    asked = {"query": 'count({job="itself"})', "time": at_s}
    counts = [client.get("/api/v1/query", params=asked).json()["data"] for client in (servers.peer, servers.ours)]
    assert counts[0] == counts[1]
    assert value(servers.peer, "sum(prometheus_remote_storage_samples_failed_total)") == 0.0


def test_prometheus_federates_from_us(servers: Servers) -> None:
    wait_for(lambda: value(servers.peer, 'up{job="federated"}') == 1.0, "its scrape")
    wait_for(lambda: value(servers.peer, "federated_load") == 150.0, "our samples")
    found = servers.peer.get("/api/v1/series", params={"match[]": "federated_load"}).json()["data"]
    assert {(one["instance"], one["site"]) for one in found} == {("a:1", "here"), ("b:1", "here")}


def test_federation_has_one_type_line_for_each_name_and_each_series_once(servers: Servers) -> None:
    asked = [("match[]", '{job="shop"}'), ("match[]", "load")]
    lines = servers.ours.get("/federate", params=asked).text.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# TYPE load untyped", "# TYPE requests_total untyped", "# TYPE wait_seconds_bucket untyped"
    ]  # fmt: skip
    assert lines[1] == f'load{{instance="a:1",job="shop",site="here"}} 150 {NOW_MS}'
    assert len(lines) == 3 + 8  # native histograms have no text
    assert servers.ours.get("/federate").text == ""
    assert servers.ours.get("/federate", params={"match[]": "{"}).status_code == 400


# --- the same requests to both

SAME_ANSWERS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "query_range", {"query": "rate(requests_total[1m])", "step": "15", **SPAN}),
    ("POST", "query_range", {"query": "sum(load) by (job)", "step": "15s", "timeout": "30s", **SPAN}),
    ("GET", "query_range", {"query": "nothing_here", "step": "15", **SPAN}),
    ("GET", "query_range", {"query": "1.5", "step": "100", **SPAN}),
    ("POST", "query", {"query": "load", "time": f"{END_S:.3f}"}),
    ("GET", "query", {"query": "load / 0", "time": f"{END_S:.3f}"}),
    ("GET", "query", {"query": 'load{instance="a:1"}[18s]', "time": f"{END_S:.3f}"}),
    ("GET", "query", {"query": "native_seconds", "time": f"{END_S:.3f}"}),
    ("GET", "query", {"query": "native_seconds[18s]", "time": f"{END_S:.3f}"}),
    ("GET", "query", {"query": "sum(rate(native_seconds[57s]))", "time": f"{END_S:.3f}"}),
    ("POST", "query_range", {"query": "native_seconds", "step": "17", **SPAN}),
    ("GET", "query", {"query": "1+1", "time": "4"}),
    ("GET", "query", {"query": '"text"', "time": "4.25"}),
    ("GET", "query", {"query": "histogram_quantile(0.5, wait_seconds_bucket)", "time": f"{END_S:.3f}"}),
    ("GET", "query_exemplars", {"query": "rate(requests_total[1m])", **SPAN}),
    ("POST", "query_exemplars", {"query": "requests_total", **SPAN}),
    ("GET", "query_exemplars", {"query": "nothing_here", **SPAN}),
    ("GET", "labels", {"match[]": 'load{job="shop"}', **SPAN}),
    ("POST", "labels", {"match[]": ['load{job="shop"}', 'wait_seconds_bucket{job="shop"}']}),
    ("GET", "label/instance/values", {"match[]": 'load{job="shop"}', **SPAN}),
    ("GET", "label/le/values", {"match[]": '{job="shop"}'}),
    ("GET", "label/not_there/values", {}),
    ("GET", "label/le/values", {"start": "10", "end": "20"}),
    ("GET", "series", {"match[]": ['load{job="shop"}', 'load{instance="a:1",job="shop"}'], **SPAN}),
    ("POST", "series", {"match[]": "nothing_here"}),
    ("GET", "format_query", {"query": "sum(rate(load[5m]))by(job)"}),
    ("GET", "metadata", {"metric": "nothing_here"}),
    ("GET", "metadata", {"limit": "0"}),
    ("GET", "rules", {}),
    ("GET", "rules", {"type": "alert"}),
    ("GET", "alerts", {}),
    ("GET", "alertmanagers", {}),
    ("GET", "targets", {"state": "dropped"}),
    ("GET", "targets/metadata", {"metric": "nothing_here"}),
    # refused
    ("GET", "query", {}),
    ("GET", "query", {"query": "sum("}),
    ("GET", "query", {"query": "load", "timeout": "1z"}),
    ("GET", "query", {"query": "load + on () load", "time": f"{END_S:.3f}"}),
    ("GET", "query", {"query": "load", "time": "1", "timeout": "0"}),
    ("GET", "query_range", {"query": "load"}),
    ("GET", "query_range", {"query": "load", "start": "10", "end": "5", "step": "1"}),
    ("GET", "query_range", {"query": "load", "start": "0", "end": "5", "step": "0"}),
    ("GET", "query_range", {"query": "load", "start": "0", "end": "5", "step": "-1"}),
    ("GET", "query_range", {"query": "load", "start": "0", "end": "11001", "step": "1"}),
    ("GET", "query_range", {"query": "load[1m]", "start": "0", "end": "5", "step": "1"}),
    ("GET", "query_range", {"query": "load", "start": "x", "end": "5", "step": "1"}),
    ("GET", "query_exemplars", {"query": "load", "start": "5", "end": "1"}),
    ("GET", "series", {}),
    ("GET", "series", {"match[]": '{a=""}'}),
    ("GET", "labels", {"match[]": "{"}),
    ("GET", "metadata", {"limit": "x"}),
    ("GET", "targets/metadata", {"limit": "x"}),
    ("GET", "rules", {"type": "both"}),
]
# What 2.42 says otherwise than 3 does; the rest of the answer is the same.
_CAUSE_DIFFERS = ("parse error", "found duplicate series", "query timed out", "invalid expression type")


@pytest.mark.parametrize(("method", "path", "params"), SAME_ANSWERS)
def test_same_request_gets_the_same_answer(servers: Servers, method: str, path: str, params: dict[str, Any]) -> None:
    where = {"data": params} if method == "POST" else {"params": params}
    theirs, ours = (client.request(method, f"/api/v1/{path}", **where) for client in (servers.peer, servers.ours))
    assert ours.status_code == theirs.status_code, ours.text
    expected, found = theirs.json(), ours.json()
    if expected["status"] == "error":
        for cause in _CAUSE_DIFFERS:
            if cause in expected["error"]:
                assert cause in found.pop("error")
                del expected["error"]
                break
    assert comparable(found) == comparable(expected)
    assert ours.headers["content-type"] == theirs.headers["content-type"]


def comparable(answer: Any) -> Any:
    """Without the order of series, which Prometheus does not promise, and what only 3 has."""
    if isinstance(answer, dict):
        kept = {name: comparable(one) for name, one in answer.items() if name not in ("warnings", "infos")}
        return {name: one for name, one in kept.items() if name != "droppedTargetCounts"}
    if isinstance(answer, list) and len(answer) == 4 and isinstance(answer[0], int):
        # a bucket: Prometheus's table has its bounds up to one unit in the last place lower than they are
        return [answer[0], *(f"{float(one):.12g}" for one in answer[1:])]
    if isinstance(answer, list):
        items = [comparable(one) for one in answer]
        return sorted(items, key=str) if items and isinstance(items[0], dict) else items
    return answer


@pytest.mark.parametrize(
    "path",
    ["status/buildinfo", "status/runtimeinfo", "status/flags", "status/config", "status/tsdb", "status/walreplay"],
)
def test_status_has_what_prometheus_has(servers: Servers, path: str) -> None:
    theirs, ours = (client.get(f"/api/v1/{path}").json()["data"] for client in (servers.peer, servers.ours))
    if path == "status/flags":
        assert theirs.keys() >= ours.keys()
        assert ours["query.lookback-delta"] == theirs["query.lookback-delta"]
        return
    if path == "status/walreplay":  # 2.42 spells it "read" and "total"
        assert ours["state"] == "done"
        return
    assert ours.keys() >= theirs.keys()
    for name, one in theirs.items():
        assert type(ours[name]) is type(one), name
        if isinstance(one, list) and one:
            assert ours[name][0].keys() == one[0].keys()
        if isinstance(one, dict):
            assert ours[name].keys() == one.keys()


def test_cost_of_metrics_is_ranked_as_prometheus_ranks_it(servers: Servers) -> None:
    found = servers.ours.get("/api/v1/status/tsdb", params={"limit": "10000"}).json()["data"]
    assert {"name": "wait_seconds_bucket", "value": 4} in found["seriesCountByMetricName"]
    assert {"name": "instance=b:1", "value": 4} in found["seriesCountByLabelValuePair"]
    for limit in ("0", "x"):
        answer = servers.ours.get("/api/v1/status/tsdb", params={"limit": limit})
        assert (answer.status_code, answer.json()["error"]) == (400, "limit must be a positive number")


@pytest.mark.parametrize("origin", ["http://page", None])
def test_other_origins_are_answered_with_the_same_headers(servers: Servers, origin: str | None) -> None:
    sent = {"Origin": origin} if origin else {}
    theirs, ours = (client.get("/api/v1/labels", headers=sent).headers for client in (servers.peer, servers.ours))
    names = {name for name in theirs if name.startswith("access-control")}
    assert {name: ours[name] for name in names} == {name: theirs[name] for name in names}
    assert bool(names) == (origin is not None)
