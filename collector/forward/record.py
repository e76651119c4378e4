"""One export request, as it stands in the queue. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cramjam

from collector.errors import CollectorError

# version, items, bytes of the request, when it was queued (Unix milliseconds), digest; then the request in zstd
_HEADER = struct.Struct("<BxxxIIQ16s")
_VERSION = 1
_LEVEL = 1  # of zstd: spans of one batch are alike, and higher ones cost twice the time for a tenth of the bytes


class ForeignRecordError(CollectorError):
    """A record of the queue whose checksum is right and that this version cannot read."""


@dataclass(frozen=True, slots=True)
class QueuedRequest:
    """A serialised Export*ServiceRequest."""

    items: int  # spans, log records or data points
    size: int  # bytes, before they are packed
    queued_ms: int  # Unix milliseconds
    digest: bytes  # 16 bytes of what was received: a sender that had no answer sends the same bytes again
    packed: bytes

    @classmethod
    def of(cls, request: bytes, *, items: int, now_ms: int, digest: bytes) -> QueuedRequest:
        return cls(items, len(request), now_ms, digest, bytes(cramjam.zstd.compress(request, _LEVEL)))

    @property
    def rows(self) -> int:
        return self.items

    def payload(self) -> bytes:
        return _HEADER.pack(_VERSION, self.items, self.size, self.queued_ms, self.digest) + self.packed

    @classmethod
    def read(cls, payload: bytes) -> QueuedRequest:
        """
        Raises:
            ForeignRecordError: another version wrote it.
        """
        if len(payload) < _HEADER.size or payload[0] != _VERSION:
            raise ForeignRecordError(f"record of {len(payload)} bytes in the queue is not of version {_VERSION}")
        _, items, size, queued_ms, digest = _HEADER.unpack_from(payload)
        return cls(items, size, queued_ms, digest, payload[_HEADER.size :])

    def request(self) -> bytes:
        return bytes(cramjam.zstd.decompress(self.packed, self.size))
