"""OTLP over HTTP: POST /v1/traces, /v1/logs, /v1/metrics, in protobuf or JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from collector.errors import BadRequestError, CollectorError, UnsupportedError
from collector.receivers.otlp_body import read_body
from collector.receivers.otlp_ingest import REQUEST_TYPES, OtlpIngest, Signal
from collector.receivers.otlp_json import json_of_response, request_of_json
from collector.receivers.otlp_status import JSON, PROTOBUF, RETRY_AFTER_S, failure_of, status_body

_log = logging.getLogger(__name__)
_TRANSPORT = "http"
BODY_TIMEOUT_S = 10.0  # an SDK's own timeout for the whole export; a slow sender may not hold a place for longer


def otlp_http_app(ingest: OtlpIngest) -> Starlette:
    return Starlette(
        routes=[Route(f"/v1/{signal.value}", _endpoint(ingest, signal), methods=["POST"]) for signal in Signal]
    )


def _endpoint(ingest: OtlpIngest, signal: Signal) -> Callable[[Request], Awaitable[Response]]:
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


async def _export(ingest: OtlpIngest, signal: Signal, request: Request, media_type: str) -> bytes:
    with ingest.admission.request():
        if media_type not in (PROTOBUF, JSON):
            raise UnsupportedError(f"content type {media_type[:40]!r}: {PROTOBUF} and {JSON} are understood")
        declared = request.headers.get("content-length", "")
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await read_body(
                    request.stream(),
                    encoding=request.headers.get("content-encoding", "").strip().lower(),
                    declared=int(declared) if declared.isdecimal() else None,
                    limits=ingest.admission.limits,
                )
        except TimeoutError as error:
            raise BadRequestError(f"body did not arrive within {BODY_TIMEOUT_S} s") from error
        if media_type == JSON:
            body = request_of_json(body, REQUEST_TYPES[signal])
        response = await ingest.export(signal, body, transport=_TRANSPORT)
    return json_of_response(response) if media_type == JSON else bytes(response.SerializeToString())


def _failed(ingest: OtlpIngest, signal: Signal, error: Exception, media_type: str) -> Response:
    failure = failure_of(error)
    if not isinstance(error, CollectorError):
        _log.exception("export of %s over HTTP failed", signal.value, exc_info=error)
    ingest.counts.request(signal.value, _TRANSPORT, failure.grpc.name.lower())
    answer_type = media_type if media_type in (PROTOBUF, JSON) else PROTOBUF
    headers = {"Retry-After": str(RETRY_AFTER_S)} if failure.http == 503 else None
    return Response(status_body(failure, answer_type), failure.http, headers, answer_type)
