"""Reading a request's body without ever holding more of it than the limits allow, compressed or not."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from collector.errors import BadRequestError, LimitExceededError, UnsupportedError
from collector.pipeline.admission import Hold, Limits
from collector.receivers.otlp_zstd import unpacked

_GZIP_WINDOW = 31  # zlib's way to ask for a gzip header, with its largest window
ENCODINGS = ("", "identity", "gzip", "zstd")


async def read_body(
    chunks: AsyncIterator[bytes], *, encoding: str, declared: int | None, limits: Limits, hold: Hold
) -> bytes:
    """
    The decompressed body.

    Args:
        encoding: Content-Encoding: "", "identity", "gzip" or "zstd".
        declared: Content-Length, if sent.
        hold: Grows with what is read.

    Raises:
        LimitExceededError: more than `max_body_bytes` as sent, or than `max_request_bytes` decompressed; noticed while
            reading and while inflating.
        BadRequestError: not what `encoding` says, or cut short.
        UnsupportedError: another encoding.
        TemporaryError: too much is in flight.
    """
    if encoding not in ENCODINGS:
        raise UnsupportedError(f"content encoding {encoding[:40]!r}: gzip, zstd and identity are understood")
    if declared is not None and declared > limits.max_body_bytes:
        raise LimitExceededError(f"body of {declared} bytes exceeds {limits.max_body_bytes}")
    inflate = zlib.decompressobj(_GZIP_WINDOW) if encoding == "gzip" else None
    received = 0
    body = bytearray()
    async for chunk in chunks:
        received += len(chunk)
        if received > limits.max_body_bytes:
            raise LimitExceededError(f"body exceeds {limits.max_body_bytes} bytes")
        body += chunk if inflate is None else _inflated(inflate, chunk, limits.max_request_bytes - len(body))
        hold.to(len(body))
    if inflate is not None and received and not inflate.eof:
        raise BadRequestError(f"gzip body of {received} bytes is cut short")
    return unpacked(bytes(body), limits.max_request_bytes, hold) if encoding == "zstd" and body else bytes(body)


def _inflated(inflate: zlib._Decompress, chunk: bytes, room: int) -> bytes:
    try:
        out = inflate.decompress(chunk, room + 1)
    except zlib.error as error:
        raise BadRequestError(f"body is not gzip: {error}") from error
    if len(out) > room:
        raise LimitExceededError("body exceeds the limit of decompressed bytes")
    if inflate.unused_data:
        raise BadRequestError("something follows the gzip body")
    return out
