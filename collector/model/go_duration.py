"""Durations as Go writes them, which Jaeger and TraceQL take: `1.5s`, `1m30s`, `100us`."""

from __future__ import annotations

import re

NANO_OF_UNIT = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # U+00B5
    "μs": 10**3,  # U+03BC
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_MAX_LENGTH = 64
_MAX_NANO = 2**63  # Go's time.Duration


def parse_go_duration_nano(text: str) -> int:
    """
    Nanoseconds; not negative.

    Raises:
        ValueError: not that syntax, or longer than Go's 292 years.
    """
    if text == "0":
        return 0
    terms = list(_TERM.finditer(text[: _MAX_LENGTH + 1]))
    if not terms or len(text) > _MAX_LENGTH or "".join(term.group() for term in terms) != text:
        raise ValueError(f"{text[:_MAX_LENGTH]!r} is not a duration such as 1.2s, 100ms or 500us")
    total = sum(_nano(term[1], NANO_OF_UNIT[term[2]]) for term in terms)
    if total >= _MAX_NANO:
        raise ValueError(f"{text!r} is longer than 292 years")
    return total


def _nano(number: str, unit_nano: int) -> int:
    """Exact: a double would round what has more than 15 digits."""
    whole, _, fraction = number.partition(".")
    parts: int = 10 ** len(fraction)
    return int(whole or 0) * unit_nano + int(fraction or 0) * unit_nano // parts
