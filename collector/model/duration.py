"""Durations as Prometheus and Alertmanager write them: `1h30m`, `250ms`, `0`."""

from __future__ import annotations

import re

# prometheus/common/model/time.go, unitMap: largest first, each unit once at most.
_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PATTERN = re.compile("".join(rf"(?:([0-9]+){unit})?" for unit in _UNITS_MS))
MAX_MS = (1 << 63) // 1_000_000  # a Go time.Duration holds no more


def parse_duration_ms(text: str) -> int:
    """
    Milliseconds of a duration such as `1d2h` or `0`; signs, fractions and repeated units are refused.

    Raises:
        ValueError: worded as Prometheus words it.
    """
    if text == "0":
        return 0
    if not text:
        raise ValueError("empty duration string")
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"not a valid duration string: {text!r}")
    total = sum(int(count) * ms for count, ms in zip(match.groups("0"), _UNITS_MS.values(), strict=True))
    if total > MAX_MS:
        raise ValueError("duration out of range")
    return total


def format_duration(duration_ms: int) -> str:
    """The inverse; years and weeks appear only when they come out even (model.Duration.String)."""
    if duration_ms == 0:
        return "0s"
    parts, rest = [], duration_ms
    for unit, ms in _UNITS_MS.items():
        if unit in "yw" and rest % ms != 0:
            continue
        if count := rest // ms:
            parts.append(f"{count}{unit}")
            rest -= count * ms
    return "".join(parts)
