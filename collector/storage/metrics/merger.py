"""The thread that merges finished segment files, one at a time and leaving the processor to others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.storage.metrics.merge import MergeStopped, write_merged
from collector.storage.metrics.segment import Chunk, CorruptChunkError, Segment
from collector.storage.metrics.strips import MetricOf

_log = logging.getLogger(__name__)

REST = 1.0  # it rests as long as it worked, so that it takes half a processor at most
_CLOSE_S = 30.0  # one strip takes milliseconds


@dataclass(slots=True, eq=False)
class Merge:
    """One segment and its draft. `failed` once it cannot be merged: not tried again until the next start."""

    segment: Segment
    chunks: Sequence[Chunk]
    draft: Path
    done: bool = False
    failed: bool = False


class Merger:
    """`begin` and `take` are the writing thread's; `metric_of` is called in the merger's own."""

    def __init__(self, metric_of: MetricOf) -> None:
        self._metric_of = metric_of
        self._stop = threading.Event()
        self._merge: Merge | None = None
        self._thread: threading.Thread | None = None
        self._worked_since = 0.0

    @property
    def busy(self) -> bool:
        return self._merge is not None

    def begin(self, merge: Merge) -> None:
        """Not while `busy`."""
        self._merge = merge
        self._thread = threading.Thread(target=self._run, args=(merge,), name="metric-merger", daemon=True)
        self._thread.start()

    def take(self) -> Merge | None:
        """The merge that ended, well or not, once."""
        merge = self._merge
        if merge is None or not (merge.done or merge.failed):
            return None
        self._merge = None
        return merge

    def close(self) -> None:
        """Stop at the next strip; the draft is left, and removed by the next start."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _run(self, merge: Merge) -> None:
        self._worked_since = time.monotonic()
        try:
            write_merged(merge.draft, merge.chunks, self._metric_of, self._pause)
            merge.done = True
        except MergeStopped:
            return
        except (CorruptChunkError, OSError) as error:
            _log.error("%s stays as it is, it cannot be merged: %s", merge.segment.path, error)
            merge.failed = True
        except Exception:  # a defect of ours: the file stays as it is, and the thread says so
            _log.exception("merging %s", merge.segment.path)
            merge.failed = True

    def _pause(self) -> None:
        worked = time.monotonic() - self._worked_since
        if self._stop.wait(worked * REST):
            raise MergeStopped
        self._worked_since = time.monotonic()
