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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.errors import LimitExceededError, TemporaryError
from collector.model.histogram import HistogramSeries
from collector.model.labels import Labels, Matcher
from collector.model.series import (
    AppendOutcome,
    Block,
    Exemplar,
    MetricMetadata,
    RefusalReason,
    SampleBatch,
    SampleTable,
)
from collector.storage.metrics.cardinality import Cardinality, costs_of
from collector.storage.metrics.catalog import Catalog
from collector.storage.metrics.committer import Committer, PendingAppend
from collector.storage.metrics.exemplars import ExemplarRings
from collector.storage.metrics.group import Group, Piece, chunk_piece, joined
from collector.storage.metrics.histogram_head import HistogramRow, merged
from collector.storage.metrics.index import InvertedIndex
from collector.storage.metrics.intake import Intake, TimeRules
from collector.storage.metrics.merge import CHUNK_ROWS, worthwhile
from collector.storage.metrics.merger import Merge, Merger
from collector.storage.metrics.segment import Chunk, CorruptChunkError, Segment, SegmentStore, StripCache
from collector.storage.metrics.strips import arranged
from collector.storage.metrics.table import SeriesTable
from collector.storage.metrics.tally import Tally
from collector.storage.metrics.wal import LoggedExemplar, LoggedHistograms, LoggedSamples, LogRecord, WriteAheadLog

_log = logging.getLogger(__name__)

# What stays uncompressed: rules look back five minutes (Prometheus's lookback delta), so they never unpack anything.
HEAD_MS = 330_000
SEAL_EVERY_MS = 240_000  # 240 rows at one sample a second: longer chunks would compress 5 % better and cost memory
SEAL_ROWS = 120  # a target with fewer that are old enough waits (Prometheus's chunks have 120 samples)
SEAL_WAIT_MS = 3_600_000  # but not longer: the log keeps what is not sealed, and a start reads it
HEAD_BYTES = 96 * 1024 * 1024  # over this, seal early
HEAD_MINIMUM_MS = 60_000
LOG_FILE_BYTES = 64 * 1024 * 1024  # rotated then, so that a replay maps little at once
CACHE_BYTES = 8 * 1024 * 1024  # 130 strips: the series of the rules and of one dashboard, one chunk back
SEGMENT_BYTES = 64 * 1024 * 1024
SEGMENT_MS = 2 * 3_600_000  # a file goes as a whole, so this (or an eighth of the retention) is how exact retention is
PURGE_EVERY_MS = 3_600_000
SERIES_LIMIT = 200_000  # at some 1.5 KB of labels and index each, 300 MB
TARGET_SERIES_LIMIT = 100_000  # half of all: one target gone wrong leaves room for the others
# How much older than the newest sample of its series one may be. Prometheus's default is 0, as its head would need a
# second structure; here late samples find their place at little cost. OTLP exporters repeat a failed export for up to
# five minutes (the OpenTelemetry Collector's retry_on_failure.max_elapsed_time) while later ones already came, and
# several queue consumers or remote-write shards overtake one another.
OUT_OF_ORDER_MS = 300_000
AHEAD_MS = 600_000  # how far a sender's clock may be ahead: Prometheus scrape/manager.go, maxAheadTime
METADATA_LIMIT = 20_000
_NO_MIN_MS = (1 << 63) - 1
_EVER = 1 << 62  # later than any timestamp
MATCH_CACHE = 500  # sets of matchers: rules and dashboards ask for the same ones again and again


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
        self,
        directory: Path,
        *,
        retention_ms: int,
        retention_bytes: int,
        series_limit: int,
        target_series_limit: int,
        out_of_order_ms: int,
        clock: Callable[[], int],
    ) -> None:
        self.stats = StoreStats()
        self._directory = directory
        self._retention_ms = retention_ms
        self._retention_bytes = retention_bytes
        self._out_of_order_ms = out_of_order_ms
        self._clock = clock
        self._lock = threading.RLock()  # heads, chunks, index and exemplars: changed under it, read under it
        self._catalog = Catalog(directory)
        self._table = SeriesTable(self._catalog, limit=series_limit, limit_per_target=target_series_limit)
        self._log = WriteAheadLog(directory)
        self._segments = SegmentStore(
            directory, roll_bytes=SEGMENT_BYTES, roll_ms=min(SEGMENT_MS, max(SEAL_EVERY_MS, retention_ms // 8))
        )
        self._merger = Merger(self._table.metric_of)
        self._unmergeable: set[Segment] = set()
        self._index = InvertedIndex()
        self._exemplars = ExemplarRings()
        self._intake = Intake(self._table, self._exemplars)
        self._metadata: dict[str, MetricMetadata] = {}
        self._cache = StripCache(CACHE_BYTES)
        self._matches: dict[tuple[Matcher, ...], list[_Match]] = {}
        self._sealed_at = self._purged_at = clock()
        self._seal_wait_ms = min(SEAL_WAIT_MS, max(SEAL_EVERY_MS, retention_ms // 8))
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
        clock: Callable[[], int] = _now_ms,
    ) -> MetricStore:
        """
        Open or create a store. `clock` gives Unix milliseconds.

        Args:
            retention_s, retention_bytes: Files of sealed samples go when all in them is older, and the oldest ones
                while they are larger together.
            out_of_order_s: How much older than the newest sample of its series one may be.

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
            target_series_limit=target_series_limit,
            out_of_order_ms=int(out_of_order_s * 1000),
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
        self._merger.close()
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
            if table.values.shape != (len(table.labels), len(table.timestamps_ms)):
                shape = f"{len(table.labels)} series at {len(table.timestamps_ms)} timestamps"
                raise ValueError(f"{table.target}: values of shape {table.values.shape} for {shape}")
            if len(table.timestamps_ms) > 1 and not (np.diff(table.timestamps_ms) > 0).all():
                raise ValueError(f"{table.target}: timestamps do not increase")
        if self._committer is None:
            raise TemporaryError("the metric store is not open")
        return self._committer.submit(tables)

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
        plans: list[tuple[_Match, list[Chunk], list[Piece]]] = []
        with self._lock:
            for match in self._match(matchers):
                chunks = match.group.chunks_between(min_ms, max_ms)
                heads = match.group.head_pieces(match.ids, min_ms, max_ms)
                if chunks or heads:
                    plans.append((match, chunks, heads))
        blocks = []
        for match, chunks, heads in plans:
            pieces = [piece for chunk in chunks if (piece := self._read(chunk, match.ids, min_ms, max_ms))]
            block = joined(match.labels, pieces + heads)
            if block is not None:
                blocks.append(block)
        return blocks

    def select_histograms(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[HistogramSeries]:
        """
        The native histograms of matching series in [min_ms, max_ms], sorted by labels; stale ones too.

        Raises:
            BadRequestError: a regular expression does not compile.
        """
        plans: list[tuple[_Match, list[Chunk], dict[int, HistogramRow]]] = []
        with self._lock:
            for match in self._match(matchers):
                chunks = match.group.chunks_between(min_ms, max_ms, histograms=True)
                heads = match.group.histogram_rows(match.ids, min_ms, max_ms)
                if chunks or heads:
                    plans.append((match, chunks, heads))
        found = []
        for match, chunks, heads in plans:
            rows: dict[int, list[HistogramRow]] = {}
            for chunk in chunks:
                for place, row in self._read_histograms(chunk, match.ids, min_ms, max_ms):
                    rows.setdefault(place, []).append(row)
            for place, number in enumerate(match.ids.tolist()):
                every = rows.get(place, []) + ([heads[number]] if number in heads else [])
                row = merged(every) if every else HistogramRow()
                if row.timestamps_ms:
                    times = np.array(row.timestamps_ms, np.int64)
                    found.append(HistogramSeries(match.labels[place], times, tuple(row.histograms)))
        return sorted(found, key=lambda series: series.labels)

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
            return sum(group.nbytes for group in self._table.groups.values())

    @property
    def segment_bytes(self) -> int:
        return self._segments.size

    def cardinality(self, *, top: int = 10) -> Cardinality:
        """Which metrics and labels have most series, the `top` of each list (Prometheus's default is 10 too)."""
        with self._lock:
            pairs, metrics, values, sizes, by_pair = costs_of(self._index.postings, top=top)
            heads = [group.head.timestamps for group in self._groups() if group.head.rows]
            return Cardinality(
                series=len(self._index),
                label_pairs=pairs,
                chunks=sum(len(group.chunks) for group in self._groups()),
                min_ms=min((int(each[0]) for each in heads), default=_NO_MIN_MS),
                max_ms=max((int(each[-1]) for each in heads), default=-_NO_MIN_MS - 1),
                series_by_metric=metrics,
                values_by_label=values,
                bytes_by_label=sizes,
                series_by_pair=by_pair,
            )

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
            self._left_out(error)
            return None

    def _read_histograms(
        self, chunk: Chunk, ids: NDArray[np.uint32], min_ms: int, max_ms: int
    ) -> Iterator[tuple[int, HistogramRow]]:
        places, columns = chunk.columns.find(ids)
        for place, column in zip(places.tolist(), columns.tolist(), strict=True):
            try:
                yield place, chunk.histogram_row(column).between(min_ms, max_ms)
            except (CorruptChunkError, OSError) as error:
                self._left_out(error)

    def _left_out(self, error: Exception) -> None:
        self.stats.corrupt_chunks += 1
        _log.error("left out of an answer: %s", error)

    def _seen(self, matchers: Sequence[Matcher], min_ms: int, max_ms: int) -> list[Labels]:
        with self._lock:
            return [
                match.labels[place]
                for match in self._match(matchers)
                for place in np.flatnonzero(match.group.seen_between(match.ids, min_ms, max_ms)).tolist()
            ]

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
        self._intake.keep()
        with self._lock:
            self._publish(records)
        self.stats.commits += 1
        for append, tally in zip(waiting, tallies, strict=True):
            self._count(tally)
            append.done.set_result(tally.outcome())

    def _publish(self, records: list[tuple[LogRecord, Tally]]) -> None:
        if self._intake.new_series:
            for number, labels in self._intake.new_series:
                self._index.add(number, labels)
            self._intake.new_series.clear()
            self._matches.clear()
        for record, tally in records:
            self._apply(record, tally)

    def _apply(self, record: LogRecord, tally: Tally) -> None:
        if isinstance(record, LoggedExemplar):
            self._exemplars.add(record.series, record.exemplar)
        elif isinstance(record, LoggedHistograms):
            head = self._table.groups[record.group].histograms
            for number, at, histogram in zip(record.series, record.timestamps_ms, record.histograms, strict=True):
                put = head.put(number, at, histogram)
                self.stats.histograms += put.stored
                tally.put(put, number, self._table)
        else:
            put = self._table.groups[record.layout.group].apply(record)
            tally.put(put, int(record.layout.ids[put.conflict[0]]) if put.conflict else 0, self._table)

    def _count(self, tally: Tally) -> None:
        self.stats.samples += tally.stored
        self.stats.repeated += tally.repeated
        self.stats.duplicates += tally.refused(RefusalReason.DUPLICATE)
        self.stats.out_of_order += tally.refused(RefusalReason.OUT_OF_ORDER)
        self.stats.too_old += tally.refused(RefusalReason.TOO_OLD)
        self.stats.too_far_ahead += tally.refused(RefusalReason.TOO_FAR_AHEAD)
        self.stats.refused_series += tally.refused(RefusalReason.SERIES_LIMIT)

    # --- sealing and retention, on the same thread

    def _tick(self) -> None:
        now_ms = self._clock()
        try:
            if now_ms - self._sealed_at >= SEAL_EVERY_MS:
                self._seal_due(now_ms)
                self._sealed_at = now_ms
                self._expire(now_ms)
                self._begin_merge()
            elif self.head_bytes > HEAD_BYTES:
                self._seal_early(now_ms)
            elif self._log.size > LOG_FILE_BYTES:
                self._log.rotate()
            self._end_merge()
        except OSError as error:
            self._sealed_at = now_ms  # not again at once: the log still has everything
            _log.error("cannot seal samples in %s: %s", self._directory, error)

    def _seal_due(self, now_ms: int) -> None:
        through_ms = now_ms - HEAD_MS
        due = [
            (group, through_ms)
            for group in self._groups()
            if group.late.rows
            or group.histograms.rows
            or np.searchsorted(group.head.timestamps, through_ms, side="right") >= SEAL_ROWS
            or (group.head.rows and group.head.timestamps[0] < now_ms - self._seal_wait_ms)
        ]
        self._seal_groups(due)

    def _seal_early(self, now_ms: int) -> None:
        """Until it fits, leave what rules look back to, then a minute; then the newest row alone; then nothing."""
        for age_ms in (HEAD_MS, HEAD_MINIMUM_MS):
            if self.head_bytes > HEAD_BYTES:
                self.seal_up_to(now_ms - age_ms)
        if self.head_bytes > HEAD_BYTES:
            due = [(group, int(group.head.timestamps[-2])) for group in self._groups() if group.head.rows > 1]
            self._seal_groups(due)
        if self.head_bytes > HEAD_BYTES:
            self.seal_up_to(now_ms + AHEAD_MS)

    def _groups(self) -> Iterable[Group]:
        return self._table.groups.values()

    def seal_up_to(self, through_ms: int) -> None:
        """Move samples up to `through_ms` from the heads to a segment. For the committing thread, and tests."""
        self._seal_groups([(group, through_ms) for group in self._groups()])

    def _seal_groups(self, due: list[tuple[Group, int]]) -> None:
        """Late samples go as a whole: afterwards all that is older than what is sealed is in a segment."""
        sealed = [(group, through_ms, self._write_chunks(group, through_ms)) for group, through_ms in due]
        self._segments.sync()
        with self._lock:
            for group, through_ms, chunks in sealed:
                histograms_ms = max(through_ms, group.sealed.histograms_ms)
                for chunk in chunks:
                    group.add_chunk(chunk)
                group.head.drop(through_ms)
                group.late.drop(_EVER)
                group.histograms.drop(histograms_ms)
        self._log.rotate()
        self._log.remove_sealed({group.number: group.sealed_safely for group in self._groups()})

    def _write_chunks(self, group: Group, through_ms: int) -> list[Chunk]:
        chunks = []
        for head, until_ms in ((group.late, _EVER), (group.head, through_ms)):
            taken = head.up_to(until_ms)
            if taken is None or not len(taken[0]):
                continue
            ids, timestamps, values = taken
            order, sizes = arranged(ids, min(CHUNK_ROWS, len(timestamps)), self._table.metric_of)
            ids, values = ids[order], values[order]
            for start in range(0, len(timestamps), CHUNK_ROWS):
                cut = slice(start, start + CHUNK_ROWS)
                chunks.append(self._segments.write(group.number, ids, sizes, timestamps[cut], values[:, cut]))
        rows = group.histograms.up_to(max(through_ms, group.sealed.histograms_ms))  # the late ones too
        if rows:
            chunks.append(self._segments.write_histograms(group.number, rows))
        return chunks

    def _begin_merge(self) -> None:
        if self._merger.busy:
            return
        by_segment: dict[Segment, list[Chunk]] = {}
        for group in self._groups():
            for chunk in group.chunks:
                by_segment.setdefault(chunk.segment, []).append(chunk)
        for segment in self._segments.finished():
            chunks = by_segment.get(segment, [])
            if segment not in self._unmergeable and worthwhile(chunks):
                self._merger.begin(Merge(segment, chunks, self._segments.draft_path(segment)))
                return

    def _end_merge(self) -> None:
        merge = self._merger.take()
        if merge is None:
            return
        self._unmergeable = {each for each in self._unmergeable if each in self._segments.finished()}
        chunks = None if merge.failed else self._segments.replace(merge.segment, merge.draft)
        if chunks is not None:
            fresh: dict[int, list[Chunk]] = {}
            for chunk in chunks:
                fresh.setdefault(chunk.group, []).append(chunk)
            with self._lock:
                for group in self._groups():
                    group.replace_chunks(merge.segment, fresh.get(group.number, []))
            self.stats.merged_segments += 1
        elif merge.failed:
            self._unmergeable.add(merge.segment)
        self._begin_merge()

    def _expire(self, now_ms: int) -> None:
        removed = self._segments.remove_old(before_ms=now_ms - self._retention_ms, limit_bytes=self._retention_bytes)
        if removed:
            with self._lock:
                for group in self._groups():
                    group.chunks = [chunk for chunk in group.chunks if chunk.segment not in removed]
        if (removed or now_ms - self._purged_at >= PURGE_EVERY_MS) and not self._catalog.pending:
            self._purged_at = now_ms
            self._purge()

    def _purge(self) -> None:
        """Forget series that have no sample left."""
        columns = {chunk.columns for group in self._groups() for chunk in group.chunks}
        kept = [each.ids for each in columns]
        for group in self._groups():
            kept += [group.head.ids, group.late.ids, np.array(list(group.histograms.rows), np.uint32)]
        alive = set(np.unique(np.concatenate(kept)).tolist()) if kept else set()
        with self._lock:
            if not self._table.keep_only(alive):
                return
            self._index = InvertedIndex()
            for number, labels in sorted(self._table.items()):
                self._index.add(number, labels)
            self._intake.new_series.clear()
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
        newest = self._table.newest_ms
        for chunk in self._segments.load():
            group = self._table.groups.get(chunk.group)
            if group is not None:
                group.add_chunk(chunk)
                ids = chunk.columns.ids
                # Its last sample is at least as new; the log knows that of the last minutes exactly. To take more
                # than the window allows does no harm, to refuse what is in order would.
                newest[ids] = np.maximum(newest[ids], chunk.min_ms)
        self._replay()
        self.stats = StoreStats(torn_log_bytes=self._log.torn_bytes)

    def _replay(self) -> None:
        """
        Put what the log holds and no segment into the heads. Acknowledged is acknowledged: no limit is asked again.
        Of a seal that a crash interrupted the late samples may come twice; queries give the first.
        """
        tally = Tally()
        newest = self._table.newest_ms
        for record in self._log.load():
            if isinstance(record, LoggedSamples):
                group = self._table.groups.get(record.layout.group)
                if group is not None and (rest := _unsealed(record, group.sealed.floats_ms)) is not None:
                    self._apply(rest, tally)
                    ids = rest.layout.ids
                    newest[ids] = np.maximum(newest[ids], rest.timestamps_ms[-1])
            elif isinstance(record, LoggedHistograms):
                group = self._table.groups.get(record.group)
                if group is not None and (left := _unsealed_histograms(record, group.sealed.histograms_ms)) is not None:
                    self._apply(left, tally)
                    np.maximum.at(newest, np.array(left.series), np.array(left.timestamps_ms))
            else:
                self._apply(record, tally)


def _unsealed(record: LoggedSamples, sealed_ms: int) -> LoggedSamples | None:
    if record.late or record.timestamps_ms[0] > sealed_ms:
        return record
    start = int(np.searchsorted(record.timestamps_ms, sealed_ms, side="right"))
    if start == len(record.timestamps_ms):
        return None
    return replace(record, timestamps_ms=record.timestamps_ms[start:], values=record.values[:, start:])


def _unsealed_histograms(record: LoggedHistograms, sealed_ms: int) -> LoggedHistograms | None:
    if record.late or min(record.timestamps_ms) > sealed_ms:
        return record
    left = [place for place, at in enumerate(record.timestamps_ms) if at > sealed_ms]
    if not left:
        return None
    return LoggedHistograms(
        record.group,
        tuple(record.series[place] for place in left),
        tuple(record.timestamps_ms[place] for place in left),
        tuple(record.histograms[place] for place in left),
    )


def _raise_over_limit(outcome: AppendOutcome) -> None:
    for refusal in outcome.refusals:
        if refusal.reason is RefusalReason.SERIES_LIMIT:
            raise SeriesLimitError(refusal.example, refusal.count)
