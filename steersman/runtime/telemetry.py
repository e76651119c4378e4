"""
OpenTelemetry for a process of ours: traces, metrics and logs, leaving by OTLP/HTTP every second.

All settings are OpenTelemetry's own environment variables; what is set here are only defaults for a system that is
watched every second. A collector that is away costs nothing but memory, and that is bounded: span and log batches are
tried again for OTLP_TIMEOUT_S while newer ones queue, then dropped; metrics are cumulative, so the next export says it
all. Nothing here blocks a request.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry import _logs, metrics, trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if TYPE_CHECKING:
    import requests

# Denser between 50 and 500 ms than the semantic conventions' advice, since that is where our alert thresholds are: a
# quantile interpolated in a bucket is wrong by up to the bucket's width.
DURATION_BUCKETS_S = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 7.5, 10
)  # fmt: skip
EXPORT_INTERVAL_MS = 1000  # the resolution that rules here are evaluated with
SPAN_QUEUE = 4096  # about 10 s of a replica at 40 requests/s and 10 spans each; about 8 MB at worst
LOG_QUEUE = 2048  # the SDK's default
OTLP_TIMEOUT_S = 10  # the SDK's default: tries again after 1, 2 and 4 s within it
# No second try: backing off would only delay the next, newer, export.
METRIC_TIMEOUT_S = 1
SHUTDOWN_S = 3  # a dead collector must not hold up a process that is told to stop
QUIET_S = 30  # the same complaint of the exporters is printed once in this time
_OWN_NOISE = ("opentelemetry", "urllib3")  # their complaints must not become telemetry about telemetry


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The providers of this process. Instrumentations take them, or find them as OpenTelemetry's global ones."""

    traces: TracerProvider
    metrics: MeterProvider
    logs: LoggerProvider

    def shutdown(self, timeout_s: float = SHUTDOWN_S) -> None:
        """Send what is queued and stop. Returns after `timeout_s` at the latest; what was not sent by then is lost."""
        LoggingInstrumentor().uninstrument()
        ending = [
            threading.Thread(target=provider.shutdown, name=f"shutdown-{type(provider).__name__}", daemon=True)
            for provider in (self.traces, self.logs, self.metrics)
        ]
        deadline = time.monotonic() + timeout_s
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join(max(0.0, deadline - time.monotonic()))


def start_telemetry(
    service_name: str, *, log_level: int = logging.INFO, dropped_metrics: Sequence[str] = ()
) -> Telemetry:
    """
    Start traces, metrics and logs, and make them OpenTelemetry's global providers. Once in a process.

    Args:
        service_name: `service.name`, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES name another.
        log_level: Of the root logger; its lines go to stdout, one each, and by OTLP with their trace context.
        dropped_metrics: Instrument names (`*` matches any text) that are not kept, such as "http.*.body.size".

    Source: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_METRIC_EXPORT_INTERVAL,
    OTEL_BSP_SCHEDULE_DELAY, OTEL_BLRP_SCHEDULE_DELAY and their kin; HTTP and database conventions are the stable ones.
    """
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    resource = _resource(service_name)
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    traces.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(session=_session(), timeout=_number("OTEL_EXPORTER_OTLP_TIMEOUT", OTLP_TIMEOUT_S)),
            max_queue_size=int(_number("OTEL_BSP_MAX_QUEUE_SIZE", SPAN_QUEUE)),
            schedule_delay_millis=_number("OTEL_BSP_SCHEDULE_DELAY", EXPORT_INTERVAL_MS),
        )
    )
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(session=_session(), timeout=METRIC_TIMEOUT_S),
        export_interval_millis=_number("OTEL_METRIC_EXPORT_INTERVAL", EXPORT_INTERVAL_MS),
    )
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False, views=_views(dropped_metrics))
    logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
    logs.add_log_record_processor(
        BatchLogRecordProcessor(
            OTLPLogExporter(session=_session(), timeout=_number("OTEL_EXPORTER_OTLP_TIMEOUT", OTLP_TIMEOUT_S)),
            max_queue_size=int(_number("OTEL_BLRP_MAX_QUEUE_SIZE", LOG_QUEUE)),
            schedule_delay_millis=_number("OTEL_BLRP_SCHEDULE_DELAY", EXPORT_INTERVAL_MS),
        )
    )
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(meters)
    _logs.set_logger_provider(logs)
    _start_logging(log_level)
    return Telemetry(traces=traces, metrics=meters, logs=logs)


def resource_attributes(environment: Mapping[str, str]) -> dict[str, str]:
    """What OTEL_RESOURCE_ATTRIBUTES says."""
    pairs = (pair.partition("=") for pair in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {name.strip(): value.strip() for name, separator, value in pairs if separator}


def instance_of(service_name: str, environment: Mapping[str, str]) -> str:
    """`service.instance.id`: as the environment has it, else by the host, which in containers is by replica."""
    return resource_attributes(environment).get(SERVICE_INSTANCE_ID) or f"{service_name}-{socket.gethostname()}"


def _resource(service_name: str) -> Resource:
    said = resource_attributes(os.environ)
    attributes = {SERVICE_INSTANCE_ID: instance_of(service_name, os.environ)}
    if not os.environ.get("OTEL_SERVICE_NAME") and SERVICE_NAME not in said:
        attributes[SERVICE_NAME] = service_name
    return Resource.create(attributes)


def _views(dropped: Sequence[str]) -> list[View]:
    buckets = ExplicitBucketHistogramAggregation(boundaries=DURATION_BUCKETS_S)
    return [
        *(View(instrument_name=name, aggregation=DropAggregation()) for name in dropped),
        View(instrument_name="*.duration", aggregation=buckets),
    ]


def _number(variable: str, default: float) -> float:
    """
    Raises:
        ValueError: the variable is set to something that is not a positive number.
    """
    text = os.environ.get(variable)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{variable} must be a number, got {text!r}") from None
    if not number > 0:
        raise ValueError(f"{variable} must be above 0, got {text!r}")
    return number


def _session() -> requests.Session | None:
    """For a collector on this machine a session that asks neither proxies nor .netrc, which costs 1 ms a call."""
    host = urlsplit(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")).hostname
    if host not in ("127.0.0.1", "::1", "localhost"):
        return None
    import requests

    session = requests.Session()
    session.trust_env = False
    return session


class _QuietExporters(logging.Filter):
    """Lets a logger of OpenTelemetry or its transport say something once in QUIET_S; others pass."""

    def __init__(self) -> None:
        super().__init__()
        self._silent_until: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_OWN_NOISE):
            return True
        if record.created < self._silent_until.get(record.name, 0.0):
            return False
        self._silent_until[record.name] = record.created + QUIET_S
        return True


class _OneLine(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO demo_services.orders: placed order 7 trace=4bf92f…`, tracebacks folded in."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        moment = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        text = f"{moment}.{int(record.msecs):03d}Z {record.levelname} {record.name}: {record.getMessage()}"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            text = f"{text} trace={context.trace_id:032x}"
        return text.replace("\r", "\\r").replace("\n", "\\n")


def _start_logging(level: int) -> None:
    root = logging.getLogger()
    root.setLevel(level)
    to_stdout = logging.StreamHandler(sys.stdout)
    to_stdout.setFormatter(_OneLine())
    to_stdout.addFilter(_QuietExporters())
    root.addHandler(to_stdout)
    LoggingInstrumentor().instrument()
    for handler in root.handlers:
        if isinstance(handler, LoggingHandler):
            handler.addFilter(lambda record: not record.name.startswith(_OWN_NOISE))
    for chatty in ("httpx", "httpcore", "uvicorn.access"):  # a line for each request, which the span tells already
        logging.getLogger(chatty).setLevel(logging.WARNING)
