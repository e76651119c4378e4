"""Exporting a range of time and importing it again: GET /api/v1/export, POST /api/v1/import, for who has the token."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from collector.errors import TemporaryError
from collector.model.telemetry import LogBatch, SpanBatch
from collector.pipeline.admission import Admission
from collector.pipeline.archived import batch_of
from collector.pipeline.redaction import Redactor
from collector.storage.traces.archive import KINDS, Kind, Part, end_of, read_part
from collector.storage.traces.archive_reader import ArchiveReader
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.search import Range
from steersman.runtime.http import require_bearer

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
EXPORTS = 1  # at once: each holds two parts
MAX_PART_BYTES = 32 << 20  # of an import; a request of OTLP, once decompressed, has at most half of it
_LAST = 2**64 - 1

Nanoseconds = Annotated[int, Query(ge=0, le=_LAST)]
Restore = Callable[[SpanBatch | LogBatch], Awaitable[int]]


def archive_router(
    database: TelemetryDatabase, restore: Restore, *, token: str, admission: Admission, redactor: Redactor | None
) -> APIRouter:
    """
    Args:
        restore: stores what is not there yet, durably, and tells how many records that were.
        token: what both ask for.
        redactor: what is imported goes through it.
    """
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(require_bearer(token))])
    exports = threading.BoundedSemaphore(EXPORTS)

    @router.get("/export")
    async def export(
        request: Request, kind: str, start_unix_nano: Nanoseconds = 0, end_unix_nano: Nanoseconds = _LAST
    ) -> StreamingResponse:
        """`spans` or `logs` whose moment is in the range, both ends inclusive; see storage/traces/archive.py."""
        wanted = _kind(kind)
        if not exports.acquire(blocking=False):
            raise TemporaryError(f"{EXPORTS} export is running, limit {EXPORTS}")
        parts = _encoded(ArchiveReader(database, wanted, Range(start_unix_nano, end_unix_nano)), wanted)
        try:
            first = await run_in_threadpool(next, parts)  # what fails at once is answered
        except BaseException:
            exports.release()
            raise
        return _Export(_while_connected(request, first, parts), exports)

    @router.post("/import")
    async def import_(request: Request, kind: str) -> dict[str, Any]:
        """Store one part; what is there already is left out, so that an import may be repeated."""
        wanted = _kind(kind)
        with admission.memory() as hold, admission.request():
            body = await _body(request, hold.to)
            hold.to(3 * len(body))  # the body, its columns, and what of them is new
            batch = await run_in_threadpool(_decoded, body, wanted, redactor)
            stored = await restore(batch) if batch else 0
        return {"status": "success", "data": {"received": batch.table.num_rows if batch else 0, "stored": stored}}

    return router


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise HTTPException(400, f"kind {name[:40]!r} is not one of {', '.join(KINDS)}")
    return KINDS[name]


def _encoded(reader: ArchiveReader, kind: Kind) -> Iterator[bytes]:
    yield from map(Part.encoded, reader.parts())
    yield end_of(kind).encoded()


async def _while_connected(request: Request, first: bytes, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The server drops what is sent to a client that has gone, without a word."""
    part: bytes | None = first
    while part is not None and not await request.is_disconnected():
        yield part
        part = await run_in_threadpool(next, parts, None)


class _Export(StreamingResponse):
    """Gives its place back however it ends."""

    def __init__(self, content: AsyncIterator[bytes], exports: threading.BoundedSemaphore) -> None:
        super().__init__(content, media_type=MEDIA_TYPE)
        self._exports = exports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._exports.release()


async def _body(request: Request, hold: Callable[[int], None]) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_PART_BYTES:
            raise HTTPException(413, f"part of an archive exceeds {MAX_PART_BYTES} bytes")
        hold(len(body))
    return bytes(body)


def _decoded(body: bytes, kind: Kind, redactor: Redactor | None) -> SpanBatch | LogBatch | None:
    part = read_part(pa.BufferReader(body), kind)
    if not part.records.num_rows:
        return None
    return batch_of(part, kind, received_ms=time.time_ns() // 1_000_000, redactor=redactor)
