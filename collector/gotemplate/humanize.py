"""
Numbers as people read them: the functions that Prometheus's and Alertmanager's templates share.

Source: prometheus/common helpers/templates; prometheus/template/template.go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from collector.gotemplate.goformat import not_finite, type_name
from collector.gotemplate.gotime import GoDuration, GoTime

_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_LARGE_1024 = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")


def to_float(value: object) -> float:
    """Numbers, and text that reads as one; everything else is refused (convertToFloat)."""
    if isinstance(value, GoDuration):
        return value.nanoseconds / 1e9
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"can't convert {type_name(value)} to float")
    try:
        return float(value)
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None


def _general(value: float) -> str:
    return not_finite(value) or f"{value:.4g}"


def _scaled(value: float, prefixes: Sequence[str], base: float, *, down: bool) -> tuple[float, str]:
    prefix = ""
    for candidate in prefixes:
        if abs(value) >= 1 if down else abs(value) < base:
            break
        prefix = candidate
        value = value * base if down else value / base
    return value, prefix


def humanize(argument: object) -> str:
    value = to_float(argument)
    if value == 0 or not math.isfinite(value):
        return _general(value)
    small = abs(value) < 1
    value, prefix = _scaled(value, _SMALL if small else _LARGE, 1000, down=small)
    return _general(value) + prefix


def humanize1024(argument: object) -> str:
    value = to_float(argument)
    if abs(value) <= 1 or not math.isfinite(value):
        return _general(value)
    value, prefix = _scaled(value, _LARGE_1024, 1024, down=False)
    return _general(value) + prefix


def humanize_duration(argument: object) -> str:
    value = to_float(argument)
    if not math.isfinite(value):
        return _general(value)
    if value == 0:
        return "0s"
    if abs(value) < 1:
        value, prefix = _scaled(value, _SMALL, 1000, down=True)
        return f"{_general(value)}{prefix}s"
    sign, value = ("-", -value) if value < 0 else ("", value)
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    if minutes:
        return f"{sign}{minutes}m {seconds}s"
    return f"{sign}{_general(value)}s"  # below a minute, four significant digits


def humanize_percentage(argument: object) -> str:
    return f"{_general(to_float(argument) * 100)}%"


def humanize_timestamp(argument: object) -> str:
    value = to_float(argument)
    if not math.isfinite(value):
        return _general(value)
    when = datetime.fromtimestamp(math.floor(value * 1000) / 1000, UTC)
    fraction = f".{when.microsecond // 1000:03d}".rstrip("0").rstrip(".")
    return f"{when:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def to_time(argument: object) -> GoTime:
    value = to_float(argument)
    if not math.isfinite(value) or abs(value) > GoTime.MAX_S:
        raise ValueError(f"cannot convert {_general(value)} to a time")
    return GoTime(math.floor(value * 1000) * 1_000_000)  # Prometheus's times have milliseconds


def to_duration(argument: object) -> GoDuration:
    value = to_float(argument)
    if not math.isfinite(value) or abs(value) > GoDuration.MAX_S:
        raise ValueError(f"cannot convert {_general(value)} to a duration")
    return GoDuration(int(value * 1e9))
