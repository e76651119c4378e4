"""What the collector does to its store of traces and logs now and then: removes what is old, indexes what is new."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial

from collector.config import StorageConfig
from collector.errors import TemporaryError
from collector.model.telemetry import Batch
from collector.pipeline.commit import GroupCommit
from collector.pipeline.retention import Retention
from collector.pipeline.self_metrics import SelfMetrics
from collector.storage.traces.database import TelemetryDatabase
from steersman.runtime.memory import give_back_memory

RETENTION_EVERY_S = 60.0
INDEX_EVERY_S = 2.0  # a block takes as long to fill at half of what one core takes in


async def retain(
    commit: GroupCommit[Batch], database: TelemetryDatabase, counts: SelfMetrics, storage: StorageConfig
) -> None:
    retention = Retention(database, commit.alone, most_bytes=storage.retention_size)
    while True:
        removed = await retention.remove_before(int((time.time() - storage.retention) * 1000))
        counts.removed("spans", removed.spans)
        counts.removed("logs", removed.logs)
        give_back_memory()
        await asyncio.sleep(RETENTION_EVERY_S)


async def index(commit: GroupCommit[Batch], database: TelemetryDatabase) -> None:
    while True:
        with contextlib.suppress(TemporaryError):  # busy, or the disk is full; searches do without meanwhile
            while (block := await asyncio.to_thread(database.next_block)) is not None:
                await commit.alone(partial(database.keep_block, block))
            await commit.alone(database.sort_extents)
        await asyncio.sleep(INDEX_EVERY_S)
