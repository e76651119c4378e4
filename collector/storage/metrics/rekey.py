"""Writing a metric store's files anew under another seal, while nobody has it open."""

from __future__ import annotations

import fcntl
import os
from itertools import groupby
from pathlib import Path

import numpy as np

from collector.errors import TemporaryError
from collector.storage.durable_file import replace_file
from collector.storage.encryption import EncryptionKey
from collector.storage.framing import frame, frames
from collector.storage.metrics import catalog, wal
from collector.storage.metrics.segment import Chunk, SegmentStore, chunk_bytes
from collector.storage.metrics.store import PURPOSE
from collector.storage.seal import Seal, seal_of


def rekey_metrics(source: Path, target: Path, *, old: EncryptionKey | None, new: EncryptionKey | None) -> None:
    """
    Args:
        target: a folder that is not there, or empty.

    Raises:
        TemporaryError: a process has the store open.
        EncryptionError, CorruptChunkError: it cannot be read with `old`.
    """
    lock = os.open(source / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        opened, sealed = seal_of(old, PURPOSE), seal_of(new, PURPOSE)
        for path in [source / catalog.FILE_NAME, *sorted(source.glob(f"*{wal.SUFFIX}"))]:
            payloads = [opened.opened(bytes(payload)) for payload, _ in frames(path.read_bytes())]
            replace_file(target / path.name, b"".join(frame(sealed.sealed(payload)) for payload in payloads))
        for segment, chunks in groupby(
            SegmentStore(source, opened, roll_bytes=0, roll_ms=0).load(), key=lambda chunk: chunk.segment
        ):
            replace_file(target / segment.path.name, b"".join(_resealed(chunk, sealed) for chunk in chunks))
    except BlockingIOError as error:
        raise TemporaryError(f"the metric store {source} is open in another process") from error
    finally:
        os.close(lock)


def _resealed(chunk: Chunk, seal: Seal) -> bytes:
    bounds = (chunk.min_ms, chunk.max_ms)
    sizes = None if chunk.histograms else np.diff(chunk.strips)
    return chunk_bytes(seal, chunk.group, chunk.columns.ids, chunk.rows, bounds, chunk.contents(), sizes)[2]
