"""Reading logs: GET /api/v1/logs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from collector.model.attributes import Attribute
from collector.model.ids import parse_span_id, parse_trace_id, span_id_hex, trace_id_hex
from collector.model.telemetry import LogRecord
from collector.storage.logs import LogQuery, LogReader, cursor_text, parse_cursor

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
DEFAULT_LOOKBACK_S = 3600
MAX_TEXT = 1_000  # characters
MAX_ATTRIBUTES = 20
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
        span_id: str | None = None,
        text: Annotated[str | None, Query(max_length=MAX_TEXT)] = None,
        attribute: Annotated[list[str], Query(max_length=MAX_ATTRIBUTES)] = [],  # noqa: B006  (FastAPI's way)
        start: Seconds = None,
        end: Seconds = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """
        Newest first. `start` (inclusive) and `end` (exclusive) are Unix seconds; `severity` is that or worse.

        `text` is looked for in the body whatever its case; `attribute` is `key:value`, of the record or its resource.
        A result that was cut says `truncated` and gives the `cursor` that continues it.
        """
        until = time.time() if end is None else end
        since = max(0.0, until - DEFAULT_LOOKBACK_S) if start is None else start
        try:
            after, begin = parse_cursor(cursor) if cursor else (None, round(since * _NANO))
            query = LogQuery(
                service=service,
                min_severity=None if severity is None else _severity(severity),
                trace_id=None if trace_id is None else parse_trace_id(trace_id),
                span_id=None if span_id is None else parse_span_id(span_id),
                text=text,
                attributes=dict(_pair(pair) for pair in attribute),
                start_unix_nano=begin,
                end_unix_nano=after.moment_unix_nano + 1 if after else round(until * _NANO),
                limit=limit,
                after=after,
            )
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        page = reader.page(query)
        return {
            "status": "success",
            "data": [log_json(record) for record in page.records],
            "truncated": page.next is not None,
            "cursor": cursor_text(page.next, begin) if page.next else None,
        }

    return router


def _pair(text: str) -> tuple[str, str]:
    key, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"attribute {text[:64]!r} is not key:value")
    return key, value


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
        "body": record.body.json_value,
        "attributes": attributes_json(record.attributes),
        "resource": attributes_json(record.resource.attributes),
        "scope": record.scope.name,
        "event_name": record.event_name,
        "trace_id": trace_id_hex(record.trace_id) if record.trace_id else "",
        "span_id": span_id_hex(record.span_id) if record.span_id else "",
        "flags": record.flags,
        "dropped_attributes": record.dropped_attributes,
    }


def attributes_json(attributes: Iterable[Attribute]) -> dict[str, Any]:
    return {item.key: item.json_value for item in attributes}
