"""Points in time as people and APIs write them: `now`, `2h` (ago), Unix seconds, RFC 3339."""

from __future__ import annotations

import re
from datetime import datetime

from collector.errors import BadRequestError
from collector.model.duration import parse_duration_ms

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?(Z|z|[+-]\d\d:\d\d)")


def unix_ms(text: str, now_ms: int | None = None) -> int:
    """
    Unix milliseconds; nanoseconds are cut off.

    Args:
        now_ms: Without it `now` and durations are refused.

    Raises:
        BadRequestError: none of the four forms.
    """
    text = text.strip()
    if now_ms is not None:
        if text == "now":
            return now_ms
        ago = re.fullmatch(r"(?:now)?\s*-?\s*([0-9][0-9a-z]*[a-z])", text)
        if ago:
            try:
                return now_ms - parse_duration_ms(ago[1])
            except ValueError as error:
                raise BadRequestError(f"{text!r}: {error}") from error
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
        return round(float(text) * 1000)
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise BadRequestError(f"{text!r} is no time: now, 2h (ago), Unix seconds, or 2006-01-02T15:04:05Z are")
    zone = match[4].replace("z", "Z").replace("Z", "+00:00")
    try:
        whole = datetime.fromisoformat(f"{match[1]}T{match[2]}{zone}")
    except ValueError as error:
        raise BadRequestError(f"{text!r} is no time: {error}") from error
    return round(whole.timestamp()) * 1000 + int(float(match[3] or 0) * 1000)
