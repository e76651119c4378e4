"""Durations as Prometheus writes them: `30s`, `1h30m`, `500ms`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

# Source: prometheus/common model/time.go, durationRE and ParseDuration.
_PATTERN = re.compile(
    r"(?:(?P<y>\d+)y)?(?:(?P<w>\d+)w)?(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?"
)
_SECONDS = {"y": 365 * 86400.0, "w": 7 * 86400.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> float:
    """
    Seconds. Units go from large to small, each at most once; a bare `0` needs none.

    Raises:
        ValueError: not a duration.
    """
    if text == "0":
        return 0.0
    found = _PATTERN.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"not a duration: {text!r}; write for example 30s, 1h30m or 500ms")
    return sum(int(number) * _SECONDS[unit] for unit, number in found.groupdict().items() if number)


def _duration(value: Any) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    if value == 0 and not isinstance(value, bool):
        return 0.0
    raise ValueError(f"a duration needs its unit, for example {value}s")


def format_duration(seconds: float) -> str:
    """A duration that `parse_duration` reads back, to the millisecond."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


_SCHEMA = {"type": "string", "pattern": r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$", "minLength": 1}
Duration = Annotated[float, BeforeValidator(_duration), PlainSerializer(format_duration), WithJsonSchema(_SCHEMA)]
"""Seconds in Python, a Prometheus duration in the file."""
