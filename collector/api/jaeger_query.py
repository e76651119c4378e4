"""The parameters of Jaeger's API v1, read as Jaeger reads them (jaegerquery/internal/query_parser.go). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from collector.errors import BadRequestError
from collector.model.go_duration import NANO_OF_UNIT, parse_go_duration_nano
from collector.model.ids import TraceId, parse_trace_id
from collector.model.telemetry import SpanKind
from collector.storage.traces.search import Range
from collector.storage.traces.tag_search import TraceQuery

DEFAULT_LIMIT = 100  # Jaeger's (query_parser.go, defaultQueryLimit)
MAX_LIMIT = 1500  # the largest that Jaeger's page offers
MAX_TAGS = 100  # each reads every span's attributes
MAX_IDS = 1000  # more than Jaeger's comparison page or a table of Grafana's asks for at once
DEFAULT_LOOKBACK_US = 2 * 24 * 3600 * 1_000_000  # Jaeger's, two days (flags.go)
MAX_US = 2**63 // 1000  # the largest whose nanoseconds fit the store's integers
MAX_MS = 2**63 // 1_000_000
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})  # Go's strconv.ParseBool
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def go_duration_nano(name: str, text: str) -> int:
    try:
        return parse_go_duration_nano(text)
    except ValueError as error:
        raise BadRequestError(f"unable to parse param '{name}': {error}") from error


def whole_number(name: str, text: str, *, low: int, high: int) -> int:
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not low <= int(text) <= high:
        raise BadRequestError(
            f"unable to parse param '{name}': {text[:64]!r} is not a whole number from {low} to {high}"
        )
    return int(text)


def truth(name: str, text: str) -> bool:
    if text in _TRUE or text in _FALSE or not text:
        return text in _TRUE
    raise BadRequestError(f"unable to parse param '{name}': {text[:64]!r} is not true or false")


def trace_id(text: str) -> TraceId:
    try:
        return parse_trace_id(text)
    except ValueError as error:
        raise BadRequestError(str(error)) from error


def trace_ids(texts: Sequence[str]) -> list[TraceId]:
    if len(texts) > MAX_IDS:
        raise BadRequestError(f"{len(texts)} trace ids at once are over the limit of {MAX_IDS}")
    return [trace_id(text) for text in texts]


def span_kind(name: str) -> SpanKind | None:
    """Of Jaeger's word; None if there is none."""
    if not name:
        return None
    for kind in SpanKind:
        if kind.name.lower() == name.lower():
            return kind
    there = ", ".join(kind.name.lower() for kind in SpanKind)
    raise BadRequestError(f"unable to parse param 'spanKind': {name[:40]!r} is not one of {there}")


def parse_tags(tags: Sequence[str], pairs: Sequence[str]) -> dict[str, str]:
    """
    Args:
        tags: JSON objects of strings, as `tags=` has them.
        pairs: `key:value`, as `tag=` has them.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, colon, value = pair.partition(":")
        if not colon:
            raise BadRequestError(f"malformed 'tag' parameter, expecting key:value, received: {pair[:64]}")
        found[key] = value
    for text in tags:
        found |= tags_of_json("tags", text)
    if len(found) > MAX_TAGS:
        raise BadRequestError(f"{len(found)} tags are over the limit of {MAX_TAGS}")
    return found


def tags_of_json(name: str, text: str) -> dict[str, str]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"malformed '{name}' parameter, cannot unmarshal JSON: {error}") from error
    if not isinstance(parsed, dict) or not all(isinstance(value, str) for value in parsed.values()):
        raise BadRequestError(f"malformed '{name}' parameter: not a JSON object whose values are strings")
    return parsed


def check_durations(shortest: int | None, longest: int | None) -> None:
    if shortest is not None and longest is not None and shortest > longest:
        raise BadRequestError("'maxDuration' should be greater than 'minDuration'")


def parse_search(one: Mapping[str, str], *, tags: Mapping[str, str], now_us: int) -> TraceQuery:
    """
    Without a service the search is over all of them, which Jaeger does not offer.

    Args:
        one: The parameters that stand once: service, operation, start, end, lookback, limit, minDuration, maxDuration.

    Raises:
        BadRequestError: one is wrong, or they contradict one another.
    """
    end = whole_number("end", one["end"], low=0, high=MAX_US) if one.get("end") else now_us
    start = whole_number("start", one["start"], low=0, high=MAX_US) if one.get("start") else _looked_back(one, end)
    if start > end:
        raise BadRequestError(f"invalid parameter: start time must be before end time, got {start} and {end}")
    shortest = go_duration_nano("minDuration", one["minDuration"]) if one.get("minDuration") else None
    longest = go_duration_nano("maxDuration", one["maxDuration"]) if one.get("maxDuration") else None
    check_durations(shortest, longest)
    return TraceQuery(
        service=one.get("service") or None,
        operation=one.get("operation") or None,
        tags=tags,
        within=Range(start * 1000, end * 1000 + 999),
        min_duration_nano=shortest,
        max_duration_nano=longest,
        limit=whole_number("limit", one["limit"], low=1, high=MAX_LIMIT) if one.get("limit") else DEFAULT_LIMIT,
    )


def _looked_back(one: Mapping[str, str], end_us: int) -> int:
    """Where a search begins that names no start. Jaeger's page also sends `custom`, always with a start."""
    lookback = one.get("lookback", "")
    if lookback in ("", "custom"):
        return max(0, end_us - DEFAULT_LOOKBACK_US)
    days = re.fullmatch(r"(\d{1,4})d", lookback)  # the page's own unit, which Go lacks
    nano = int(days[1]) * 24 * NANO_OF_UNIT["h"] if days else go_duration_nano("lookback", lookback)
    return max(0, end_us - nano // 1000)
