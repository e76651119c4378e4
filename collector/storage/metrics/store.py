"""
The metric store: a durable SampleSink, and a SeriesSource for queries.

    append -> committer thread -> catalog (new series), log (samples), one sync -> heads, index -> acknowledged
    every few minutes          -> rows older than HEAD_MS leave the heads for a segment, sync, old log files go
    every two hours            -> a finished segment file is merged into long chunks by a thread of its own
    open                       -> catalog, headers of segments, log files: at most some minutes of samples to replay
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from collector.errors import LimitExceededError, TemporaryError
from collector.model.series import (
    AppendOutcome,
    MetricMetadata,
    RefusalReason,
    SampleBatch,
    SampleTable,
)
from collector.storage.encryption import EncryptionKey
from collector.storage.metrics.cardinality import Cardinality, costs_of
from collector.storage.metrics.catalog import Catalog
from collector.storage.metrics.committer import Committer, PendingAppend
from collector.storage.metrics.exemplars import LIMIT as EXEMPLAR_LIMIT
from collector.storage.metrics.intake import Intake, TimeRules
from collector.storage.metrics.reading import StoredSeries
from collector.storage.metrics.replay import replay
from collector.storage.metrics.sealing import AHEAD_MS, SEAL_EVERY_MS, SEAL_WAIT_MS, Sealing
from collector.storage.metrics.segment import SegmentStore
from collector.storage.metrics.table import SeriesTable
from collector.storage.metrics.tally import Tally
from collector.storage.metrics.wal import LoggedExemplar, LoggedHistograms, LogRecord, WriteAheadLog
from collector.storage.seal import Seal, seal_of

_log = logging.getLogger(__name__)

SEGMENT_BYTES = 64 * 1024 * 1024
SEGMENT_MS = 2 * 3_600_000  # a file goes as a whole, so this (or an eighth of the retention) is how exact retention is
CACHE_IDLE_MS = 60_000  # unpacked samples that nobody asked for in this time, or twice it, are forgotten
PURPOSE = "the files of metrics"  # of the key that is derived for them
PURGE_EVERY_MS = 3_600_000
SERIES_LIMIT = 200_000  # at some 1.5 KB of labels and index each, 300 MB
TARGET_SERIES_LIMIT = 100_000  # half of all: one target gone wrong leaves room for the others
# How much older than the newest sample of its series one may be. Prometheus's default is 0, as its head would need a
# second structure; here late samples find their place at little cost. OTLP exporters repeat a failed export for up to
# five minutes (the OpenTelemetry Collector's retry_on_failure.max_elapsed_time) while later ones already came, and
# several queue consumers or remote-write shards overtake one another.
OUT_OF_ORDER_MS = 300_000
METADATA_LIMIT = 20_000
_NO_MIN_MS = (1 << 63) - 1


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class StoreStats:
    """Counters since the store was opened."""

    samples: int = 0
    histograms: int = 0  # among the samples
    repeated: int = 0  # the same value was there already
    duplicates: int = 0  # another value of that series at that timestamp was there; the first one stays
    out_of_order: int = 0  # older than the window allows
    too_old: int = 0  # beyond the retention
    too_far_ahead: int = 0  # in the future
    refused_series: int = 0  # over the limit
    commits: int = 0
    merged_segments: int = 0
    torn_log_bytes: int = 0


class SeriesLimitError(LimitExceededError):
    """New series were refused; every other sample of the append is on disk."""

    def __init__(self, message: str, refused: int) -> None:
        super().__init__(message)
        self.refused = refused  # series


class MetricStore(StoredSeries):
    """Implements SampleSink and SeriesSource. Queries may run in any thread; all writing is done by one of its own."""

    def __init__(
        self,
        directory: Path,
        *,
        retention_ms: int,
        retention_bytes: int,
        series_limit: int,
        target_series_limit: int,
        out_of_order_ms: int,
        exemplar_limit: int,
        seal: Seal,
        clock: Callable[[], int],
    ) -> None:
        self.stats = StoreStats()
        self._directory = directory
        self._retention_ms = retention_ms
        self._out_of_order_ms = out_of_order_ms
        self._clock = clock
        file_ms = max(SEAL_EVERY_MS, retention_ms // 8)
        self._catalog = Catalog(directory, seal)
        table = SeriesTable(self._catalog, limit=series_limit, limit_per_target=target_series_limit)
        # Heads, chunks, index and exemplars are changed under the lock and read under it.
        super().__init__(table, threading.RLock(), exemplar_limit=exemplar_limit)
        self._log = WriteAheadLog(directory, seal)
        self._segments = SegmentStore(directory, seal, roll_bytes=SEGMENT_BYTES, roll_ms=min(SEGMENT_MS, file_ms))
        self._sealing = Sealing(
            self._table,
            self._log,
            self._segments,
            lock=self._lock,
            retention_ms=retention_ms,
            retention_bytes=retention_bytes,
            wait_ms=min(SEAL_WAIT_MS, file_ms),
            now_ms=clock(),
        )
        self._intake = Intake(self._table, self._exemplars)
        self._metadata: dict[str, MetricMetadata] = {}
        self._purged_at = self._aged_at = clock()
        self._lock_fd = -1
        self._committer: Committer | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        retention_s: float,
        retention_bytes: int = 1 << 62,
        series_limit: int = SERIES_LIMIT,
        target_series_limit: int = TARGET_SERIES_LIMIT,
        out_of_order_s: float = OUT_OF_ORDER_MS / 1000,
        exemplar_limit: int = EXEMPLAR_LIMIT,
        key: EncryptionKey | None = None,
        clock: Callable[[], int] = _now_ms,
    ) -> MetricStore:
        """
        Open or create a store. `clock` gives Unix milliseconds.

        Args:
            retention_s, retention_bytes: Files of sealed samples go when all in them is older, and the oldest ones
                while they are larger together.
            out_of_order_s: How much older than the newest sample of its series one may be.
            exemplar_limit: How many are kept, of all series together; 0: none.
            key: What it is encrypted with. None: it is not.

        Raises:
            EncryptionError: it was written with another key.
            TemporaryError: another process has it open.
            OSError: the directory cannot be read or written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        store = cls(
            directory,
            retention_ms=int(retention_s * 1000),
            retention_bytes=retention_bytes,
            series_limit=series_limit,
            target_series_limit=target_series_limit,
            out_of_order_ms=int(out_of_order_s * 1000),
            exemplar_limit=exemplar_limit,
            seal=seal_of(key, PURPOSE),
            clock=clock,
        )
        store._acquire()
        try:
            store._recover()
        except BaseException:
            os.close(store._lock_fd)
            raise
        store._committer = Committer(store._commit, store._tick)
        return store

    def close(self) -> None:
        """Commit what waits and let go of the files. Nothing is sealed: the next open replays the log."""
        if self._committer is None or self._lock_fd < 0:
            return
        self._committer.close()
        self._sealing.close()
        self._log.close()
        self._catalog.close()
        os.close(self._lock_fd)
        self._lock_fd = -1

    # --- SampleSink

    async def append(self, batches: Sequence[SampleBatch]) -> None:
        """
        Return once the samples are on disk. What is refused is left out and counted in `stats`.

        Raises:
            SeriesLimitError: new series were over a limit; every other sample is on disk.
            TemporaryError: the disk failed or cannot keep up; nothing was acknowledged.
            ValueError: a batch has not as many values as labels.
        """
        if batches:
            _raise_over_limit(await asyncio.wrap_future(self.submit([batch.as_table() for batch in batches])))

    async def append_tables(self, tables: Sequence[SampleTable]) -> AppendOutcome:
        """
        Return once the samples are on disk, with what was refused and why.

        Raises:
            TemporaryError: the disk failed or cannot keep up; nothing was acknowledged.
            ValueError: a table's shape is wrong.
        """
        return await asyncio.wrap_future(self.submit(tables))

    def submit(self, tables: Sequence[SampleTable]) -> Future[AppendOutcome]:
        """`append_tables` for callers without an event loop. The arrays must not change any more."""
        for table in tables:
            _check(table)
        if self._committer is None:
            raise TemporaryError("the metric store is not open")
        return self._committer.submit(tables)

    def set_metadata(self, entries: Iterable[MetricMetadata]) -> None:
        """Remember type, help and unit of metric families; the last one wins. Not kept on disk: senders repeat it."""
        with self._lock:
            for entry in entries:
                if entry.name in self._metadata or len(self._metadata) < METADATA_LIMIT:
                    self._metadata[entry.name] = entry

    # --- SeriesSource, of which the rest is in StoredSeries

    def metadata(self) -> list[MetricMetadata]:
        with self._lock:
            return [self._metadata[name] for name in sorted(self._metadata)]

    # --- sizes, for the collector's own metrics

    @property
    def series_count(self) -> int:
        return len(self._table)

    @property
    def head_bytes(self) -> int:
        return self._sealing.head_bytes

    @property
    def segment_bytes(self) -> int:
        return self._segments.size

    def cardinality(self, *, top: int = 10) -> Cardinality:
        """Which metrics and labels have most series, the `top` of each list (Prometheus's default is 10 too)."""
        with self._lock:
            pairs, metrics, values, sizes, by_pair = costs_of(self._index.postings, top=top)
            groups = self._table.groups.values()
            heads = [group.head.timestamps for group in groups if group.head.rows]
            return Cardinality(
                series=len(self._index),
                label_pairs=pairs,
                chunks=sum(len(group.chunks) for group in groups),
                min_ms=min((int(each[0]) for each in heads), default=_NO_MIN_MS),
                max_ms=max((int(each[-1]) for each in heads), default=-_NO_MIN_MS - 1),
                series_by_metric=metrics,
                values_by_label=values,
                bytes_by_label=sizes,
                series_by_pair=by_pair,
            )

    # --- the committing thread

    def _commit(self, waiting: list[PendingAppend]) -> None:
        now_ms = self._clock()
        rules = TimeRules(now_ms - self._retention_ms, now_ms + AHEAD_MS, self._out_of_order_ms)
        tallies = [Tally() for _ in waiting]
        records = [
            (record, tally)
            for append, tally in zip(waiting, tallies, strict=True)
            for table in append.tables
            for record in self._intake.admit(table, rules, tally)
        ]
        try:
            self._catalog.commit()
            if records:
                self._log.commit([record for record, _ in records])
        except OSError as error:
            self._intake.undo()
            raise TemporaryError(f"the metric store cannot write to {self._directory}: {error}") from error
        except BaseException:
            self._intake.undo()
            raise
        self._intake.keep()
        with self._lock:
            self._publish(records)
        self.stats.commits += 1
        for append, tally in zip(waiting, tallies, strict=True):
            self._count(tally)
            append.done.set_result(tally.outcome())

    def _publish(self, records: list[tuple[LogRecord, Tally]]) -> None:
        if self._intake.new_series:
            self._add_series(self._intake.new_series)
            self._intake.new_series.clear()
        for record, tally in records:
            self._apply(record, tally)

    def _apply(self, record: LogRecord, tally: Tally) -> None:
        if isinstance(record, LoggedExemplar):
            self._exemplars.add(record.series, record.exemplar)
        elif isinstance(record, LoggedHistograms):
            head = self._table.groups[record.group].histograms
            for number, at, histogram in zip(record.series, record.timestamps_ms, record.histograms, strict=True):
                put = head.put(number, at, histogram)
                tally.histograms += put.stored
                tally.put(put, number, self._table)
            self._latest.never(np.array(record.series, np.uint32))
        else:
            put = self._table.groups[record.layout.group].apply(record)
            tally.put(put, int(record.layout.ids[put.conflict[0]]) if put.conflict else 0, self._table)
            self._latest.saw(record.layout.ids, record.timestamps_ms, record.values)

    def _count(self, tally: Tally) -> None:
        self.stats.samples += tally.stored
        self.stats.histograms += tally.histograms
        self.stats.merged_segments = self._sealing.merged
        self.stats.repeated += tally.repeated
        self.stats.duplicates += tally.refused(RefusalReason.DUPLICATE)
        self.stats.out_of_order += tally.refused(RefusalReason.OUT_OF_ORDER)
        self.stats.too_old += tally.refused(RefusalReason.TOO_OLD)
        self.stats.too_far_ahead += tally.refused(RefusalReason.TOO_FAR_AHEAD)
        self.stats.refused_series += tally.refused(RefusalReason.SERIES_LIMIT)

    # --- housekeeping, on the same thread

    def _tick(self) -> None:
        now_ms = self._clock()
        removed = self._sealing.tick(now_ms)
        if now_ms - self._aged_at >= CACHE_IDLE_MS:
            self._aged_at = now_ms
            with self._lock:
                self._cache.forget_idle()
        if (removed or now_ms - self._purged_at >= PURGE_EVERY_MS) and not self._catalog.pending:
            self._purged_at = now_ms
            self._purge()

    def seal_up_to(self, through_ms: int) -> None:
        """Move samples up to `through_ms` from the heads to a segment. For tests."""
        self._sealing.seal_up_to(through_ms)

    def _purge(self) -> None:
        """Forget series that have no sample left."""
        columns = {chunk.columns for group in self._table.groups.values() for chunk in group.chunks}
        kept = [each.ids for each in columns]
        for group in self._table.groups.values():
            kept += [group.head.ids, group.late.ids, np.array(list(group.histograms.rows), np.uint32)]
        alive = set(np.unique(np.concatenate(kept)).tolist()) if kept else set()
        with self._lock:
            if not self._table.keep_only(alive):
                return
            self._forget_series()
            self._intake.new_series.clear()
            self._exemplars.keep_only(alive)
        if self._catalog.entries > 2 * len(self._table):
            self._catalog.rewrite(self._table.content())

    # --- start

    def _acquire(self) -> None:
        self._lock_fd = os.open(self._directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock_fd)
            raise TemporaryError(f"the metric store {self._directory} is open in another process") from error

    def _recover(self) -> None:
        self._table.restore(self._catalog.load())
        self._add_series(sorted(self._table.items()))
        newest = self._table.newest_ms
        for chunk in self._segments.load():
            group = self._table.groups.get(chunk.group)
            if group is not None:
                group.add_chunk(chunk)
                ids = chunk.columns.ids
                # Its last sample is at least as new; the log knows that of the last minutes exactly. To take more
                # than the window allows does no harm, to refuse what is in order would.
                newest[ids] = np.maximum(newest[ids], chunk.min_ms)
                if chunk.histograms:
                    self._latest.never(ids)
                else:
                    self._latest.not_after(ids, chunk.max_ms)
        tally = Tally()  # of samples that were counted when they came
        replay(self._log.load(), self._table, lambda record: self._apply(record, tally))
        self.stats.torn_log_bytes = self._log.torn_bytes


def _check(table: SampleTable) -> None:
    """One wrong table must not fail the appends that share its commit."""
    series, rows = len(table.labels), len(table.timestamps_ms)
    if table.values.shape != (series, rows):
        raise ValueError(
            f"{table.target}: values of shape {table.values.shape} for {series} series at {rows} timestamps"
        )
    if table.values.dtype != np.float64 or table.timestamps_ms.dtype != np.int64:
        raise ValueError(f"{table.target}: {table.values.dtype} values at {table.timestamps_ms.dtype} timestamps")
    if rows > 1 and not (np.diff(table.timestamps_ms) > 0).all():
        raise ValueError(f"{table.target}: timestamps do not increase")
    places = [place for place, _ in table.exemplars] + [place for place, _, _ in table.histograms]
    columns = [column for _, column, _ in table.histograms]
    if not all(0 <= place < series for place in places) or not all(0 <= column < rows for column in columns):
        raise ValueError(f"{table.target}: an exemplar or histogram is of none of {series} series, {rows} timestamps")


def _raise_over_limit(outcome: AppendOutcome) -> None:
    for refusal in outcome.refusals:
        if refusal.reason is RefusalReason.SERIES_LIMIT:
            raise SeriesLimitError(refusal.example, refusal.count)
