"""Frames of an append-only file: little-endian payload length and CRC-32, then the payload."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_HEADER = struct.Struct("<II")
HEADER_BYTES = _HEADER.size
# A length over this is garbage, not a frame: the largest commit of one batch (200,000 series, 8 bytes each, or their
# labels in JSON) stays well below.
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024


def frame(payload: bytes) -> bytes:
    """One frame. The payload is not empty: a run of zero bytes, as a crash can leave it, must never read as frames."""
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"a frame holds 1..{MAX_PAYLOAD_BYTES} bytes, not {len(payload)}")
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def frames(data: bytes | memoryview) -> Iterator[tuple[memoryview, int]]:
    """Yield (payload, offset behind its frame), and stop before the first frame that is torn or corrupt."""
    view = memoryview(data)
    offset = 0
    while offset + HEADER_BYTES <= len(view):
        length, crc = _HEADER.unpack_from(view, offset)
        end = offset + HEADER_BYTES + length
        if not 0 < length <= MAX_PAYLOAD_BYTES or end > len(view):
            return
        payload = view[offset + HEADER_BYTES : end]
        if zlib.crc32(payload) != crc:
            return
        yield payload, end
        offset = end
