from __future__ import annotations

import asyncio
import threading

import pyarrow as pa
import pytest

from collector.errors import BadRequestError, TemporaryError
from collector.model.telemetry import SpanBatch
from collector.pipeline.commit import ENOUGH_ROWS, MAX_ROWS, PLENTY_ROWS, GroupCommit


def batch(name: str, rows: int = 1) -> SpanBatch:
    return SpanBatch(pa.table({"name": [name] * rows}), {}, {})


def names(batches) -> list[str]:
    return [item.table["name"][0].as_py() for item in batches]


async def test_what_comes_during_a_commit_shares_the_next_one():
    groups, entered, go_on = [], threading.Event(), threading.Event()

    def write(batches):
        groups.append(names(batches))
        entered.set()
        assert go_on.wait(10)

    async with GroupCommit(write, interval_s=0) as commit:
        first = asyncio.create_task(commit.submit(batch("first")))
        await asyncio.to_thread(entered.wait, 10)
        others = [asyncio.create_task(commit.submit(batch(f"{number}"))) for number in range(5)]
        await asyncio.sleep(0)
        assert not first.done()
        go_on.set()
        await asyncio.gather(first, *others)
    assert groups == [["first"], ["0", "1", "2", "3", "4"]]


async def test_one_bad_batch_fails_alone():
    kept = []

    def write(batches):
        if "bad" in names(batches):
            raise TemporaryError("disk full")
        kept.extend(names(batches))

    async with GroupCommit(write, interval_s=0) as commit:
        outcomes = await asyncio.gather(
            *(commit.submit(batch(name)) for name in ("good", "bad", "fine")), return_exceptions=True
        )
    assert [type(outcome) for outcome in outcomes] == [type(None), TemporaryError, type(None)]
    assert kept == ["good", "fine"]


async def test_a_large_backlog_is_split():
    sizes = []
    write = lambda batches: sizes.append(sum(item.table.num_rows for item in batches))  # noqa: E731
    async with GroupCommit(write, interval_s=0) as commit:
        await asyncio.gather(*(commit.submit(batch("big", MAX_ROWS // 2)) for _ in range(5)))
    assert max(sizes) <= MAX_ROWS
    assert sum(sizes) == 5 * (MAX_ROWS // 2)


async def test_enough_rows_do_not_wait_for_the_interval():
    async with GroupCommit(lambda _batches: None, interval_s=3600) as commit:
        await commit.submit(batch("first"))
        async with asyncio.timeout(5):
            await commit.submit(batch("large", ENOUGH_ROWS))


async def test_leaving_commits_what_is_pending_and_refuses_what_comes_later():
    kept = []
    commit = GroupCommit(lambda batches: kept.extend(names(batches)), interval_s=3600)
    async with commit:
        await commit.submit(batch("first"))
        late = asyncio.create_task(commit.submit(batch("late")))
        await asyncio.sleep(0)
    await late
    assert kept == ["first", "late"]
    with pytest.raises(TemporaryError, match="shutting down"):
        await commit.submit(batch("too late"))


async def test_a_sender_that_has_gone_does_not_stop_the_others():
    entered, go_on = threading.Event(), threading.Event()

    def write(_batches):
        entered.set()
        assert go_on.wait(10)

    async with GroupCommit(write, interval_s=0) as commit:
        gone = asyncio.create_task(commit.submit(batch("gone")))
        await asyncio.to_thread(entered.wait, 10)
        gone.cancel()
        other = asyncio.create_task(commit.submit(batch("other")))
        await asyncio.sleep(0)
        go_on.set()
        await other
    assert gone.cancelled()


async def test_what_is_being_decoded_joins_the_next_commit():
    groups = []
    async with GroupCommit(lambda batches: groups.append(names(batches)), interval_s=3600) as commit:
        await commit.submit(batch("first"))
        with commit.coming():
            early = asyncio.create_task(commit.submit(batch("early", ENOUGH_ROWS)))
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.gather(early, commit.submit(batch("late")))
    assert groups == [["first"], ["early", "late"]]


async def test_what_is_decoded_in_vain_delays_nobody_for_longer():
    async with GroupCommit(lambda _batches: None, interval_s=3600) as commit:
        await commit.submit(batch("first"))
        in_vain = commit.coming()
        in_vain.__enter__()
        waiting = asyncio.create_task(commit.submit(batch("good", ENOUGH_ROWS)))
        await asyncio.sleep(0)
        assert not in_vain.__exit__(BadRequestError, BadRequestError("malformed"), None)
        async with asyncio.timeout(5):
            await waiting


async def test_plenty_of_rows_wait_for_nothing():
    async with GroupCommit(lambda _batches: None, interval_s=3600) as commit:
        await commit.submit(batch("first"))
        with commit.coming():
            async with asyncio.timeout(5):
                await commit.submit(batch("large", PLENTY_ROWS))
