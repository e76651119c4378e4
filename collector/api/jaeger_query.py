"""The parameters of Jaeger's search, read as Jaeger reads them (jaeger, cmd/query/app/query_parser.go). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from collector.errors import BadRequestError
from collector.storage.traces.search import TraceQuery

DEFAULT_LIMIT = 20  # Jaeger's (query_parser.go, defaultQueryLimit)
MAX_LIMIT = 1500  # the largest that Jaeger's page offers
DEFAULT_LOOKBACK_US = 2 * 24 * 3600 * 1_000_000  # Jaeger's, two days (query_parser.go)
_MAX_US = 2**63 // 1000  # the largest whose nanoseconds fit the store's integers
_UNITS_NANO = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def go_duration_nano(name: str, text: str) -> int:
    """
    Go's duration syntax (`1.5s`, `1m30s`, `100us`) in nanoseconds; not negative.

    Raises:
        BadRequestError: not that syntax.
    """
    terms = list(_TERM.finditer(text))
    if text == "0":
        return 0
    if not terms or "".join(term.group() for term in terms) != text or len(text) > 64:
        raise BadRequestError(f"parameter {name!r}: {text[:64]!r} is not a duration such as 1.2s, 100ms or 500us")
    total = sum(round(float(term[1]) * _UNITS_NANO[term[2]]) for term in terms)
    if total >= 2**63:
        raise BadRequestError(f"parameter {name!r}: {text!r} is longer than 292 years")
    return total


def whole_number(name: str, text: str, *, low: int, high: int) -> int:
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not low <= int(text) <= high:
        raise BadRequestError(f"parameter {name!r}: {text[:64]!r} is not a whole number from {low} to {high}")
    return int(text)


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
            raise BadRequestError(f"parameter 'tag': {pair[:64]!r} is not key:value")
        found[key] = value
    for text in tags:
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequestError(f"parameter 'tags' is not JSON: {error}") from error
        if not isinstance(parsed, dict) or not all(isinstance(value, str) for value in parsed.values()):
            raise BadRequestError("parameter 'tags' is not a JSON object whose values are strings")
        found |= parsed
    return found


def parse_search(one: Mapping[str, str], *, tags: Mapping[str, str], now_us: int) -> TraceQuery:
    """
    Args:
        one: The parameters that stand once: service, operation, start, end, lookback, limit, minDuration, maxDuration.

    Raises:
        BadRequestError: one is missing, wrong, or they contradict one another.
    """
    service = one.get("service", "")
    if not service:
        raise BadRequestError("parameter 'service' is required")
    end = whole_number("end", one["end"], low=0, high=_MAX_US) if one.get("end") else now_us
    start = whole_number("start", one["start"], low=0, high=_MAX_US) if one.get("start") else _looked_back(one, end)
    shortest = go_duration_nano("minDuration", one["minDuration"]) if one.get("minDuration") else None
    longest = go_duration_nano("maxDuration", one["maxDuration"]) if one.get("maxDuration") else None
    if shortest is not None and longest is not None and shortest > longest:
        raise BadRequestError("'maxDuration' should be greater than 'minDuration'")
    return TraceQuery(
        service=service,
        operation=one.get("operation") or None,
        tags=tags,
        start_min_unix_nano=start * 1000,
        start_max_unix_nano=end * 1000 + 999,
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
    nano = int(days[1]) * 24 * _UNITS_NANO["h"] if days else go_duration_nano("lookback", lookback)
    return max(0, end_us - nano // 1000)
