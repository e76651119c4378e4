"""Prometheus's durations, as a drill's definition writes them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

MAX_TIMEOUT_S = 3600.0  # a drill holds the stack in a broken state; nobody waits longer for a verdict

_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_JSON_SCHEMA = {
    "type": "string",
    "pattern": r"^(?=.)(\d+h)?(\d+m(?!s))?(\d+s)?(\d+ms)?$",
    "examples": ["500ms", "20s", "1m30s"],
    "description": f"At most {MAX_TIMEOUT_S:.0f}s.",
}


def seconds(text: Any) -> float:
    """
    A Prometheus duration as seconds.

    Raises:
        ValueError: not one; a bare number too, since its unit would be a guess.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if not match or not text:
        raise ValueError(f"expected a duration such as 500ms, 20s or 1m30s, got {text!r}")
    return sum(int(count) * _UNIT_S[unit] for unit, count in match.groupdict().items() if count)


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=MAX_TIMEOUT_S), WithJsonSchema(_JSON_SCHEMA)]
