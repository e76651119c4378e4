"""OTLP over HTTP: POST /v1/traces, /v1/logs, /v1/metrics, in protobuf or JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from collector.errors import CollectorError, TemporaryError, UnsupportedError
from collector.pipeline.admission import Hold, Limits
from collector.receivers.otlp_body import read_body
from collector.receivers.otlp_ingest import REQUEST_TYPES, Signal
from collector.receivers.otlp_json import json_of_response, request_of_json
from collector.receivers.otlp_sink import OtlpSink
from collector.receivers.otlp_status import JSON, PROTOBUF, RETRY_AFTER_S, RETRYABLE, failure_of, status_body

_log = logging.getLogger(__name__)
_TRANSPORT = "http"
BODY_TIMEOUT_S = 10.0  # an SDK's own timeout for the whole export; a slow sender may not hold memory for longer
STALL_TIMEOUT_S = 3.0  # a lost segment is sent again after 0.2 to 1 s (RFC 6298); after three the sender is gone
_JSON_MEMORY = 6  # an estimate: objects and messages beside each byte of text, the short strings of spans at worst
_JSON_INLINE_BYTES = 16 << 10  # takes about as long to read as it takes to hand it to a thread and back


def otlp_http_app(ingest: OtlpSink) -> Starlette:
    return Starlette(
        routes=[Route(f"/v1/{signal.value}", _endpoint(ingest, signal), methods=["POST"]) for signal in Signal]
    )


def _endpoint(ingest: OtlpSink, signal: Signal) -> Callable[[Request], Awaitable[Response]]:
    async def export(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            body = await _export(ingest, signal, request, media_type)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it; nginx's number for "client closed request"
        except Exception as error:
            return _failed(ingest, signal, error, media_type)
        ingest.counts.request(signal.value, _TRANSPORT, "ok")
        return Response(body, media_type=media_type)

    return export


async def _export(ingest: OtlpSink, signal: Signal, request: Request, media_type: str) -> bytes:
    if media_type not in (PROTOBUF, JSON):
        raise UnsupportedError(f"content type {media_type[:40]!r}: {PROTOBUF} and {JSON} are understood")
    with ingest.admission.memory() as hold:
        with ingest.admission.arriving():
            body = await _body(request, ingest.admission.limits, hold)
        with ingest.admission.request():
            if media_type == JSON:
                hold.to(len(body) * _JSON_MEMORY)
                convert = partial(request_of_json, body, REQUEST_TYPES[signal])
                body = convert() if len(body) < _JSON_INLINE_BYTES else await asyncio.to_thread(convert)
            response = await ingest.export(signal, body, transport=_TRANSPORT, hold=hold)
    return json_of_response(response) if media_type == JSON else bytes(response.SerializeToString())


async def _body(request: Request, limits: Limits, hold: Hold) -> bytes:
    declared = request.headers.get("content-length", "")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await read_body(
                _prompt(request.stream()),
                encoding=request.headers.get("content-encoding", "").strip().lower(),
                declared=int(declared) if declared.isdecimal() else None,
                limits=limits,
                hold=hold,
            )
    except TimeoutError as error:
        within = f"body did not arrive within {BODY_TIMEOUT_S} s, or stood still for {STALL_TIMEOUT_S} s"
        raise TemporaryError(within) from error


async def _prompt(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, as long as none takes longer than STALL_TIMEOUT_S."""
    while True:
        try:
            async with asyncio.timeout(STALL_TIMEOUT_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        yield chunk


def _failed(ingest: OtlpSink, signal: Signal, error: Exception, media_type: str) -> Response:
    failure = failure_of(error)
    if not isinstance(error, CollectorError):
        _log.exception("export of %s over HTTP failed", signal.value, exc_info=error)
    ingest.counts.request(signal.value, _TRANSPORT, failure.grpc.name.lower())
    answer_type = media_type if media_type in (PROTOBUF, JSON) else PROTOBUF
    headers = {"Retry-After": str(RETRY_AFTER_S)} if failure.http == RETRYABLE else None
    return Response(status_body(failure, answer_type), failure.http, headers, answer_type)
