"""The OTLP receivers on real sockets, over real stores."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from collector.api.jaeger import jaeger_app
from collector.pipeline.admission import Admission, Limits
from collector.pipeline.commit import GroupCommit
from collector.pipeline.intake import Intake
from collector.pipeline.redaction import Redactor, Rules
from collector.pipeline.self_metrics import SelfMetrics
from collector.receivers.otlp_grpc import otlp_grpc_server
from collector.receivers.otlp_http import otlp_http_app
from collector.receivers.otlp_ingest import OtlpIngest
from collector.receivers.otlp_metrics import MetricsIngest
from collector.storage.logs import LogReader
from collector.storage.metrics.store import MetricStore
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader
from steersman.runtime.http import Listener, serve


@dataclass(frozen=True)
class Receivers:
    http: str
    grpc: str
    jaeger: str
    traces: TraceReader
    logs: LogReader
    metrics: MetricStore
    ingest: OtlpIngest
    counts: SelfMetrics


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def wait_for_port(port: int, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


@pytest.fixture
def limits() -> Limits:
    return Limits(max_body_bytes=200_000, max_request_bytes=1_000_000, max_requests=8, max_bytes_in_flight=2_000_000)


@pytest.fixture
def redactor() -> Redactor | None:
    return Redactor(Rules())


@pytest.fixture
async def receivers(tmp_path: Path, limits: Limits, redactor: Redactor | None) -> AsyncIterator[Receivers]:
    async with contextlib.AsyncExitStack() as stack:
        metrics = MetricStore.open(tmp_path / "metrics", retention_s=3600)
        stack.callback(metrics.close)
        database = TelemetryDatabase.open(tmp_path / "telemetry.duckdb")
        stack.callback(database.close)
        counts = SelfMetrics()
        commit = await stack.enter_async_context(GroupCommit(database.write, interval_s=0.01, observe=counts.committed))
        ingest = OtlpIngest(
            commit=commit,
            metrics=MetricsIngest(metrics, metrics, redactor=redactor),
            admission=Admission(limits),
            counts=counts,
            intake=Intake(limits, redactor),
        )
        server, grpc_port = otlp_grpc_server(ingest, host="127.0.0.1", port=0)
        await server.start()
        stack.push_async_callback(server.stop, None)
        http, jaeger, stop = free_port(), free_port(), asyncio.Event()
        traces = TraceReader(database)
        listeners = [Listener(otlp_http_app(ingest), http), Listener(jaeger_app(traces), jaeger)]
        serving = asyncio.create_task(serve(listeners, stop=stop))
        await wait_for_port(http)
        await wait_for_port(jaeger)
        yield Receivers(
            http=f"http://127.0.0.1:{http}",
            grpc=f"127.0.0.1:{grpc_port}",
            jaeger=f"http://127.0.0.1:{jaeger}",
            traces=traces,
            logs=LogReader(database),
            metrics=metrics,
            ingest=ingest,
            counts=counts,
        )
        stop.set()
        await serving
