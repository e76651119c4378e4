"""Senders with real queues, over HTTP, against a destination that is told what to say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.responses import Response
from trace_campaign import RECORDS, trace_request

from collector.forward import sender as sender_module
from collector.forward.destination import Access, Endpoint
from collector.forward.destination_http import HttpDestination
from collector.forward.queue import DiskQueue
from collector.forward.record import QueuedRequest
from collector.forward.refused import RefusedRequests
from collector.forward.sender import Sender
from collector.receivers.otlp_ingest import Signal, digest_of
from collector.storage.seal import Unsealed

PATIENCE_S = 20.0


def put(sender: Sender, *texts: str) -> None:
    requests = [QueuedRequest.of(text.encode(), items=10, now_ms=1, digest=digest_of(text.encode())) for text in texts]
    sender.queue.append(requests)
    sender.wake()


@asynccontextmanager
async def sending(directory: Path, scripted, **options) -> AsyncIterator[Sender]:
    access = options.pop("access", Access())
    destination = HttpDestination(Endpoint.parse(scripted.url), access, connections=8)
    queue = DiskQueue.open("traces", directory / "queue", max_bytes=1 << 20)
    refused = RefusedRequests(directory / "refused", seal=Unsealed())
    options = {"in_flight": 1, "bytes_per_s": 1e9} | options
    sender = Sender(Signal.TRACES, queue, destination, refused, **options)
    task = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await destination.close()
        queue.close()


async def delivered(sender: Sender) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sender.queue.requests:  # noqa: ASYNC110  (it tells no event)
            await asyncio.sleep(0.005)


async def test_requests_are_delivered_in_order_and_counted(tmp_path, scripted):
    async with sending(tmp_path, scripted) as sender:
        put(sender, "one", "two")
        put(sender, "three")
        await delivered(sender)
        assert scripted.received == [("/v1/traces", text) for text in (b"one", b"two", b"three")]
        assert (sender.stats.sent, sender.stats.rejected, sender.stats.refused) == (30, 0, 0)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_bodies_are_packed_as_asked(tmp_path, scripted, compression):
    async with sending(tmp_path, scripted, access=Access(compression=compression)) as sender:
        put(sender, "x" * 1000)
        await delivered(sender)
    assert scripted.bodies == [b"x" * 1000]
    assert scripted.headers[0].get("content-encoding", "none") == compression


async def test_a_destination_that_is_busy_is_given_the_time_it_asks_for(tmp_path, scripted):
    scripted.answers += [Response(status_code=503, headers={"retry-after": "1"}), Response(status_code=429)]
    async with sending(tmp_path, scripted) as sender:
        began = time.monotonic()
        put(sender, "one", "two")
        await delivered(sender)
        assert time.monotonic() - began >= 1.0
        assert scripted.bodies == [b"one", b"one", b"one", b"two"]
        assert sender.stats.retries == {"503": 1, "429": 1}
        assert not sender.failing


async def test_while_the_destination_fails_one_request_at_a_time_asks(tmp_path, scripted):
    scripted.hold.clear()
    scripted.answers += [Response(status_code=503)] * 8
    async with sending(tmp_path, scripted, in_flight=4) as sender:
        put(sender, *(str(number) for number in range(10)))
        async with asyncio.timeout(PATIENCE_S):
            while scripted.at_once < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        scripted.at_once = 0
        scripted.hold.set()  # the four fail, and then four times one
        await delivered(sender)
        assert sender.stats.retries == {"503": 8}
        assert set(scripted.bodies) == {str(number).encode() for number in range(10)}
        assert len(scripted.bodies) == 18


async def test_no_more_requests_are_under_way_than_may(tmp_path, scripted):
    scripted.hold.clear()
    async with sending(tmp_path, scripted, in_flight=3) as sender:
        put(sender, *(str(number) for number in range(20)))
        async with asyncio.timeout(PATIENCE_S):
            while scripted.at_once < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        scripted.hold.set()
        await delivered(sender)
    assert scripted.at_once == 3


async def test_what_is_refused_for_good_is_kept_aside_and_the_rest_goes_on(tmp_path, scripted):
    status = Status(code=3, message="no such thing").SerializeToString()
    scripted.answers.append(Response(status, 400, media_type="application/x-protobuf"))
    async with sending(tmp_path, scripted) as sender:
        put(sender, "bad", "good")
        await delivered(sender)
        assert scripted.bodies == [b"bad", b"good"]
        assert (sender.stats.sent, sender.stats.refused) == (10, 10)
    (kept,) = (tmp_path / "refused").glob("*.traces")
    assert kept.read_bytes() == b"bad"
    assert kept.with_name(kept.name + ".reason").read_text() == "HTTP 400: no such thing\n"


async def test_an_internal_error_holds_up_the_others_for_some_tries_only(tmp_path, scripted, caplog):
    scripted.when[b"poison"] = 500
    async with sending(tmp_path, scripted) as sender:
        put(sender, "poison", "good")
        await delivered(sender)
        assert scripted.bodies == [b"poison"] * sender_module.UNSURE_TRIES + [b"good"]
        assert sender.stats.refused == 10
    assert "HTTP 500" in caplog.text


async def test_a_wrong_token_loses_nothing_and_its_file_is_read_again(tmp_path, scripted):
    file = tmp_path / "token"
    file.write_text("old\n")
    async with sending(tmp_path, scripted, access=Access(token_file=file)) as sender:
        scripted.answers += [Response(status_code=401)]
        file.write_text("new\n")
        put(sender, "one")
        await delivered(sender)
    assert [headers["authorization"] for headers in scripted.headers] == ["Bearer old", "Bearer new"]


async def test_items_that_the_destination_leaves_out_are_counted_and_not_sent_again(tmp_path, scripted):
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 3
    scripted.answers.append(Response(response.SerializeToString(), media_type="application/x-protobuf"))
    async with sending(tmp_path, scripted) as sender:
        put(sender, "one")
        await delivered(sender)
        assert (sender.stats.sent, sender.stats.rejected) == (7, 3)
        assert scripted.bodies == [b"one"]


async def test_a_sender_that_is_run_again_goes_on_where_it_was(tmp_path, scripted):
    scripted.hold.clear()
    async with sending(tmp_path, scripted) as sender:
        put(sender, "one", "two")
        await asyncio.sleep(0)
    scripted.hold.set()
    async with sending(tmp_path, scripted) as sender:
        await delivered(sender)
    assert set(scripted.bodies) == {b"one", b"two"}


async def test_a_pace_bounds_what_is_sent(tmp_path, scripted):
    async with sending(tmp_path, scripted, bytes_per_s=1000.0, in_flight=8) as sender:
        began = time.monotonic()
        put(sender, *(f"{number:0100d}" for number in range(14)))  # a second's at once, then 400 bytes
        await delivered(sender)
        assert time.monotonic() - began > 0.35


def test_refused_requests_have_a_bound_and_the_oldest_go(tmp_path):
    refused = RefusedRequests(tmp_path, seal=Unsealed(), max_bytes=250)
    for number in range(5):
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        refused.keep(Signal.LOGS, bytes([number]) * 100, "why", now=now)
    assert sorted(path.read_bytes()[0] for path in tmp_path.glob("*.logs")) == [3, 4]
    assert len(list(tmp_path.glob("*.reason"))) == 2
    assert refused.removed == 3


async def test_a_request_that_is_too_large_for_the_destination_is_sent_in_parts(tmp_path, scripted):
    request = ExportTraceServiceRequest.FromString(trace_request(1))
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[7].name = "x" * 10_000
    scripted.largest = 3_000
    async with sending(tmp_path, scripted) as sender:
        body = request.SerializeToString()
        sender.queue.append([QueuedRequest.of(body, items=len(spans), now_ms=1, digest=digest_of(body))])
        sender.wake()
        await delivered(sender)
        assert (sender.stats.sent, sender.stats.refused) == (RECORDS - 1, 1)
    names = [
        span.name
        for body in scripted.bodies
        if len(body) <= scripted.largest
        for span in ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    ]
    assert names == [span.name for span in spans if span.name != spans[7].name]
    (kept,) = (tmp_path / "refused").glob("*.traces")
    assert ExportTraceServiceRequest.FromString(kept.read_bytes()).resource_spans[0].scope_spans[0].spans[0] == spans[7]
