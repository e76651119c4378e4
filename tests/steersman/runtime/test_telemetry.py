"""`start_telemetry` in a process of its own (its providers are global), against an OTLP receiver that keeps all."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MESSAGES = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}

WORKLOAD = """
import logging, sys, time
from opentelemetry import metrics, trace
from steersman.runtime.telemetry import start_telemetry

telemetry = start_telemetry("named-in-code", dropped_metrics=["unwanted.*"])
meter = metrics.get_meter("test")
with trace.get_tracer("test").start_as_current_span("work") as span:
    meter.create_histogram("work.duration", unit="s").record(0.12)
    meter.create_counter("unwanted.things").add(1)
    logging.getLogger("test").warning("two\\nlines")
    print(f"TRACE {span.get_span_context().trace_id:032x}", flush=True)
if "outage" in sys.argv:
    time.sleep(2.5)
    with trace.get_tracer("test").start_as_current_span("later"):
        pass
started = time.monotonic()
telemetry.shutdown()
print(f"SHUTDOWN {time.monotonic() - started:.2f}", flush=True)
"""


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.received: dict[str, list] = {path: [] for path in MESSAGES}
        super().__init__(("127.0.0.1", port), _Handler)

    def spans(self) -> list:
        return [
            span
            for request in self.received["/v1/traces"]
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.headers["content-type"] == "application/x-protobuf"
        self.server.received[self.path].append(MESSAGES[self.path].FromString(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    with Receiver(port) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield receiver
        receiver.shutdown()
        thread.join()


def environment(port: int, **changes: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return clean | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"} | changes


def run(port: int, *arguments: str, **changes: str) -> dict[str, str]:
    """The workload's own lines by their first word, and all of its output as "all"."""
    done = subprocess.run(
        [sys.executable, "-c", WORKLOAD, *arguments],
        env=environment(port, **changes), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    words = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("TRACE", "SHUTDOWN")))
    return words | {"all": done.stdout}


def attributes(pairs) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in pairs}


def wait_for(check: Callable[[], object], patience_s: float = 15.0) -> None:
    deadline = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def test_traces_metrics_and_logs_leave_with_one_resource_and_one_trace() -> None:
    with receiving() as receiver:
        said = run(
            receiver.server_address[1],
            OTEL_SERVICE_NAME="named-outside",
            OTEL_RESOURCE_ATTRIBUTES="service.instance.id=a-1",
        )
    (span,) = receiver.spans()
    assert (span.name, span.trace_id.hex()) == ("work", said["TRACE"])
    for batches in (
        receiver.received["/v1/traces"][0].resource_spans,
        receiver.received["/v1/metrics"][-1].resource_metrics,
        receiver.received["/v1/logs"][0].resource_logs,
    ):
        resource = attributes(batches[0].resource.attributes)
        assert (resource["service.name"], resource["service.instance.id"]) == ("named-outside", "a-1")
    metrics = {
        metric.name: metric
        for scope in receiver.received["/v1/metrics"][-1].resource_metrics[0].scope_metrics
        for metric in scope.metrics
    }
    assert set(metrics) == {"work.duration"}
    (point,) = metrics["work.duration"].histogram.data_points
    assert list(point.explicit_bounds)[:8] == [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2]
    assert point.exemplars[0].trace_id.hex() == said["TRACE"]
    record = receiver.received["/v1/logs"][0].resource_logs[0].scope_logs[0].log_records[0]
    assert (record.body.string_value, record.trace_id.hex()) == ("two\nlines", said["TRACE"])
    (line,) = [line for line in said["all"].splitlines() if "lines" in line]
    assert line.endswith(rf"WARNING test: two\nlines trace={said['TRACE']}")


def test_the_name_in_code_counts_where_the_environment_names_none() -> None:
    with receiving() as receiver:
        run(receiver.server_address[1])
    resource = attributes(receiver.received["/v1/traces"][0].resource_spans[0].resource.attributes)
    assert resource["service.name"] == "named-in-code"


def test_a_collector_that_is_away_neither_holds_up_the_end_nor_fills_the_log(unused_port: int) -> None:
    said = run(unused_port, "outage")
    assert float(said["SHUTDOWN"]) < 3.5
    complaints = [line for line in said["all"].splitlines() if " opentelemetry." in line or " urllib3" in line]
    assert 1 <= len(complaints) <= 4  # once for each exporter, not once a second


def test_spans_of_an_outage_arrive_when_the_collector_is_back(unused_port: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKLOAD, "outage"], env=environment(unused_port), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "Transient error" in line and "trace_exporter" in line:
                break  # it tried in vain
        with receiving(unused_port) as receiver:
            wait_for(lambda: {span.name for span in receiver.spans()} == {"work", "later"})
    finally:
        process.stdout.read()
        process.wait(20)
        process.stdout.close()


@pytest.mark.parametrize("value", ["fast", "nan"])
def test_a_setting_that_makes_no_sense_is_named(value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKLOAD],
        env=environment(1, OTEL_METRIC_EXPORT_INTERVAL=value), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "ValueError: OTEL_METRIC_EXPORT_INTERVAL must be" in done.stderr


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
