"""Buckets of native histograms as Prometheus sends them: spans of indices, and counts or their deltas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from collector.errors import BadRequestError
from collector.model.histogram import NO_COUNTS, NO_INDEX


def counts_of(sent: Any, *, floats: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Args: sent: of floats the counts, of integers the difference of each to the one before."""
    if not len(sent):
        return NO_COUNTS
    if floats:
        return np.array(sent, np.float64)
    return np.cumsum(np.array(sent, np.int64)).astype(np.float64)


def index_of(spans: Any, count: int, side: str) -> np.ndarray[Any, np.dtype[np.int32]]:
    """
    The bucket of each count. The first span's offset counts from 0, the others' from the end of the one before.

    Raises:
        BadRequestError: they are not as many, or out of range.
    """
    lengths = [span.length for span in spans]
    if sum(lengths) != count:
        raise BadRequestError(f"{side} side: spans need {sum(lengths)} buckets, have {count} buckets")
    if not count:
        return NO_INDEX
    indices = np.fromiter(_walk(spans), np.int64, count)
    if indices.max() >= 2**31 or indices.min() < -(2**31):
        raise BadRequestError(f"{side} side: bucket {int(indices[np.abs(indices).argmax()])} is out of range")
    return indices.astype(np.int32)


def _walk(spans: Any) -> Iterator[int]:
    at = 0
    for span in spans:
        at += span.offset
        yield from range(at, at + span.length)
        at += span.length
