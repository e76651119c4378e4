"""
What a collector does when it is abused: prompt errors, bounded memory, and good senders are still served.

`STEERSMAN_FLOOD_S=60` floods for a minute instead of a few seconds.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import cramjam
import grpc.aio
import httpx
import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from trace_campaign import RECORDS, RunningCollector, trace_request

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

FLOOD_S = float(os.environ.get("STEERSMAN_FLOOD_S", "3"))
FLOODERS = 150  # connections; ten times as many requests at once as one core takes
PROMPT_S = 15.0  # the collector shares two cores with the flood and may be answering it
# 48 MiB in flight and what their columns take, over a collector at rest; a bomb is 400 MiB.
GROWTH_LIMIT_MB = 300
PROTOBUF = {"content-type": "application/x-protobuf"}
TRIES = 100
AT_ONCE = 100  # traces asked for at once
# Refused while it was still being sent: the reset may overtake the 503. Nothing was acknowledged.
RESET = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with RunningCollector.start(tmp_path_factory.mktemp("flooded")) as running:
        yield running


class GoodTraffic:
    """Sends what is right, at a modest rate, trying again when it is told to, as an exporter does."""

    def __init__(self, collector: RunningCollector, first: int) -> None:
        self._collector = collector
        self._next = first
        self.acknowledged: list[int] = []
        self.begun = asyncio.Event()
        self.slowest_s = 0.0

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self._collector.otlp_http, timeout=PROMPT_S) as http:
            while True:
                number, self._next = self._next, self._next + 1
                began = time.monotonic()
                answer = await self._sent(http, number)
                assert answer.status_code == 200, answer.text
                self.acknowledged.append(number)
                self.begun.set()
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                await asyncio.sleep(0.02)

    async def _sent(self, http: httpx.AsyncClient, number: int) -> httpx.Response:
        for _ in range(TRIES):
            try:
                answer = await http.post("/v1/traces", content=trace_request(number), headers=PROTOBUF)
            except RESET as error:
                last: httpx.Response | httpx.TransportError = error
                await asyncio.sleep(0.25)
                continue
            if answer.status_code != 503:
                return answer
            last = answer
            await asyncio.sleep(float(answer.headers["retry-after"]) / 4)
        raise AssertionError(f"not served within {TRIES} tries: {last!r}")


@asynccontextmanager
async def good_traffic(collector: RunningCollector, first: int) -> AsyncIterator[GoodTraffic]:
    """Throughout the block; on leaving, everything that was acknowledged is found, once."""
    traffic = GoodTraffic(collector, first)
    task = asyncio.create_task(traffic.run())
    memory = psutil.Process(collector.pid).memory_info().rss
    try:
        yield traffic
        await asyncio.wait([task, asyncio.create_task(traffic.begun.wait())], return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    assert isinstance(outcome, asyncio.CancelledError), outcome
    assert traffic.slowest_s < 2 * PROMPT_S
    assert _peak_bytes(collector.pid) - memory < GROWTH_LIMIT_MB * 1e6
    await assert_all_there(collector, traffic.acknowledged)


def _peak_bytes(pid: int) -> int:
    """The most memory that the process ever had; elsewhere than on Linux, what it has now."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return int(psutil.Process(pid).memory_info().rss)
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


async def test_a_flood_is_told_to_wait_and_good_traffic_is_served(collector: RunningCollector) -> None:
    outcomes: Counter[str] = Counter()
    acknowledged: list[int] = []
    numbers = iter(range(1_000_000, 2_000_000))
    ends = time.monotonic() + FLOOD_S

    async def flood_http(http: httpx.AsyncClient) -> None:
        while time.monotonic() < ends:
            number = next(numbers)
            try:
                answer = await http.post("/v1/traces", content=trace_request(number), headers=PROTOBUF)
            except RESET:
                outcomes["reset"] += 1
                continue
            outcomes[str(answer.status_code)] += 1
            if answer.status_code == 200:
                acknowledged.append(number)

    async def flood_grpc(channel: grpc.aio.Channel) -> None:
        export = channel.unary_unary(EXPORT)
        while time.monotonic() < ends:
            try:
                number = next(numbers)
                await export(trace_request(number))
                outcomes["OK"] += 1
                acknowledged.append(number)
            except grpc.aio.AioRpcError as error:
                outcomes[error.code().name] += 1

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        good_traffic(collector, 0) as good,
        httpx.AsyncClient(base_url=collector.otlp_http, timeout=60, limits=limits) as http,
        grpc.aio.insecure_channel(collector.otlp_grpc) as channel,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(FLOODERS):
            group.create_task(flood_http(http))
        for _ in range(FLOODERS // 5):
            group.create_task(flood_grpc(channel))
    peak_mb = _peak_bytes(collector.pid) / 1e6
    served = f"{len(good.acknowledged)} of the good, the slowest {good.slowest_s:.1f} s"
    print(f"{FLOOD_S:g} s of flood: {dict(outcomes)}; {served}; {peak_mb:.0f} MB")
    assert outcomes.keys() <= {"200", "503", "reset", "OK", "UNAVAILABLE"}
    assert outcomes["200"] > 0
    assert outcomes["OK"] > 0
    await assert_all_there(collector, acknowledged)


async def assert_all_there(collector: RunningCollector, numbers: Sequence[int]) -> None:
    async with httpx.AsyncClient(base_url=collector.jaeger, timeout=60) as jaeger:
        for start in range(0, len(numbers), AT_ONCE):
            ids = [f"{number + 1:032x}" for number in numbers[start : start + AT_ONCE]]
            answer = await jaeger.get("/api/traces", params=[("traceID", trace_id) for trace_id in ids])
            found = {trace["traceID"]: len(trace["spans"]) for trace in answer.json()["data"]}
            assert found == dict.fromkeys(ids, RECORDS)


async def test_slow_senders_do_not_keep_the_others_out(collector: RunningCollector) -> None:
    """More of them than requests are worked on at once: some stop within the body, some within the headers."""
    url = httpx.URL(collector.otlp_http)
    head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
    beginnings = [head + b"content-length: 1000\r\n\r\nthe beginning", head, b""]
    connections = [await asyncio.open_connection(url.host, url.port) for _ in range(120)]
    for index, (_, writer) in enumerate(connections):
        writer.write(beginnings[index % len(beginnings)])
    try:
        async with (
            good_traffic(collector, 10_000) as good,
            grpc.aio.insecure_channel(collector.otlp_grpc) as channel,
            asyncio.timeout(PROMPT_S),
        ):
            silent = [channel.stream_unary(EXPORT)() for _ in range(80)]  # their message does not come
            status = await connections[0][0].readline()
            assert status.split()[1] == b"503"  # may be tried again
            assert {await call.code() for call in silent} == {grpc.StatusCode.UNAVAILABLE}
        assert len(good.acknowledged) >= 5
    finally:
        for _, writer in connections:
            writer.close()


async def test_bombs_are_refused_while_they_are_inflated(collector: RunningCollector) -> None:
    zeros = bytes(400 << 20)  # more than the memory may grow by
    bombs = {"gzip": gzip.compress(zeros, 1), "zstd": bytes(cramjam.zstd.compress(zeros))}
    bombs["gzip in gzip"] = gzip.compress(bombs["gzip"])
    async with (
        good_traffic(collector, 20_000),
        httpx.AsyncClient(base_url=collector.otlp_http, timeout=PROMPT_S) as http,
    ):
        for name, bomb in bombs.items():
            headers = PROTOBUF | {"content-encoding": name.split()[0]}
            answers = await asyncio.gather(
                *(http.post("/v1/traces", content=bomb, headers=headers) for _ in range(5)), return_exceptions=True
            )
            for answer in answers:
                if isinstance(answer, httpx.Response):
                    assert answer.status_code in ({400} if name == "gzip in gzip" else {413, 503}), name
                else:  # over max_body_bytes as sent: it was answered and closed before all of it was written
                    assert isinstance(answer, httpx.TransportError), answer
        async with grpc.aio.insecure_channel(collector.otlp_grpc, compression=grpc.Compression.Gzip) as channel:
            calls = [channel.unary_unary(EXPORT)(bytes(32 << 20)) for _ in range(3)]
            assert {await call.code() for call in calls} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_a_body_of_100_mib_is_refused_before_it_is_read(collector: RunningCollector) -> None:
    url = httpx.URL(collector.otlp_http)
    async with good_traffic(collector, 30_000), asyncio.timeout(PROMPT_S):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n")
        writer.write(b"content-length: 104857600\r\n\r\n" + bytes(1000))
        assert b" 413 " in await reader.readline()
        writer.close()
        async with httpx.AsyncClient(base_url=collector.otlp_http, timeout=PROMPT_S) as http:
            try:  # without a length it is noticed as it comes
                answer = await http.post("/v1/logs", content=_mebibytes(100), headers=PROTOBUF)
                assert answer.status_code == 413
            except httpx.TransportError:
                pass  # it was answered and closed before all of it was written
        limits = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(collector.otlp_grpc, options=limits) as channel:
            call = channel.unary_unary(EXPORT)(bytes(100 << 20))
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def _mebibytes(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(1 << 20)


async def test_broken_requests_get_their_error_and_store_nothing(collector: RunningCollector) -> None:
    chance = random.Random(11)
    whole = trace_request(77)
    bodies = [whole[: chance.randrange(1, len(whole))] for _ in range(40)]
    bodies += [chance.randbytes(chance.randrange(1, 5000)) for _ in range(40)]
    bodies += [_flipped(whole, chance) for _ in range(40)]
    deep = _deep_protobuf(5000)
    packed = {"gzip": gzip.compress(whole), "zstd": bytes(cramjam.zstd.compress(whole))}
    json_bodies = [b"[" * 100_000, b'{"resourceSpans":' * 5000, _deep_json(5000), b"\xff\xfe", b"null", b"1e999999999"]
    async with (
        good_traffic(collector, 40_000),
        httpx.AsyncClient(base_url=collector.otlp_http, timeout=PROMPT_S) as http,
    ):
        for path in ("/v1/traces", "/v1/logs", "/v1/metrics"):
            for body in bodies:
                status = (await http.post(path, content=body, headers=PROTOBUF)).status_code
                assert status in {200, 400}  # some of them are, by chance, requests
            assert (await http.post(path, content=deep, headers=PROTOBUF)).status_code == 400
            for encoding, body in packed.items():
                for size in range(1, len(body), len(body) // 5):
                    headers = PROTOBUF | {"content-encoding": encoding}
                    assert (await http.post(path, content=body[:size], headers=headers)).status_code == 400
            for body in json_bodies:
                answer = await http.post(path, content=body, headers={"content-type": "application/json"})
                assert answer.status_code == 400, body[:40]
                assert answer.json()["message"]
        async with grpc.aio.insecure_channel(collector.otlp_grpc) as channel:
            export = channel.unary_unary(EXPORT)
            assert await export(deep).code() is grpc.StatusCode.INVALID_ARGUMENT
            calls = [export(body) for body in bodies[:60]]
            codes = {await call.code() for call in calls}
            assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE}
            assert grpc.StatusCode.INVALID_ARGUMENT in codes


def _flipped(whole: bytes, chance: random.Random) -> bytes:
    body = bytearray(whole)
    for _ in range(chance.randrange(1, 6)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return bytes(body)


def _deep_protobuf(depth: int) -> bytes:
    """A resource with arrays in arrays; the field numbers are those of all three requests."""
    value = b""
    for _ in range(depth):
        value = _field(5, _field(1, value))  # AnyValue.array_value, ArrayValue.values
    attribute = _field(1, b"k") + _field(2, value)
    return _field(1, _field(1, _field(1, attribute)))


def _field(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _deep_json(depth: int) -> bytes:
    value = b'{"arrayValue":{"values":[' * depth + b'{"boolValue":true}' + b"]}}" * depth
    return (
        b'{"resourceSpans":[{"resource":{"attributes":[{"key":"k","value":'
        + value
        + b"}]}}],"
        + b'"resourceLogs":[{"resource":{"attributes":[{"key":"k","value":'
        + value
        + b"}]}}],"
        + b'"resourceMetrics":[{"resource":{"attributes":[{"key":"k","value":'
        + value
        + b"}]}}]}"
    )


async def test_secrets_are_masked_by_default(
    collector: RunningCollector,
) -> None:
    request = ExportTraceServiceRequest.FromString(trace_request(50_000))
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="http.request.header.authorization").value.string_value = "Bearer of-a-secret"
    span.name = "GET https://user:of-a-secret@shop/"
    async with httpx.AsyncClient(timeout=PROMPT_S) as http:
        body = request.SerializeToString()
        answer = await http.post(f"{collector.otlp_http}/v1/traces", content=body, headers=PROTOBUF)
        assert answer.status_code == 200
        trace = await http.get(f"{collector.jaeger}/api/traces/{50_001:032x}")
        metrics = await http.get(f"{collector.http}/metrics")
    assert "of-a-secret" not in trace.text
    assert "GET https://user:<redacted>@shop/" in trace.text
    assert "steersman_collector_redacted_values_total 2.0" in metrics.text
    data = Path(collector.log).parent / "data"
    assert not any(b"of-a-secret" in path.read_bytes() for path in data.rglob("*") if path.is_file())


def test_the_collector_is_still_the_same_process(collector: RunningCollector) -> None:
    """And its log says of nothing that it was unexpected. Last in the file."""
    assert psutil.pid_exists(collector.pid)
    log = Path(collector.log).read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
