"""
Compressing a rectangle of samples: each value XORed with the one before it in its series, bytes of equal weight side
by side, then zstd. Values that repeat or count slowly leave almost only zero bytes.

The series are cut into strips, each compressed by itself, so that a query for one metric need not unpack the others
(see strips.py).

Measured on the counters, buckets and gauges of bench/metrics.py, strips of 240 rows: 1.3 bytes a sample, where zlib
made 1.4; compressed at 1.3 GB/s (zlib 0.3) and unpacked at 2.3 (zlib 1.0). Level 3 gained 1 %. Stores of before have
zlib's blobs, which are still read.
"""

from __future__ import annotations

import zlib

import cramjam
import numpy as np
from numpy.typing import NDArray

_LEVEL = 1
_ZLIB = b"\x78"  # how zlib's blobs begin (RFC 1950, deflate with a window of 32 KiB); zstd's begin with 0x28


def encode_strip(values: NDArray[np.float64]) -> bytes:
    """values [s, n], any bit patterns, as one blob."""
    bits = values.view(np.uint64).copy()
    bits[:, 1:] ^= values.view(np.uint64)[:, :-1]
    return _shuffled(bits)


def decode_strip(blob: bytes, *, series: int, rows: int) -> NDArray[np.float64]:
    """
    Raises:
        ValueError: the blob does not hold series x rows values.
    """
    bits = _unshuffled(blob, series, rows)
    np.bitwise_xor.accumulate(bits, axis=1, out=bits)
    return bits.view(np.float64)


def encode_timestamps(timestamps_ms: NDArray[np.int64]) -> bytes:
    """int64[n], n > 0: as differences of differences, which regular scrapes make zero."""
    deltas = np.diff(timestamps_ms, prepend=np.int64(0))
    return _shuffled(np.diff(deltas, prepend=np.int64(0)).view(np.uint64)[np.newaxis])


def decode_timestamps(blob: bytes, *, rows: int) -> NDArray[np.int64]:
    """
    Raises:
        ValueError: the blob does not hold `rows` timestamps.
    """
    return np.cumsum(np.cumsum(_unshuffled(blob, 1, rows)[0].view(np.int64)))


def _shuffled(bits: NDArray[np.uint64]) -> bytes:
    planes = np.ascontiguousarray(bits.astype("<u8").view(np.uint8).reshape(*bits.shape, 8).transpose(2, 0, 1))
    return bytes(cramjam.zstd.compress(planes.reshape(-1).data, _LEVEL))


def _unshuffled(blob: bytes, series: int, rows: int) -> NDArray[np.uint64]:
    size = 8 * series * rows
    raw = np.empty(size, np.uint8)
    try:
        held = _inflated(blob, raw) if blob[:1] == _ZLIB else cramjam.zstd.decompress_into(blob, raw.data)
    except (zlib.error, cramjam.DecompressionError) as error:
        raise ValueError(f"a chunk of {size} bytes does not unpack: {error}") from error
    if held != size:
        raise ValueError(f"a chunk holds {held} bytes in place of {size}")
    # Always a copy, also where the transposed bytes happen to lie in order.
    planes = raw.reshape(8, series, rows)
    return planes.transpose(1, 2, 0).copy(order="C").view("<u8")[..., 0].astype(np.uint64, copy=False)


def _inflated(blob: bytes, out: NDArray[np.uint8]) -> int:
    data = zlib.decompressobj().decompress(blob, len(out))
    out[: len(data)] = np.frombuffer(data, np.uint8)
    return len(data)
