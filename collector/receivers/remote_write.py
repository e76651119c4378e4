"""
Prometheus remote write 1.0: POST /api/v1/write.

Like OTLP it asks for no token: it adds samples, and listens on this machine only. A page in a browser here could reach
it too, and is refused.

Source: prometheus.io/docs/specs/prw/remote_write_spec and prometheus/storage/remote/write_handler.go. Unlike there,
what can be stored of a request is stored before the rest is refused, as remote write 2.0 has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from collector.errors import BadRequestError, CollectorError, LimitExceededError, TemporaryError, UnsupportedError
from collector.model.series import AppendOutcome, MetricMetadata, SampleSink
from collector.pipeline.admission import Admission
from collector.receivers.remote_write_decode import DecodedWrite, WriteDecoder
from collector.receivers.remote_write_wire import decompressed

_log = logging.getLogger(__name__)

BODY_TIMEOUT_S = 10.0  # a third of Prometheus's own remote_timeout; a slow sender may not hold a place for longer
RETRY_AFTER_S = 1
REASONS = 5  # named in an answer; the rest is counted
_PROTOBUF = "application/x-protobuf"
_V1, _V2 = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"
# Below this a request decodes in about the time that it takes to hand it to another thread and back.
_INLINE_BYTES = 64 << 10


@dataclass(slots=True)
class WriteStats:
    """Counters since the start."""

    requests: int = 0
    samples: int = 0  # received in requests that could be read, native histograms among them
    refused: int = 0  # of these, by the store: too old, another value there, over the series limit
    invalid: int = 0  # beside these, of series with wrong labels, and wrong histograms


class RemoteWrite:
    """`metadata` receives what senders say of their metric families, e.g. MetricStore.set_metadata."""

    def __init__(
        self, sink: SampleSink, *, metadata: Callable[[Iterable[MetricMetadata]], None], admission: Admission
    ) -> None:
        self.stats = WriteStats()
        self._sink = sink
        self._metadata = metadata
        self.admission = admission
        self._decoder = WriteDecoder()

    def route(self) -> Route:
        return Route("/api/v1/write", self._write, methods=["POST"])

    async def _write(self, request: Request) -> Response:
        self.stats.requests += 1
        if "origin" in request.headers:  # no sender of samples says so, and every browser does
            return _text(403, "remote write takes nothing from web pages")
        try:
            with self.admission.request():
                require_version_one(request.headers.get("content-type", ""))
                require_snappy(request.headers.get("content-encoding", ""))
                body = await self._body(request)
                refusal = await self._stored(body)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it; nginx's number for "client closed request"
        except CollectorError as error:
            return _failed(error)
        return _text(400, refusal) if refusal else Response(status_code=204)

    async def _body(self, request: Request) -> bytes:
        limit = self.admission.limits.max_body_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise LimitExceededError(f"body of {int(declared)} bytes exceeds the limit of {limit}")
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                return await _bounded(request.stream(), limit)
        except TimeoutError as error:
            raise BadRequestError(f"body did not arrive within {BODY_TIMEOUT_S} s") from error

    async def _stored(self, body: bytes) -> str:
        """Why something of it is refused, once all else is on disk; empty if nothing is."""
        limits = self.admission.limits
        message = decompressed(body, max_bytes=limits.max_request_bytes)
        with self.admission.bytes(len(message)):
            inline = len(message) < _INLINE_BYTES
            decoded = (
                self._decoder.decode(message) if inline else await asyncio.to_thread(self._decoder.decode, message)
            )
            self.stats.samples += decoded.samples
            self.stats.invalid += decoded.invalid
            if decoded.metadata:
                self._metadata(decoded.metadata)
            if not decoded.tables:
                return _refusal(decoded, None)
            outcome = await self._sink.append_tables(decoded.tables)
        self.stats.refused += sum(one.count for one in outcome.refusals)
        return _refusal(decoded, outcome)


async def _bounded(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise LimitExceededError(f"body exceeds the limit of {limit} bytes")
    return bytes(body)


def require_version_one(content_type: str) -> None:
    """
    Raises:
        UnsupportedError: another media type, or another protobuf message than remote write 1.0's.
    """
    media_type, *parameters = content_type.strip().split(";")
    if not content_type:  # before 2.0 nobody had to send one
        return
    if media_type.strip() != _PROTOBUF:
        raise UnsupportedError(f"expected {_PROTOBUF} as the first (media) part, got {content_type[:80]} content-type")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name != "proto" or value == _V1:
            continue
        if value == _V2:
            raise UnsupportedError(f"{value} protobuf message is not accepted by this server; accepted [{_V1}]")
        raise UnsupportedError(
            f"got {content_type[:80]} content type; unknown remote write protobuf message {value[:80]}, "
            f"supported: {_V1}, {_V2}"
        )


def require_snappy(encoding: str) -> None:
    """
    Raises:
        UnsupportedError
    """
    if encoding and encoding.strip().lower() != "snappy":
        raise UnsupportedError(
            f"{encoding[:40]} encoding (compression) is not accepted by this server; only snappy is acceptable"
        )


def _refusal(decoded: DecodedWrite, outcome: AppendOutcome | None) -> str:
    lines = [reason if count == 1 else f"{reason} ({count})" for reason, count in decoded.reasons.most_common(REASONS)]
    if len(decoded.reasons) > REASONS:
        lines.append(f"and {len(decoded.reasons) - REASONS} more reasons")
    for one in outcome.refusals if outcome else ():
        example = one.example if one.example.startswith(one.reason.value) else f"{one.reason.value}: {one.example}"
        lines.append(f"{example} ({one.count} in all)" if one.count > 1 else example)
    return "; ".join(lines)


def _failed(error: CollectorError) -> Response:
    match error:
        case UnsupportedError():
            return _text(415, str(error))
        case LimitExceededError():
            return _text(413, str(error))
        case TemporaryError():
            return _text(503, str(error), retry=True)
        case BadRequestError():
            return _text(400, str(error))
    _log.error("remote write: %s", error)
    return _text(500, str(error))


def _text(status: int, message: str, *, retry: bool = False) -> Response:
    """Go's http.Error."""
    headers = {"X-Content-Type-Options": "nosniff"} | ({"Retry-After": str(RETRY_AFTER_S)} if retry else {})
    return PlainTextResponse(message + "\n", status, headers)
