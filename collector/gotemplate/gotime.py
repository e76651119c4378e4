"""Go's time.Time and time.Duration, as far as templates see them: how they print, and the methods people call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import ClassVar

from collector.gotemplate.values import Method

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

    GO_METHODS: ClassVar[Mapping[str, Method]] = {
        "String": lambda one: str(one),
        "Hours": lambda one: one.nanoseconds / (3600 * _NANO),
        "Minutes": lambda one: one.nanoseconds / (60 * _NANO),
        "Seconds": lambda one: one.nanoseconds / _NANO,
        "Milliseconds": lambda one: int(one.nanoseconds / 10**6),
    }

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
    unix_nano: int
    zone: tzinfo = UTC

    MAX_S: ClassVar[float] = 9.2e9  # likewise, from 1970 on
    GO_METHODS: ClassVar[Mapping[str, Method]] = {
        "String": lambda one: str(one),
        "Format": lambda one, layout: one.format(layout),
        "UTC": lambda one: GoTime(one.unix_nano),
        "Local": lambda one: one,
        "Unix": lambda one: one.unix_nano // _NANO,
        "UnixMilli": lambda one: one.unix_nano // 10**6,
        "UnixNano": lambda one: one.unix_nano,
        "Year": lambda one: one.moment.year,
        "Month": lambda one: f"{one.moment:%B}",
        "Day": lambda one: one.moment.day,
        "Hour": lambda one: one.moment.hour,
        "Minute": lambda one: one.moment.minute,
        "Second": lambda one: one.moment.second,
        "Weekday": lambda one: f"{one.moment:%A}",
        "YearDay": lambda one: one.moment.timetuple().tm_yday,
        "Add": lambda one, other: GoTime(one.unix_nano + other.nanoseconds, one.zone),
        "Sub": lambda one, other: GoDuration(one.unix_nano - other.unix_nano),
        "Before": lambda one, other: one.unix_nano < other.unix_nano,
        "After": lambda one, other: one.unix_nano > other.unix_nano,
        "Equal": lambda one, other: one.unix_nano == other.unix_nano,
        "IsZero": lambda one: one.unix_nano == GoTime.ZERO_NANO,
    }
    ZERO_NANO: ClassVar[int] = -62_135_596_800 * _NANO  # the year 1, Go's "no time"

    @property
    def moment(self) -> datetime:
        """To the second."""
        return (_EPOCH + timedelta(seconds=self.unix_nano // _NANO)).astimezone(self.zone)

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
        moment = self.moment
        if piece[0] in ".,":
            digits = f"{self.unix_nano % _NANO:09d}"
            kept = digits[: len(piece) - 1].ljust(len(piece) - 1, "0")
            if piece[1] == "9":
                kept = kept.rstrip("0")
            return f"{piece[0]}{kept}" if kept else ""
        hour12 = moment.hour % 12 or 12
        offset = f"{moment:%z}"[:5]
        colons = f"{offset[:3]}:{offset[3:]}"
        pieces = {
            "2006": f"{moment.year:04d}", "06": f"{moment.year % 100:02d}",
            "January": f"{moment:%B}", "Jan": f"{moment:%b}", "01": f"{moment.month:02d}", "1": str(moment.month),
            "Monday": f"{moment:%A}", "Mon": f"{moment:%a}",
            "02": f"{moment.day:02d}", "2": str(moment.day), "_2": f"{moment.day:2d}",
            "15": f"{moment.hour:02d}", "03": f"{hour12:02d}", "3": str(hour12),
            "04": f"{moment.minute:02d}", "4": str(moment.minute),
            "05": f"{moment.second:02d}", "5": str(moment.second),
            "PM": f"{moment:%p}", "pm": f"{moment:%p}".lower(),
            "MST": f"{moment:%Z}", "-0700": offset, "-07:00": colons, "Z07:00": colons if moment.utcoffset() else "Z",
        }  # fmt: skip
        return pieces[piece]
