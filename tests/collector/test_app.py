"""The whole process, as `steersman up` starts it."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from collector.app import main

CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: collector
    static_configs:
      - targets: ["127.0.0.1:HTTP_PORT"]
        labels: {instance: collector-1}
"""
RULES = """
groups:
  - name: test
    interval: 1s
    rules:
      - alert: Always
        expr: up{job="collector"} == 1
      - record: test:two
        expr: vector(2)
"""


@dataclass
class Process:
    process: subprocess.Popen[bytes]
    http: str
    otlp_http: str
    otlp_grpc: str
    jaeger: str
    data: Path
    log: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> object:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(httpx.TransportError):
            if found := condition():
                return found
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def start(folder: Path) -> Process:
    *ports, alertmanager = free_ports(5)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    (folder / "rules" / "test.yml").write_text(RULES)
    config = folder / "collector.yml"
    config.write_text(CONFIG.replace("HTTP_PORT", str(ports[0])))
    argv = [sys.executable, "-m", "collector", "--config", str(config), "--data-dir", str(folder / "data")]
    for flag, address in zip(("--http", "--otlp-http", "--otlp-grpc", "--jaeger"), addresses, strict=True):
        argv += [flag, address]
    argv += ["--alertmanager", f"127.0.0.1:{alertmanager}"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=Path(__file__).parents[2])
    urls = [f"http://{address}" for address in addresses]
    running = Process(process, *urls, data=folder / "data", log=folder / "log")

    def ready() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        return httpx.get(f"{running.http}/-/ready").status_code == 200

    wait_for(ready, "the collector is ready")
    return running


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    running = start(tmp_path_factory.mktemp("collector"))
    yield running
    address = httpx.URL(running.otlp_http)
    with socket.create_connection((address.host, address.port)) as slow:  # a request in flight, whose end never comes
        slow.send(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n")
        slow.send(b"content-length: 1000\r\n\r\nthe beginning")
        httpx.get(f"{running.http}/-/ready")
        stops_within_five_seconds(running)


def query(collector: Process, expression: str) -> list[dict]:
    answer = httpx.get(f"{collector.http}/api/v1/query", params={"query": expression})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["result"]


def test_it_answers_health_on_both_ports(collector):
    for base in (collector.http, collector.jaeger):
        for path in ("/-/healthy", "/-/ready"):
            assert httpx.get(base + path).status_code == 200


def test_spans_of_the_real_exporter_become_a_trace(collector):
    provider = TracerProvider(resource=Resource({"service.name": "catalog", "service.instance.id": "catalog-1"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{collector.otlp_http}/v1/traces")))
    tracer = provider.get_tracer("test", "1.0")
    with tracer.start_as_current_span("parent") as parent, tracer.start_as_current_span("child"):
        parent.set_attributes({"http.response.status_code": 200, "tags": ["a", "b"]})
    provider.shutdown()
    trace_id = f"{parent.get_span_context().trace_id:032x}"
    (trace,) = httpx.get(f"{collector.jaeger}/api/traces/{trace_id}").json()["data"]
    assert [span["operationName"] for span in trace["spans"]] == ["parent", "child"]
    tags = {tag["key"]: tag["value"] for tag in trace["spans"][0]["tags"]}
    assert tags["http.response.status_code"] == 200
    assert tags["tags"] == '["a","b"]'
    found = httpx.get(f"{collector.jaeger}/api/traces", params={"service": "catalog", "lookback": "1h"}).json()["data"]
    assert [trace["traceID"] for trace in found] == [trace_id]


def test_metrics_of_the_real_exporter_answer_a_query(collector):
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{collector.otlp_http}/v1/metrics"), 60_000)
    resource = Resource({"service.name": "catalog", "service.instance.id": "catalog-1"})
    provider = MeterProvider([reader], resource=resource)
    provider.get_meter("test").create_counter("orders").add(3, {"outcome": "paid"})
    provider.shutdown()
    (result,) = query(collector, 'orders_total{job="catalog"}')
    assert result["metric"]["instance"] == "catalog-1"
    assert result["metric"]["outcome"] == "paid"
    assert result["value"][1] == "3"


def test_it_scrapes_itself_and_says_what_it_took_in(collector):
    wait_for(lambda: query(collector, 'up{job="collector",instance="collector-1"} == 1'), "up is 1")
    for name in (
        "process_resident_memory_bytes",
        "prometheus_tsdb_head_series",
        "prometheus_tsdb_head_samples_appended_total",
    ):
        wait_for(lambda name=name: query(collector, name), name)
    text = httpx.get(f"{collector.http}/metrics").text
    assert "steersman_collector_commit_duration_seconds_bucket" in text
    targets = httpx.get(f"{collector.http}/api/v1/targets").json()["data"]["activeTargets"]
    assert targets[0]["labels"]["job"] == "collector"


def test_rules_are_evaluated(collector):
    wait_for(lambda: query(collector, "test:two == 2"), "the recording rule")
    wait_for(lambda: httpx.get(f"{collector.http}/api/v1/alerts").json()["data"]["alerts"], "the alert")
    groups = httpx.get(f"{collector.http}/api/v1/rules").json()["data"]["groups"]
    assert [rule["name"] for rule in groups[0]["rules"]] == ["Always", "test:two"]


def test_logs_are_read_back(collector):
    record = {
        "timeUnixNano": str(time.time_ns()),
        "severityNumber": 17,
        "body": {"stringValue": "payment refused"},
        "traceId": "0AF7651916CD43DD8448EB211C80319C",
        "attributes": [{"key": "order", "value": {"intValue": "12"}}],
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "payment"}}]}
    body = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}
    assert httpx.post(f"{collector.otlp_http}/v1/logs", json=body).status_code == 200
    parameters = {"service": "payment", "severity": "error", "trace_id": "af7651916cd43dd8448eb211c80319c"}
    (log,) = httpx.get(f"{collector.http}/api/v1/logs", params=parameters).json()["data"]
    assert (log["body"], log["attributes"], log["severity_number"]) == ("payment refused", {"order": 12}, 17)
    assert log["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert httpx.get(f"{collector.http}/api/v1/logs", params={"service": "x"}).json()["data"] == []
    for wrong in ({"severity": "loud"}, {"trace_id": "xyz"}, {"limit": 0}, {"start": "nan"}):
        answer = httpx.get(f"{collector.http}/api/v1/logs", params=wrong)
        assert answer.status_code == 400, wrong
        assert answer.json()["errorType"] == "bad_data"


PROTOBUF = {"content-type": "application/x-protobuf"}


def batch(index: int, spans: int = 20) -> bytes:
    request = ExportTraceServiceRequest()
    per_resource = request.resource_spans.add()
    per_resource.resource.attributes.add(key="service.name").value.string_value = "durable"
    for number in range(spans):
        per_resource.scope_spans.add().spans.add(
            trace_id=(index + 1).to_bytes(16),
            span_id=(number + 1).to_bytes(8),
            name=f"span {number}",
            start_time_unix_nano=time.time_ns(),
        )
    return request.SerializeToString()


@pytest.mark.chaos
def test_acknowledged_spans_survive_a_kill_and_show_once(tmp_path):
    running = start(tmp_path)
    indexes, acknowledged = itertools.count(), []

    def send_until_killed() -> None:
        with httpx.Client() as client, contextlib.suppress(httpx.TransportError):
            while True:
                index = next(indexes)
                answer = client.post(f"{running.otlp_http}/v1/traces", content=batch(index), headers=PROTOBUF)
                if answer.status_code == 200:
                    acknowledged.append(index)

    senders = [threading.Thread(target=send_until_killed) for _ in range(4)]
    for sender in senders:
        sender.start()
    try:
        wait_for(lambda: len(acknowledged) >= 20, "twenty acknowledged batches")
    finally:
        running.kill()
    for sender in senders:
        sender.join(10)
    running = start(tmp_path)
    with httpx.Client() as client:
        for index in acknowledged[-3:]:  # the sender did not see the answer, and sends again
            client.post(f"{running.otlp_http}/v1/traces", content=batch(index), headers=PROTOBUF)
        ids = [f"{index + 1:x}" for index in acknowledged]
        answer = client.get(f"{running.jaeger}/api/traces", params={"traceID": ids}).json()
    assert answer["errors"] is None
    assert [len(trace["spans"]) for trace in answer["data"]] == [20] * len(acknowledged)
    stops_within_five_seconds(running)
    assert "Traceback" not in running.log.read_text(), running.log.read_text()


def stops_within_five_seconds(running: Process) -> None:
    address = httpx.URL(running.http)
    with socket.create_connection((address.host, address.port)) as idle, httpx.Client() as client:
        idle.send(b"GET / HT")  # a request that has hardly begun
        client.get(f"{running.jaeger}/api/services")  # a connection kept alive
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
        assert time.monotonic() - began < 5


def test_an_unknown_key_is_named_with_its_file(tmp_path, capsys):
    file = tmp_path / "collector.yml"
    file.write_text("global: {scrape_intervall: 1s}")
    assert main(["--config", str(file), "--data-dir", str(tmp_path / "data")]) == 2
    assert f"{file}: global.scrape_intervall: unknown key" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_taken_port_and_a_taken_directory_are_named(collector, tmp_path, capsys):
    file = tmp_path / "collector.yml"
    file.write_text("")
    port = httpx.URL(collector.otlp_grpc).port
    argv = ["--config", str(file), "--otlp-grpc", f"127.0.0.1:{port}"]
    assert main([*argv, "--data-dir", str(tmp_path / "data")]) == 1
    assert f"cannot serve OTLP gRPC on 127.0.0.1:{port}" in capsys.readouterr().err
    assert main([*argv, "--data-dir", str(collector.data)]) == 1
    assert str(collector.data) in capsys.readouterr().err
