"""
The parameters of Prometheus's HTTP API: from the URL and, with POST, from a form.

Source: prometheus/web/api/v1/api.go, parseTime and parseDuration.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from fastapi import Request

from collector.errors import BadRequestError, LimitExceededError
from collector.model.duration import parse_duration_ms
from collector.model.text import quote
from collector.query.promql.numerals import parse_float

MAX_FORM_BYTES = 1_000_000  # a query is text that somebody wrote; Go's own bound for a form is 10 MB
MAX_FIELDS = 1_000
# What Prometheus takes when no bound is given, MinTime and MaxTime, cut to what every arithmetic here can hold.
MIN_TIME_MS, MAX_TIME_MS = -(1 << 52), 1 << 52
# Go's time.Duration is nanoseconds in an int64.
_MAX_DURATION_S = 2**63 / 1e9
_INT64_DIGITS = 19
# How clients that spell out "always" write the bounds (api.go, MinTime and MaxTime).
_BOUNDS = {"-292273086-05-16T16:47:06Z": MIN_TIME_MS, "292277025-08-18T07:12:54.999999999Z": MAX_TIME_MS}
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Parameters:
    fields: dict[str, list[str]]
    arrived_s: float = 0.0  # of the monotonic clock
    path: dict[str, str] = field(default_factory=dict)  # what stands in the path, such as a label's name
    cancelled: threading.Event = field(default_factory=threading.Event)  # set once the client has gone away

    def text(self, name: str) -> str:
        values = self.fields.get(name)
        return values[0] if values else ""

    def texts(self, name: str) -> list[str]:
        return self.fields.get(name, [])

    def time_ms(self, name: str, default_ms: int | None = None) -> int:
        """Unix milliseconds; without a default the parameter must be there."""
        text = self.text(name)
        if not text and default_ms is not None:
            return default_ms
        try:
            return parse_time_ms(text)
        except ValueError as error:
            optional = f"invalid time value for '{name}': " if default_ms is not None else ""
            raise invalid(name, f"{optional}{error}") from error

    def duration_ms(self, name: str, default_ms: int | None = None) -> int:
        text = self.text(name)
        if not text and default_ms is not None:
            return default_ms
        try:
            return parse_api_duration_ms(text)
        except ValueError as error:
            raise invalid(name, error) from error

    def limit(self, name: str = "limit") -> int:
        """0 means no limit (api.go, parseLimitParam)."""
        text = self.text(name)
        if not text:
            return 0
        try:
            limit = parse_int(text)
        except ValueError as error:
            raise invalid(name, error) from error
        if limit < 0:
            raise invalid(name, f"{name} must be non-negative")
        return limit

    def number(self, name: str) -> int | None:
        """A whole number of any sign; None where it is not given."""
        text = self.text(name)
        if not text:
            return None
        try:
            return parse_int(text)
        except ValueError as error:
            raise BadRequestError(f"{name} must be a number") from error


def parse_int(text: str) -> int:
    """
    Raises:
        ValueError: as Go's strconv.Atoi says it.
    """
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    if len(text) > _INT64_DIGITS + 1 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: value out of range")
    return int(text)


def invalid(name: str, reason: object) -> BadRequestError:
    return BadRequestError(f'invalid parameter "{name}": {reason}')


async def read_parameters(request: Request, *, arrived_s: float = 0.0) -> Parameters:
    """
    Raises:
        LimitExceededError: the form is larger than MAX_FORM_BYTES.
        BadRequestError: it cannot be read as a form.
    """
    query = request.scope["query_string"].decode("latin-1")
    body = ""
    if request.method == "POST":
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            body = (await _bounded_body(request)).decode("latin-1")
    try:
        fields: dict[str, list[str]] = {}
        for part in (body, query):  # as Go's ParseForm: the body's values first
            parsed = parse_qs(part, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
            for name, values in parsed.items():
                fields.setdefault(name, []).extend(values)
    except ValueError as error:
        raise BadRequestError(f"error parsing form values: {error}") from error
    return Parameters(fields, arrived_s, dict(request.path_params))


async def _bounded_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            raise LimitExceededError(f"form larger than {MAX_FORM_BYTES} bytes")
    return bytes(body)


def parse_time_ms(text: str) -> int:
    """Seconds since 1970 as a number, or RFC 3339; Unix milliseconds."""
    number = parse_float(text)
    if number is not None and math.isfinite(number):
        return min(MAX_TIME_MS, max(MIN_TIME_MS, round(number * 1000)))
    if text in _BOUNDS:
        return _BOUNDS[text]
    match = _RFC3339.fullmatch(text)
    if match is not None:
        try:
            moment = dt.datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
            return int(moment.timestamp()) * 1000 + int(float(match[2] or 0) * 1000)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f'cannot parse "{text}" to a valid timestamp')


def parse_api_duration_ms(text: str) -> int:
    """Seconds as a number, or `1h30m`; milliseconds."""
    number = parse_float(text)
    if number is not None:
        if not abs(number) < _MAX_DURATION_S:
            raise ValueError(f'cannot parse "{text}" to a valid duration. It overflows int64')
        return int(number * 1000)
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise ValueError(f'cannot parse "{text}" to a valid duration') from error
