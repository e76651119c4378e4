"""
Clients that open connections and send their headers slowly, or nothing: each port of a collector gives them up, serves
the others meanwhile, and holds nothing for them afterwards.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from trace_campaign import RunningCollector, trace_request

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

GIVEN_UP_AFTER_S = 1.5  # in place of ten seconds
SHORTER = f"""
import sys
from steersman.runtime import http_connection
from collector.receivers import otlp_grpc
http_connection.HEADER_TIMEOUT_S = {GIVEN_UP_AFTER_S}
otlp_grpc.HANDSHAKE_TIMEOUT_S = {GIVEN_UP_AFTER_S}
from collector.app import main
sys.exit(main(sys.argv[4:]))
"""
SLOW_CLIENTS = 60  # on each port
PATIENCE_S = 20.0  # for a machine that does other things


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    directory = tmp_path_factory.mktemp("slow")
    with RunningCollector.start(directory, prefix=[sys.executable, "-c", SHORTER]) as running:
        yield running


async def test_slow_clients_are_given_up_on_every_port(collector: RunningCollector) -> None:
    ports = [collector.http, collector.otlp_http, collector.jaeger, f"http://{collector.otlp_grpc}"]
    before = connections(collector)
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        slow = [
            group.create_task(_slow(httpx.URL(port).port or 0, talks=index % 2 == 0))
            for port in ports
            for index in range(SLOW_CLIENTS)
        ]
        good = group.create_task(_good(collector, until=slow))
    assert time.monotonic() - began >= GIVEN_UP_AFTER_S  # no client was turned away at the door
    assert good.result() > 0
    told = [task.result().partition(b"\r\n")[0] for task in slow[: 3 * SLOW_CLIENTS : 2]]
    assert {b"HTTP/1.1 408 Request Timeout"} <= set(told) <= {b"HTTP/1.1 408 Request Timeout", b""}
    async with asyncio.timeout(PATIENCE_S):
        while connections(collector) > before:  # noqa: ASYNC110  (the kernel tells no event)
            await asyncio.sleep(0.05)


def connections(collector: RunningCollector) -> int:
    return sum(one.status == "ESTABLISHED" for one in psutil.Process(collector.pid).net_connections("tcp"))


async def _slow(port: int, *, talks: bool) -> bytes:
    """What it is told before it is given up; `talks`: a byte of a header every now and then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def talk() -> None:
        for byte in b"GET /api/v1/query HTTP/1.1\r\nx-long: " + b"x" * 10_000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.1)

    talking = asyncio.create_task(talk()) if talks else None
    try:
        return await reader.read()
    except ConnectionResetError:  # it was just sending, and the reset has overtaken the answer
        return b""
    finally:
        if talking:
            talking.cancel()
        writer.close()


async def _good(collector: RunningCollector, until: list[asyncio.Task[bytes]]) -> int:
    """How many exports and queries were served while the slow ones were there; each of them was."""
    served = 0
    headers = {"content-type": "application/x-protobuf"}
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        while not all(task.done() for task in until):
            sent = await http.post(f"{collector.otlp_http}/v1/traces", content=trace_request(served), headers=headers)
            found = await http.get(f"{collector.jaeger}/api/traces/{served + 1:032x}")
            asked = await http.get(f"{collector.http}/api/v1/query", params={"query": "1"})
            assert (sent.status_code, found.status_code, asked.status_code) == (200, 200, 200)
            served += 1
    return served


def test_the_log_calls_none_of_it_unexpected(collector: RunningCollector) -> None:
    log = Path(collector.log).read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
