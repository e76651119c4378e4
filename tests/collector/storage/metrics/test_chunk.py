"""Compressed rectangles of samples: what went in comes out, to the bit, and nothing else does."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from collector.model.series import ABSENT_BITS, STALE_BITS
from collector.storage.metrics.chunk import decode_strip, decode_timestamps, encode_strip, encode_timestamps
from collector.storage.metrics.strips import STRIP_SERIES


def rectangle(series: int, rows: int) -> np.ndarray:
    values = np.cumsum(np.random.default_rng(3).poisson(4, (series, rows)), axis=1).astype(float)
    odd = np.array([STALE_BITS, ABSENT_BITS, 0x7FF8000000000001, 1 << 63, 1], np.uint64).view(float)
    values[0, : min(rows, 5)] = odd[: min(rows, 5)]
    return values


@pytest.mark.parametrize(("series", "rows"), [(1, 1), (1, 300), (STRIP_SERIES, 240), (5, 2)])
def test_every_bit_comes_back(series: int, rows: int) -> None:
    values = rectangle(series, rows)
    decoded = decode_strip(encode_strip(values), series=series, rows=rows)
    np.testing.assert_array_equal(decoded.view(np.uint64), values.view(np.uint64))
    decoded[:] = 0.0  # it is the caller's own


def test_timestamps_come_back_regular_or_not() -> None:
    for timestamps in (np.array([5]), np.arange(1_700_000_000_000, 1_700_000_100_000, 15_000), np.array([1, 2, 900])):
        encoded = encode_timestamps(timestamps.astype(np.int64))
        np.testing.assert_array_equal(decode_timestamps(encoded, rows=len(timestamps)), timestamps)


def test_a_blob_that_is_cut_or_of_another_size_is_refused() -> None:
    blob = encode_strip(rectangle(4, 50))
    for wrong, series in ((blob[:-3], 4), (blob, 5), (blob, 3), (b"", 4), (b"nonsense", 4)):
        with pytest.raises(ValueError, match="a chunk"):
            decode_strip(wrong, series=series, rows=50)


def test_blobs_that_zlib_compressed_are_read() -> None:
    values = rectangle(3, 40)
    bits = values.view(np.uint64).copy()
    bits[:, 1:] ^= values.view(np.uint64)[:, :-1]
    planes = np.ascontiguousarray(bits.view(np.uint8).reshape(3, 40, 8).transpose(2, 0, 1)).tobytes()
    decoded = decode_strip(zlib.compress(planes, 1), series=3, rows=40)
    np.testing.assert_array_equal(decoded.view(np.uint64), values.view(np.uint64))
    with pytest.raises(ValueError, match="a chunk"):
        decode_strip(zlib.compress(planes[:-8], 1), series=3, rows=40)
