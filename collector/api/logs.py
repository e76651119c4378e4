"""Reading logs: GET /api/v1/logs."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from collector.model.attributes import ValueType
from collector.model.ids import parse_trace_id, span_id_hex, trace_id_hex
from collector.model.telemetry import LogRecord
from collector.storage.logs import LogQuery, LogReader

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
DEFAULT_LOOKBACK_S = 3600
# The number at which each range of severities begins (logs.proto, SeverityNumber).
SEVERITIES = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}
_NANO = 1_000_000_000
_MAX_S = 2**63 // _NANO

Seconds = Annotated[float | None, Query(ge=0, le=_MAX_S, allow_inf_nan=False)]


def logs_router(reader: LogReader) -> APIRouter:
    router = APIRouter(prefix="/api/v1")

    @router.get("/logs")
    def logs(
        service: str | None = None,
        severity: str | None = None,
        trace_id: str | None = None,
        start: Seconds = None,
        end: Seconds = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    ) -> dict[str, Any]:
        """Newest first. `start` (inclusive) and `end` (exclusive) are Unix seconds; `severity` is that or worse."""
        until = time.time() if end is None else end
        since = max(0.0, until - DEFAULT_LOOKBACK_S) if start is None else start
        try:
            query = LogQuery(
                service=service,
                min_severity=None if severity is None else _severity(severity),
                trace_id=None if trace_id is None else parse_trace_id(trace_id),
                start_unix_nano=round(since * _NANO),
                end_unix_nano=round(until * _NANO),
                limit=limit,
            )
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        return {"status": "success", "data": [log_json(record) for record in reader.find(query)]}

    return router


def _severity(name: str) -> int:
    if name.upper() not in SEVERITIES:
        raise ValueError(f"severity {name[:40]!r} is not one of {', '.join(SEVERITIES)}")
    return SEVERITIES[name.upper()]


def log_json(record: LogRecord) -> dict[str, Any]:
    return {
        "time_unix_nano": str(record.time_unix_nano or record.observed_unix_nano),
        "observed_unix_nano": str(record.observed_unix_nano),
        "service": record.resource.service,
        "severity_number": record.severity_number,
        "severity_text": record.severity_text,
        "body": _json_value(record.body.type, record.body.text, record.body.value),
        "attributes": {item.key: _json_value(*item[1:], item.value) for item in record.attributes},
        "resource": {item.key: _json_value(*item[1:], item.value) for item in record.resource.attributes},
        "scope": record.scope.name,
        "event_name": record.event_name,
        "trace_id": trace_id_hex(record.trace_id) if record.trace_id else "",
        "span_id": span_id_hex(record.span_id) if record.span_id else "",
        "flags": record.flags,
        "dropped_attributes": record.dropped_attributes,
    }


def _json_value(kind: ValueType, text: str, value: Any) -> Any:
    """The value itself where JSON has it; base64 for bytes, text for a double that is not finite."""
    if kind is ValueType.BYTES or (kind is ValueType.DOUBLE and not math.isfinite(value)):
        return text
    return value
