"""
Zstandard bodies, within bounds.

A frame says how large a window its decoder must keep, up to terabytes, and most leave out how much comes out of it. So
its headers are read before anything is decompressed (RFC 8878, 3.1.1).
"""

from __future__ import annotations

import cramjam

from collector.errors import BadRequestError, LimitExceededError
from collector.pipeline.admission import Hold

MAX_WINDOW = 8 << 20  # what a sender of HTTP's "zstd" may use at most (RFC 9659, 3)
_MAGIC = b"\x28\xb5\x2f\xfd"
_RAW, _RLE, _COMPRESSED = range(3)
_MAX_BLOCK = 128 << 10  # bytes that come out of a block (RFC 8878, 3.1.1.2.4)
# Encoders fill their blocks, but for one at each flush. 4 MiB of empty ones would take seconds to walk.
_MAX_BLOCKS = 16_384


def unpacked(body: bytes, most: int, hold: Hold) -> bytes:
    """
    What one frame holds.

    Raises:
        BadRequestError: not one whole frame.
        LimitExceededError: it asks for a larger window than MAX_WINDOW, or holds more than `most` bytes.
        TemporaryError: too much is in flight.
    """
    bound = _bound(body)
    room = min(bound, most + 1)
    hold.to(len(body) + room)
    out = bytearray(room)  # its pages are there once they are written to
    try:
        size = cramjam.zstd.decompress_into(body, out)
    except cramjam.DecompressionError as error:
        if bound > most and "buffer" in str(error):
            raise LimitExceededError(f"body exceeds the limit of {most} decompressed bytes") from error
        raise BadRequestError(f"body is not zstd: {error}") from error
    if size > most:
        raise LimitExceededError(f"body exceeds the limit of {most} decompressed bytes")
    return bytes(memoryview(out)[:size])


def _bound(body: bytes) -> int:
    """How many bytes can come out at most, from the headers of the frame and of its blocks."""
    if body[:4] != _MAGIC:
        raise BadRequestError("body is not zstd")
    if len(body) < 6:
        raise BadRequestError(f"zstd body of {len(body)} bytes is cut short")
    descriptor = body[4]
    single_segment = bool(descriptor & 0x20)
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    at = 5
    window = 0
    if not single_segment:
        exponent, mantissa = body[at] >> 3, body[at] & 7
        window = (1 << 10 + exponent) * (8 + mantissa) // 8
        at += 1
    at += (0, 1, 2, 4)[descriptor & 3]  # the dictionary's id; decoding fails for want of it
    declared = int.from_bytes(body[at : at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    window = max(window, declared if single_segment else 0)
    if window > MAX_WINDOW:
        raise LimitExceededError(f"zstd window of {window} bytes exceeds {MAX_WINDOW}")
    bound = _blocks(body, at + size_bytes, checksum=bool(descriptor & 4))
    return min(bound, declared) if size_bytes else bound


def _blocks(body: bytes, at: int, *, checksum: bool) -> int:
    bound = 0
    for _ in range(_MAX_BLOCKS):
        if at + 3 > len(body):
            raise BadRequestError(f"zstd body of {len(body)} bytes is cut short")
        header = int.from_bytes(body[at : at + 3], "little")
        kind, size = header >> 1 & 3, header >> 3
        bound += _MAX_BLOCK if kind == _COMPRESSED else size
        at += 3 + (1 if kind == _RLE else size)
        if header & 1:
            end = at + (4 if checksum else 0)
            if end != len(body):
                what = "is cut short" if end > len(body) else "has something after its frame"
                raise BadRequestError(f"zstd body of {len(body)} bytes {what}")
            return bound
    raise LimitExceededError(f"zstd body has more than {_MAX_BLOCKS} blocks")
