"""
The metric store: a durable SampleSink, and a SeriesSource for queries.

    append -> committer thread -> catalog (new series), log (samples), one sync -> heads, index -> acknowledged
    every few minutes          -> rows older than HEAD_MS leave the heads for a segment, sync, old log files go
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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.errors import LimitExceededError, TemporaryError
from collector.model.series import Block, Exemplar, Labels, Matcher, MetricMetadata, SampleBatch
from collector.storage.metrics.catalog import Catalog
from collector.storage.metrics.committer import Committer, PendingAppend
from collector.storage.metrics.exemplars import ExemplarRings
from collector.storage.metrics.group import Group, Piece, chunk_piece, joined
from collector.storage.metrics.index import InvertedIndex
from collector.storage.metrics.segment import Chunk, CorruptChunkError, SegmentStore, StripCache
from collector.storage.metrics.table import SeriesTable
from collector.storage.metrics.wal import LoggedExemplar, LoggedSamples, LogRecord, WriteAheadLog

_log = logging.getLogger(__name__)

# What stays uncompressed: rules look back five minutes (Prometheus's lookback delta), so they never unpack anything.
HEAD_MS = 330_000
SEAL_EVERY_MS = 240_000  # 240 rows at one sample a second: longer chunks would compress 5 % better and cost memory
HEAD_BYTES = 96 * 1024 * 1024  # over this, seal early and leave the last HEAD_MINIMUM_MS only
HEAD_MINIMUM_MS = 60_000
LOG_FILE_BYTES = 64 * 1024 * 1024  # rotated then, so that a replay maps little at once
CACHE_BYTES = 8 * 1024 * 1024  # 130 strips: the series of the rules and of one dashboard, one chunk back
SEGMENT_BYTES = 64 * 1024 * 1024
SEGMENT_MS = 2 * 3_600_000  # a file goes as a whole, so this (or an eighth of the retention) is how exact retention is
PURGE_EVERY_MS = 3_600_000
SERIES_LIMIT = 200_000  # at some 1.5 KB of labels and index each, 300 MB
METADATA_LIMIT = 20_000
MATCH_CACHE = 500  # sets of matchers: rules and dashboards ask for the same ones again and again


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class StoreStats:
    """Counters since the store was opened."""

    samples: int = 0
    duplicates: int = 0  # a sample of that series at that timestamp was there; the first one stays
    too_old: int = 0  # already sealed, or beyond the retention
    refused_series: int = 0  # over the limit
    commits: int = 0
    corrupt_chunks: int = 0
    torn_log_bytes: int = 0


class SeriesLimitError(LimitExceededError):
    """New series were refused; every other sample of the append is on disk."""

    def __init__(self, message: str, refused: int) -> None:
        super().__init__(message)
        self.refused = refused  # series


class _Match(NamedTuple):
    group: Group
    ids: NDArray[np.uint32]
    labels: tuple[Labels, ...]


class MetricStore:
    """Implements SampleSink and SeriesSource. Queries may run in any thread; all writing is done by one of its own."""

    def __init__(
        self, directory: Path, *, retention_ms: int, retention_bytes: int, series_limit: int, clock: Callable[[], int]
    ) -> None:
        self.stats = StoreStats()
        self._directory = directory
        self._retention_ms = retention_ms
        self._retention_bytes = retention_bytes
        self._series_limit = series_limit
        self._clock = clock
        self._lock = threading.RLock()  # heads, chunks, index and exemplars: changed under it, read under it
        self._catalog = Catalog(directory)
        self._table = SeriesTable(self._catalog, limit=series_limit)
        self._log = WriteAheadLog(directory)
        self._segments = SegmentStore(
            directory, roll_bytes=SEGMENT_BYTES, roll_ms=min(SEGMENT_MS, max(SEAL_EVERY_MS, retention_ms // 8))
        )
        self._index = InvertedIndex()
        self._unpublished: list[tuple[int, Labels]] = []  # in the table, not yet in the index
        self._exemplars = ExemplarRings()
        self._metadata: dict[str, MetricMetadata] = {}
        self._cache = StripCache(CACHE_BYTES)
        self._matches: dict[tuple[Matcher, ...], list[_Match]] = {}
        self._sealed_at = self._purged_at = clock()
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
        clock: Callable[[], int] = _now_ms,
    ) -> MetricStore:
        """
        Open or create a store. `clock` gives Unix milliseconds.

        Raises:
            TemporaryError: another process has it open.
            OSError: the directory cannot be read or written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        store = cls(
            directory,
            retention_ms=int(retention_s * 1000),
            retention_bytes=retention_bytes,
            series_limit=series_limit,
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
        self._log.close()
        self._catalog.close()
        os.close(self._lock_fd)
        self._lock_fd = -1

    # --- SampleSink

    async def append(self, batches: Sequence[SampleBatch]) -> None:
        """
        Return once the samples are on disk. Duplicates and samples that are too old are left out and counted.

        Raises:
            SeriesLimitError: new series were over the limit; every other sample is on disk.
            TemporaryError: the disk failed or cannot keep up; nothing was acknowledged.
            ValueError: a batch has not as many values as labels.
        """
        if batches:
            await asyncio.wrap_future(self.submit(batches))

    def submit(self, batches: Sequence[SampleBatch]) -> Future[None]:
        """`append` for callers without an event loop: the future settles as `append` would."""
        for batch in batches:
            if len(batch.labels) != len(batch.values):
                raise ValueError(f"{batch.target}: {len(batch.values)} values for {len(batch.labels)} series")
        if self._committer is None:
            raise TemporaryError("the metric store is not open")
        return self._committer.submit(batches)

    def set_metadata(self, entries: Iterable[MetricMetadata]) -> None:
        """Remember type, help and unit of metric families; the last one wins. Not kept on disk: senders repeat it."""
        with self._lock:
            for entry in entries:
                if entry.name in self._metadata or len(self._metadata) < METADATA_LIMIT:
                    self._metadata[entry.name] = entry

    # --- SeriesSource

    def select(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Block]:
        """
        One block for each target that has matching samples in [min_ms, max_ms], copied.

        A chunk that is corrupt on disk is left out, logged and counted.

        Raises:
            BadRequestError: a regular expression does not compile.
        """
        plans: list[tuple[_Match, list[Chunk], Piece | None]] = []
        with self._lock:
            for match in self._match(matchers):
                chunks = match.group.chunks_between(min_ms, max_ms)
                head = match.group.head_piece(match.ids, min_ms, max_ms)
                if chunks or head:
                    plans.append((match, chunks, head))
        blocks = []
        for match, chunks, head in plans:
            pieces = [piece for chunk in chunks if (piece := self._read(chunk, match.ids, min_ms, max_ms))]
            if head:
                pieces.append(head)
            block = joined(match.labels, pieces)
            if block is not None:
                blocks.append(block)
        return blocks

    def series(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Labels]:
        """Sorted. Before the last minutes, a series counts as there for the whole of each chunk that it is in."""
        return sorted(self._seen(matchers, min_ms, max_ms))

    def label_names(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]:
        return sorted({name for labels in self._seen(matchers, min_ms, max_ms) for name, _ in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[str]:
        seen = self._seen(matchers, min_ms, max_ms)
        return sorted({value for labels in seen for label, value in labels if label == name})

    def exemplars(
        self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]:
        """The last exemplars of each matching series that has some in the range, by labels; oldest first."""
        with self._lock:
            found = [
                (labels, kept)
                for match in self._match(matchers)
                for number, labels in zip(match.ids.tolist(), match.labels, strict=True)
                if (kept := self._exemplars.between(number, min_ms=min_ms, max_ms=max_ms))
            ]
        return sorted(found)

    def metadata(self) -> list[MetricMetadata]:
        with self._lock:
            return [self._metadata[name] for name in sorted(self._metadata)]

    # --- sizes, for the collector's own metrics

    @property
    def series_count(self) -> int:
        return len(self._table)

    @property
    def head_bytes(self) -> int:
        with self._lock:
            return sum(group.head.nbytes for group in self._table.groups.values())

    @property
    def segment_bytes(self) -> int:
        return self._segments.size

    # --- reading

    def _match(self, matchers: Sequence[Matcher]) -> list[_Match]:
        key = tuple(matchers)
        found = self._matches.get(key)
        if found is None:
            by_group: dict[int, list[int]] = {}
            for number in self._index.match(key).tolist():
                by_group.setdefault(self._table.owner_of(number), []).append(number)
            found = [
                _Match(
                    self._table.groups[group],
                    np.array(numbers, np.uint32),
                    tuple(self._table.labels_of(number) for number in numbers),
                )
                for group, numbers in by_group.items()
            ]
            if len(self._matches) >= MATCH_CACHE:
                self._matches.clear()
            self._matches[key] = found
        return found

    def _read(self, chunk: Chunk, ids: NDArray[np.uint32], min_ms: int, max_ms: int) -> Piece | None:
        try:
            with self._lock:  # the cache is shared
                return chunk_piece(chunk, ids, min_ms, max_ms, self._cache)
        except (CorruptChunkError, OSError) as error:
            self.stats.corrupt_chunks += 1
            _log.error("left out of an answer: %s", error)
            return None

    def _seen(self, matchers: Sequence[Matcher], min_ms: int, max_ms: int) -> list[Labels]:
        with self._lock:
            return [
                match.labels[place]
                for match in self._match(matchers)
                for place in np.flatnonzero(match.group.seen_between(match.ids, min_ms, max_ms)).tolist()
            ]

    # --- the committing thread

    def _commit(self, waiting: list[PendingAppend]) -> None:
        records: list[LogRecord] = []
        accepted: list[tuple[PendingAppend, list[Labels]]] = []
        oldest_ms = self._clock() - self._retention_ms
        for append in waiting:
            refused: list[Labels] = []
            for batch in append.batches:
                refused.extend(self._prepare(batch, records, oldest_ms))
            accepted.append((append, refused))
        try:
            self._catalog.commit()
            if records:
                self._log.commit(records)
        except OSError as error:
            raise TemporaryError(f"the metric store cannot write to {self._directory}: {error}") from error
        with self._lock:
            self._publish(records)
        self.stats.commits += 1
        for append, refused in accepted:
            if refused:
                append.done.set_exception(self._limit_error(refused))
            else:
                append.done.set_result(None)

    def _prepare(self, batch: SampleBatch, records: list[LogRecord], oldest_ms: int) -> tuple[Labels, ...]:
        """Add the batch's log records; returns the series that are over the limit."""
        resolved, new = self._table.resolve(batch)
        self._unpublished.extend(new)
        self.stats.refused_series += len(resolved.refused)
        for part in resolved.parts:
            group = self._table.groups[part.layout.group]
            values = batch.values if part.pick is None else batch.values[part.pick]
            if batch.timestamp_ms <= group.sealed_ms or batch.timestamp_ms < oldest_ms:
                self.stats.too_old += len(values)
                continue
            records.append(LoggedSamples(part.layout, batch.timestamp_ms, values))
        for place, exemplar in batch.exemplars:
            number = resolved.ids[place]
            if number >= 0 and self._exemplars.is_new(number, exemplar):
                records.append(LoggedExemplar(number, exemplar))
        return resolved.refused

    def _publish(self, records: list[LogRecord]) -> None:
        if self._unpublished:
            for number, labels in self._unpublished:
                self._index.add(number, labels)
            self._unpublished.clear()
            self._matches.clear()
        for record in records:
            self._apply(record)

    def _apply(self, record: LogRecord) -> None:
        if isinstance(record, LoggedExemplar):
            self._exemplars.add(record.series, record.exemplar)
            return
        duplicates = self._table.groups[record.layout.group].apply(record)
        self.stats.duplicates += duplicates
        self.stats.samples += len(record.values) - duplicates

    def _limit_error(self, refused: list[Labels]) -> SeriesLimitError:
        example = "{" + ",".join(f'{name}="{value}"' for name, value in refused[0]) + "}"
        message = f"series limit {self._series_limit} exceeded by {len(refused)}: {example}"
        return SeriesLimitError(message, len(refused))

    # --- sealing and retention, on the same thread

    def _tick(self) -> None:
        now_ms = self._clock()
        try:
            if now_ms - self._sealed_at >= SEAL_EVERY_MS:
                self.seal_up_to(now_ms - HEAD_MS)
                self._sealed_at = now_ms
                self._expire(now_ms)
            elif self.head_bytes > HEAD_BYTES:
                self._seal_early(now_ms)
            elif self._log.size > LOG_FILE_BYTES:
                self._log.rotate()
        except OSError as error:
            self._sealed_at = now_ms  # not again at once: the log still has everything
            _log.error("cannot seal samples in %s: %s", self._directory, error)

    def _seal_early(self, now_ms: int) -> None:
        self.seal_up_to(now_ms - HEAD_MINIMUM_MS)
        if self.head_bytes > HEAD_BYTES:
            # Sent from the future, or faster than a minute fits: leave nothing but the newest row.
            for group in self._table.groups.values():
                if group.head.rows > 1:
                    self._seal_groups([(group, int(group.head.timestamps[-2]))])

    def seal_up_to(self, through_ms: int) -> None:
        """Move samples up to `through_ms` from the heads to a segment. For the committing thread, and tests."""
        self._seal_groups([(group, through_ms) for group in self._table.groups.values()])

    def _seal_groups(self, due: list[tuple[Group, int]]) -> None:
        sealed: list[tuple[Group, Chunk]] = []
        for group, through_ms in due:
            rows = group.head.up_to(through_ms)
            if rows is not None and len(rows[0]):
                sealed.append((group, self._segments.write(group.number, *rows)))
        self._segments.sync()
        with self._lock:
            for group, chunk in sealed:
                group.add_chunk(chunk)
                group.head.drop(chunk.max_ms)
        self._log.rotate()
        self._log.remove_sealed({group.number: group.sealed_ms for group in self._table.groups.values()})

    def _expire(self, now_ms: int) -> None:
        removed = self._segments.remove_old(before_ms=now_ms - self._retention_ms, limit_bytes=self._retention_bytes)
        if removed:
            with self._lock:
                for group in self._table.groups.values():
                    group.chunks = [chunk for chunk in group.chunks if chunk.segment not in removed]
        if (removed or now_ms - self._purged_at >= PURGE_EVERY_MS) and not self._catalog.pending:
            self._purged_at = now_ms
            self._purge()

    def _purge(self) -> None:
        """Forget series that have no sample left."""
        columns = {chunk.columns for group in self._table.groups.values() for chunk in group.chunks}
        kept = [each.ids for each in columns] + [group.head.ids for group in self._table.groups.values()]
        alive = set(np.unique(np.concatenate(kept)).tolist()) if kept else set()
        with self._lock:
            if not self._table.keep_only(alive):
                return
            self._index = InvertedIndex()
            for number, labels in sorted(self._table.items()):
                self._index.add(number, labels)
            self._unpublished.clear()
            self._matches.clear()
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
        for number, labels in sorted(self._table.items()):
            self._index.add(number, labels)
        for chunk in self._segments.load():
            group = self._table.groups.get(chunk.group)
            if group is not None:
                group.add_chunk(chunk)
        oldest_ms = self._clock() - self._retention_ms
        for record in self._log.load():
            if isinstance(record, LoggedExemplar):
                self._apply(record)
                continue
            group = self._table.groups.get(record.layout.group)
            if group is not None and record.timestamp_ms > max(group.sealed_ms, oldest_ms):
                self._apply(record)
        self.stats = StoreStats(torn_log_bytes=self._log.torn_bytes)
