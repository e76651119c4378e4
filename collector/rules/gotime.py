"""Go's time.Time and time.Duration, as far as templates see them: how they print, and the methods people call."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANO = 1_000_000_000
# Go's reference time, Mon Jan 2 15:04:05 MST 2006, piece by piece; longer ones first.
_LAYOUT = re.compile(
    r"2006|January|Jan|Monday|Mon|MST|-07:00|-0700|Z07:00|[.,]0+|[.,]9+|15|01|02|03|04|05|06|PM|pm|_2|1|2|3|4|5"
)


@dataclass(frozen=True, slots=True)
class GoDuration:
    nanoseconds: int

    MAX_S: ClassVar[float] = 9.2e9  # what 64 bits of nanoseconds hold, 292 years

    def __str__(self) -> str:
        """`1h2m3.5s`, `1.5ms`, `0s` (time.Duration.String)."""
        sign, left = ("-", -self.nanoseconds) if self.nanoseconds < 0 else ("", self.nanoseconds)
        if left == 0:
            return "0s"
        if left < _NANO:
            unit, size = next(
                (name, size) for name, size in (("ns", 1), ("µs", 1000), ("ms", 10**6)) if left < size * 1000
            )
            return f"{sign}{_decimal(left, size)}{unit}"
        minutes, rest = divmod(left, 60 * _NANO)
        hours, minutes = divmod(minutes, 60)
        shown = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
        return f"{sign}{shown}{_decimal(rest, _NANO)}s"


def _decimal(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    digits = len(str(size)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0") if part else str(whole)


@dataclass(frozen=True, slots=True)
class GoTime:
    """In UTC."""

    unix_nano: int

    MAX_S: ClassVar[float] = 9.2e9  # likewise, from 1970 on

    @property
    def _moment(self) -> datetime:
        return _EPOCH + timedelta(seconds=self.unix_nano // _NANO)

    def __str__(self) -> str:
        """time.Time.String."""
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")

    def format(self, layout: object) -> str:
        """
        Raises:
            ValueError: the layout is no text.
        """
        if not isinstance(layout, str):
            raise ValueError(f"wrong type for layout; expected string; got {type(layout).__name__}")
        return _LAYOUT.sub(lambda match: self._piece(match[0]), layout)

    def _piece(self, piece: str) -> str:
        moment = self._moment
        if piece[0] in ".,":
            digits = f"{self.unix_nano % _NANO:09d}"
            kept = digits[: len(piece) - 1].ljust(len(piece) - 1, "0")
            if piece[1] == "9":
                kept = kept.rstrip("0")
            return f"{piece[0]}{kept}" if kept else ""
        hour12 = moment.hour % 12 or 12
        pieces = {
            "2006": f"{moment.year:04d}", "06": f"{moment.year % 100:02d}",
            "January": f"{moment:%B}", "Jan": f"{moment:%b}", "01": f"{moment.month:02d}", "1": str(moment.month),
            "Monday": f"{moment:%A}", "Mon": f"{moment:%a}",
            "02": f"{moment.day:02d}", "2": str(moment.day), "_2": f"{moment.day:2d}",
            "15": f"{moment.hour:02d}", "03": f"{hour12:02d}", "3": str(hour12),
            "04": f"{moment.minute:02d}", "4": str(moment.minute),
            "05": f"{moment.second:02d}", "5": str(moment.second),
            "PM": f"{moment:%p}", "pm": f"{moment:%p}".lower(),
            "MST": "UTC", "-0700": "+0000", "-07:00": "+00:00", "Z07:00": "Z",
        }  # fmt: skip
        return pieces[piece]


Method = Callable[..., object]


def method_of(value: object, name: str) -> Method | None:
    """A method that a template may call; None if the value has none of that name."""
    if isinstance(value, GoDuration):
        nanos = value.nanoseconds
        methods: dict[str, Method] = {
            "String": lambda: str(value),
            "Hours": lambda: nanos / (3600 * _NANO),
            "Minutes": lambda: nanos / (60 * _NANO),
            "Seconds": lambda: nanos / _NANO,
            "Milliseconds": lambda: int(nanos / 10**6),
        }
        return methods.get(name)
    if isinstance(value, GoTime):
        moment = value._moment  # noqa: SLF001  (of this module)
        methods = {
            "String": lambda: str(value),
            "Format": value.format,
            "UTC": lambda: value,
            "Local": lambda: value,
            "Unix": lambda: value.unix_nano // _NANO,
            "UnixMilli": lambda: value.unix_nano // 10**6,
            "UnixNano": lambda: value.unix_nano,
            "Year": lambda: moment.year,
            "Month": lambda: f"{moment:%B}",
            "Day": lambda: moment.day,
            "Hour": lambda: moment.hour,
            "Minute": lambda: moment.minute,
            "Second": lambda: moment.second,
            "Weekday": lambda: f"{moment:%A}",
            "YearDay": lambda: moment.timetuple().tm_yday,
            "Add": lambda other: GoTime(value.unix_nano + other.nanoseconds),
            "Sub": lambda other: GoDuration(value.unix_nano - other.unix_nano),
        }
        return methods.get(name)
    return None
