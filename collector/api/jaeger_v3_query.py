"""
The parameters of Jaeger's API v3, by their camelCase names and by the older ones with underscores. Pure.

Source: jaegerquery/internal/apiv3/query_parser.go; `query.span_name` is what Jaeger UI 2.19 sends.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from collector.api.jaeger_query import DEFAULT_LIMIT, MAX_LIMIT, MAX_TAGS, check_durations, tags_of_json, truth
from collector.errors import BadRequestError
from collector.model.go_duration import parse_go_duration_nano
from collector.model.ids import TRACE_ID_BYTES, TraceId, parse_trace_id
from collector.storage.traces.search import Position, Range, parse_cursor
from collector.storage.traces.tag_search import TraceQuery

_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})")
_MAX_NANO = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PagedQuery:
    query: TraceQuery
    after: Position | None


def one_of(parameters: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first of the names that has a value, with it; the first name and nothing if none has."""
    return next(((name, parameters[name]) for name in names if parameters.get(name)), (names[0], ""))


def rfc3339_nano(name: str, text: str) -> int:
    """
    Unix nanoseconds; datetime alone would lose the last three digits.

    Raises:
        BadRequestError: not RFC 3339, before 1970 or after 2262.
    """
    match = _RFC3339.fullmatch(text)
    try:
        if not match:
            raise ValueError("not RFC 3339 such as 2026-01-31T12:00:00Z")
        zone = "+00:00" if match[3] in "Zz" else match[3]
        seconds = (datetime.fromisoformat(match[1] + zone) - datetime.fromtimestamp(0, UTC)).total_seconds()
        nano = int(seconds) * 10**9 + int((match[2] or "0").ljust(9, "0"))
        if not 0 <= nano <= _MAX_NANO:
            raise ValueError("outside the years 1970 to 2262")
    except (ValueError, OverflowError) as error:
        raise BadRequestError(f"malformed parameter {name}: {text[:64]!r}: {error}") from error
    return nano


def path_trace_id(text: str) -> TraceId:
    """Hex, or base64 of 16 bytes as protobuf's JSON has bytes."""
    if len(text) in (22, 24) and not re.fullmatch("[0-9a-fA-F]+", text):
        try:
            raw = base64.b64decode(text.rstrip("=") + "==", validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) == TRACE_ID_BYTES and any(raw):
            return TraceId(int.from_bytes(raw, "big"))
    try:
        return parse_trace_id(text)
    except ValueError as error:
        raise BadRequestError(f"malformed parameter trace_id: {error}") from error


def check_trace_parameters(parameters: Mapping[str, str]) -> None:
    """Times are a hint for stores that are split by time; this one finds a trace without."""
    for names in (("startTime", "start_time"), ("endTime", "end_time")):
        name, text = one_of(parameters, *names)
        if text:
            rfc3339_nano(name, text)
    truth_of(parameters, "rawTraces", "raw_traces")


def truth_of(parameters: Mapping[str, str], *names: str) -> bool:
    name, text = one_of(parameters, *names)
    try:
        return truth(name, text)
    except BadRequestError as error:
        raise BadRequestError(f"malformed parameter {name}: {text[:64]!r}") from error


def parse_time_range(parameters: Mapping[str, str], start: tuple[str, str], end: tuple[str, str]) -> Range:
    (start_name, start_text), (end_name, end_text) = one_of(parameters, *start), one_of(parameters, *end)
    if not start_text or not end_text:
        raise BadRequestError(f"{start[0]} and {end[0]} are required: min and max start time are required")
    found = Range(rfc3339_nano(start_name, start_text), rfc3339_nano(end_name, end_text))
    if found.start_unix_nano > found.end_unix_nano:
        raise BadRequestError(f"malformed parameter {end_name}: it is before {start_name}")
    return found


def parse_v3_search(parameters: Mapping[str, str]) -> PagedQuery:
    """
    Raises:
        BadRequestError: a parameter is missing or wrong; the message names it as it was sent.
    """
    if parameters.get("query.filter"):
        raise BadRequestError("query.filter is not supported: see GET /api/v3/capabilities")
    within = parse_time_range(
        parameters, ("query.startTimeMin", "query.start_time_min"), ("query.startTimeMax", "query.start_time_max")
    )
    _, service = one_of(parameters, "query.serviceName", "query.service_name")
    _, operation = one_of(
        parameters, "query.operationName", "query.operation_name", "query.spanName", "query.span_name"
    )
    shortest = _duration(parameters, "query.durationMin", "query.duration_min")
    longest = _duration(parameters, "query.durationMax", "query.duration_max")
    check_durations(shortest, longest)
    truth_of(parameters, "query.rawTraces", "query.raw_traces")
    token = parameters.get("query.pagination.pageToken", "")
    query = TraceQuery(
        service=service or None,
        operation=operation or None,
        tags=_tags(parameters.get("query.attributes", "")),
        within=within,
        min_duration_nano=shortest,
        max_duration_nano=longest,
        limit=_limit(parameters),
    )
    return PagedQuery(query, _after(token) if token else None)


def _after(token: str) -> Position:
    try:
        return parse_cursor(token)[0]
    except ValueError as error:
        raise BadRequestError(f"malformed parameter query.pagination.pageToken: {error}") from error


def _tags(text: str) -> dict[str, str]:
    tags = tags_of_json("query.attributes", text) if text else {}
    if len(tags) > MAX_TAGS:
        raise BadRequestError(f"malformed parameter query.attributes: {len(tags)} are over the limit of {MAX_TAGS}")
    return tags


def _duration(parameters: Mapping[str, str], *names: str) -> int | None:
    name, text = one_of(parameters, *names)
    try:
        return parse_go_duration_nano(text) if text else None
    except ValueError as error:
        raise BadRequestError(f"malformed parameter {name}: {error}") from error


def _limit(parameters: Mapping[str, str]) -> int:
    name, text = one_of(
        parameters, "query.pagination.pageSize", "query.searchDepth", "query.search_depth", "query.num_traces"
    )
    if not text:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise BadRequestError(f"malformed parameter {name}: {text[:64]!r} is not a number from 1 to {MAX_LIMIT}")
    return int(text)
