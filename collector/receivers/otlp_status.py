"""Errors as OTLP sends them: an HTTP status, a gRPC code, and google.rpc.Status in the request's own encoding."""

from __future__ import annotations

from typing import NamedTuple

import grpc
from google.protobuf.json_format import MessageToJson
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from collector.errors import BadRequestError, LimitExceededError, TemporaryError, UnsupportedError

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
RETRYABLE = 503
RETRY_AFTER_S = 1  # group commits come every 0.1 s, so a second clears any backlog that admission lets in


class Failure(NamedTuple):
    http: int
    grpc: grpc.StatusCode
    message: str


def failure_of(error: Exception) -> Failure:
    """Source: OTLP specification 1.8, "Failures" and "OTLP/HTTP Response"; only 503 and UNAVAILABLE are retried."""
    match error:
        case BadRequestError():
            return Failure(400, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        case UnsupportedError():
            return Failure(415, grpc.StatusCode.UNIMPLEMENTED, str(error))
        case LimitExceededError():
            return Failure(413, grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        case TemporaryError():
            return Failure(503, grpc.StatusCode.UNAVAILABLE, str(error))
    return Failure(500, grpc.StatusCode.INTERNAL, "internal error, see the collector's log")


def status_of(failure: Failure) -> Status:
    """With the delay after which to send again, where that helps (OTLP, "OTLP/gRPC Throttling")."""
    status = Status(code=failure.grpc.value[0], message=failure.message)
    if failure.http == RETRYABLE:
        delay = RetryInfo()
        delay.retry_delay.FromSeconds(RETRY_AFTER_S)
        status.details.add().Pack(delay)
    return status


def status_body(failure: Failure, media_type: str) -> bytes:
    status = status_of(failure)
    return bytes(MessageToJson(status, indent=None).encode() if media_type == JSON else status.SerializeToString())
