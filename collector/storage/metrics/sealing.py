"""
Moving samples from the heads into segments, merging those, and throwing them out: what the committing thread does
between commits.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

import numpy as np

from collector.storage.metrics.group import Group
from collector.storage.metrics.merge import CHUNK_ROWS, worthwhile
from collector.storage.metrics.merger import Merge, Merger
from collector.storage.metrics.segment import Chunk, Segment, SegmentStore
from collector.storage.metrics.strips import arranged
from collector.storage.metrics.table import SeriesTable
from collector.storage.metrics.wal import WriteAheadLog

_log = logging.getLogger(__name__)

# What stays uncompressed: rules look back five minutes (Prometheus's lookback delta), so they never unpack anything.
HEAD_MS = 330_000
SEAL_EVERY_MS = 240_000  # 240 rows at one sample a second: longer chunks would compress 5 % better and cost memory
SEAL_ROWS = 120  # a target with fewer that are old enough waits (Prometheus's chunks have 120 samples)
SEAL_WAIT_MS = 3_600_000  # but not longer: the log keeps what is not sealed, and a start reads it
HEAD_BYTES = 96 * 1024 * 1024  # over this, seal early
HEAD_MINIMUM_MS = 60_000
LOG_FILE_BYTES = 64 * 1024 * 1024  # rotated then, so that a replay maps little at once
AHEAD_MS = 600_000  # how far a sender's clock may be ahead: Prometheus scrape/manager.go, maxAheadTime
_EVER = 1 << 62  # later than any timestamp


class Sealing:
    """Of the committing thread, but for `head_bytes`. `lock` guards what queries read: heads and lists of chunks."""

    def __init__(
        self,
        table: SeriesTable,
        log: WriteAheadLog,
        segments: SegmentStore,
        *,
        lock: threading.RLock,
        retention_ms: int,
        retention_bytes: int,
        wait_ms: int,
        now_ms: int,
    ) -> None:
        self._table = table
        self._wal = log
        self._segments = segments
        self._lock = lock
        self._retention_ms = retention_ms
        self._retention_bytes = retention_bytes
        self._wait_ms = wait_ms
        self._sealed_at = now_ms
        self._unmergeable: set[Segment] = set()
        self.merger = Merger(table.metric_of)
        self.merged = 0  # segments

    @property
    def head_bytes(self) -> int:
        with self._lock:
            return sum(group.nbytes for group in self._groups())

    def close(self) -> None:
        self.merger.close()

    def tick(self, now_ms: int) -> bool:
        """Do what is due. Returns whether samples were thrown out."""
        removed = False
        try:
            if now_ms - self._sealed_at >= SEAL_EVERY_MS:
                self._seal_due(now_ms)
                self._sealed_at = now_ms
                removed = self.expire(now_ms)
                self.begin_merge()
            elif self.head_bytes > HEAD_BYTES:
                self._seal_early(now_ms)
            elif self._wal.size > LOG_FILE_BYTES:
                self._wal.rotate()
            self._end_merge()
        except OSError as error:
            self._sealed_at = now_ms  # not again at once: the log still has everything
            _log.error("cannot seal samples: %s", error)
        return removed

    def _seal_due(self, now_ms: int) -> None:
        through_ms = now_ms - HEAD_MS
        due = [
            (group, through_ms)
            for group in self._groups()
            if group.late.rows
            or group.histograms.rows
            or np.searchsorted(group.head.timestamps, through_ms, side="right") >= SEAL_ROWS
            or (group.head.rows and group.head.timestamps[0] < now_ms - self._wait_ms)
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
        """Move samples up to `through_ms` from the heads to a segment."""
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
        self._wal.rotate()
        self._wal.remove_sealed({group.number: group.sealed_safely for group in self._groups()})

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

    def begin_merge(self) -> None:
        if self.merger.busy:
            return
        by_segment: dict[Segment, list[Chunk]] = {}
        for group in self._groups():
            for chunk in group.chunks:
                by_segment.setdefault(chunk.segment, []).append(chunk)
        for segment in self._segments.finished():
            chunks = by_segment.get(segment, [])
            if segment not in self._unmergeable and worthwhile(chunks):
                self.merger.begin(Merge(segment, chunks, self._segments.draft_path(segment)))
                return

    def _end_merge(self) -> None:
        merge = self.merger.take()
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
            self.merged += 1
        elif merge.failed:
            self._unmergeable.add(merge.segment)
        self.begin_merge()

    def expire(self, now_ms: int) -> bool:
        """Remove the files that are beyond the retention, and tell whether there were any."""
        removed = self._segments.remove_old(before_ms=now_ms - self._retention_ms, limit_bytes=self._retention_bytes)
        if removed:
            with self._lock:
                for group in self._groups():
                    group.chunks = [chunk for chunk in group.chunks if chunk.segment not in removed]
        return bool(removed)
