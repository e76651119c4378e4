"""
OTLP/JSON to OTLP protobuf.

It is protobuf's own JSON mapping but for trace and span ids, which are hex and not base64 (OTLP specification, "JSON
Protobuf Encoding"), and unknown fields, which are ignored.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from google.protobuf.message import Message

from collector.errors import BadRequestError

_ID_FIELDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
# What is not under these keys holds no ids, and a user's own attribute cannot be mistaken for one.
_HOLD_IDS = (
    frozenset({"resourceSpans", "scopeSpans", "spans", "links"})
    | frozenset({"resourceLogs", "scopeLogs", "logRecords"})
    | frozenset({"resourceMetrics", "scopeMetrics", "metrics", "dataPoints", "exemplars"})
    | frozenset({"gauge", "sum", "histogram", "exponentialHistogram", "summary"})
    | frozenset({"resource_spans", "scope_spans", "resource_logs", "scope_logs", "log_records"})
    | frozenset({"resource_metrics", "scope_metrics", "data_points", "exponential_histogram"})
)


def request_of_json(body: bytes, kind: type[Message]) -> bytes:
    """
    The serialised request that `body` says in JSON.

    Raises:
        BadRequestError: it is not JSON, or not that request.
    """
    try:
        tree = json.loads(body)
        if not isinstance(tree, dict):
            raise BadRequestError(f"OTLP/JSON is an object, got {type(tree).__name__}")
        _ids_to_base64(tree)
        return bytes(ParseDict(tree, kind(), ignore_unknown_fields=True).SerializeToString())
    except (ValueError, ParseError, RecursionError, TypeError, AttributeError) as error:
        raise BadRequestError(f"not an OTLP/JSON {kind.DESCRIPTOR.name}: {error}") from error


def json_of_response(response: Message) -> bytes:
    return bytes(MessageToJson(response, indent=None).encode())


def _ids_to_base64(node: dict[str, Any]) -> None:
    for key, value in node.items():
        if key in _ID_FIELDS and isinstance(value, str):
            node[key] = base64.b64encode(bytes.fromhex(value)).decode()
        elif key in _HOLD_IDS:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, dict):
                    _ids_to_base64(child)
