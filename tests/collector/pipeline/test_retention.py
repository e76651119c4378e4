from __future__ import annotations

from itertools import pairwise

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.pipeline import retention
from collector.pipeline.commit import GroupCommit
from collector.pipeline.retention import Retention
from collector.pipeline.spans import decode_spans
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader


def request(number: int, *, spans: int, service: str = "shop"):
    made = ExportTraceServiceRequest()
    per_resource = made.resource_spans.add()
    per_resource.resource.attributes.add(key="service.name").value.string_value = service
    per_scope = per_resource.scope_spans.add()
    for place in range(spans):
        span = per_scope.spans.add(
            trace_id=(number + 1).to_bytes(16), span_id=(number * spans + place + 1).to_bytes(8), name="op"
        )
        span.start_time_unix_nano = 1_700_000_000 * 10**9 + number
        span.attributes.add(key="id").value.string_value = f"{number}-{place}-" + "x" * 100
    return decode_spans(made.SerializeToString(), received_ms=number)


@pytest.fixture
def database(tmp_path):
    opened = TelemetryDatabase.open(tmp_path / "telemetry.duckdb")
    yield opened
    opened.close()


def received(database) -> list[int]:
    with database.reading() as cursor:
        return [row[0] for row in cursor.execute("SELECT received_ms FROM spans ORDER BY ALL").fetchall()]


async def test_what_is_removed_goes_in_steps_between_which_commits_pass(database, monkeypatch):
    monkeypatch.setattr(retention, "STEP_ROWS", 10)
    database.write([request(number, spans=5) for number in range(20)])
    async with GroupCommit(database.write, interval_s=0) as commit:
        steps = []

        async def alone(work):
            steps.append(len(received(database)))
            if len(steps) == 2:
                await commit.submit(request(99, spans=5))
            return await commit.alone(work)

        removed = await Retention(database, alone).remove_before(18)
    assert (removed.spans, removed.logs) == (90, 0)
    assert received(database) == [18] * 5 + [19] * 5 + [99] * 5
    taken = [before - after for before, after in pairwise(steps)]
    assert max(taken) <= 15  # whole milliseconds go at once
    assert len(steps) > 5


async def test_a_resource_that_comes_again_while_it_is_removed_stays(database):
    database.write([request(1, spans=1, service="old"), request(5, spans=1, service="new")])
    async with GroupCommit(database.write, interval_s=0) as commit:
        waiting = []

        async def alone(work):
            if getattr(work, "func", None) == database.remove_origins and not waiting:
                waiting.append(True)
                await commit.submit(request(9, spans=1, service="old"))
            return await commit.alone(work)

        assert (await Retention(database, alone).remove_before(5)).spans == 1
    assert waiting
    assert TraceReader(database).trace(10).spans[0].resource.service == "old"
    with database.reading() as cursor:
        assert cursor.execute("SELECT service FROM resources ORDER BY ALL").fetchall() == [("new",), ("old",)]


async def test_a_resource_that_nothing_refers_to_is_removed_and_learned_again(database):
    database.write([request(1, spans=1, service="old"), request(5, spans=1, service="new")])
    async with GroupCommit(database.write, interval_s=0) as commit:
        await Retention(database, commit.alone).remove_before(5)
        with database.reading() as cursor:
            assert cursor.execute("SELECT service FROM resources").fetchall() == [("new",)]
        await commit.submit(request(9, spans=1, service="old"))
    assert TraceReader(database).trace(10).spans[0].resource.service == "old"


async def test_what_exceeds_the_size_is_removed_oldest_first(database):
    for number in range(24):
        database.write([request(number, spans=6_000)])
    database.checkpoint()
    size = database.used_bytes()
    async with GroupCommit(database.write, interval_s=0) as commit:
        within = Retention(database, commit.alone, most_bytes=size)
        assert (await within.remove_before(0)).spans == 0
        smaller = Retention(database, commit.alone, most_bytes=size // 3)
        removed = await smaller.remove_before(0)
        assert 12 * 6_000 <= removed.spans <= 20 * 6_000
        left = received(database)
        assert left[-1] == 23
        assert left[0] == removed.spans // 6_000  # whole requests, from the oldest on
        assert (await smaller.remove_before(0)).spans <= 4 * 6_000  # what was not freed yet is not removed twice
