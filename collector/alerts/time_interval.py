"""
Recurring spans of time in which routes are muted or active. Pure.

Source: alertmanager/timeinterval/timeinterval.go.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00", re.ASCII)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_KEYS = frozenset({"times", "weekdays", "days_of_month", "months", "years", "location"})
_SHORTEST_MONTH = 28


class Range(NamedTuple):
    """Both ends inclusive; of times of day, in minutes, the end is exclusive."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """A moment is inside if each part that is given holds it. None: not given; empty: holds nothing."""

    times: tuple[Range, ...] | None = None  # minutes of the day
    weekdays: tuple[Range, ...] | None = None  # 0 = Sunday
    days_of_month: tuple[Range, ...] | None = None  # -1 = the last
    months: tuple[Range, ...] | None = None
    years: tuple[Range, ...] | None = None
    zone: tzinfo = UTC

    def contains(self, now_ms: int) -> bool:
        """Whether Unix milliseconds lie in the interval, by the calendar of its zone."""
        at = datetime.fromtimestamp(now_ms / 1000, self.zone)
        minute = at.hour * 60 + at.minute
        return (
            (self.times is None or any(begin <= minute < end for begin, end in self.times))
            and (self.days_of_month is None or any(_holds_day(days, at) for days in self.days_of_month))
            and _holds(self.months, at.month)
            and _holds(self.weekdays, at.isoweekday() % 7)
            and _holds(self.years, at.year)
        )


def _holds(ranges: tuple[Range, ...] | None, value: int) -> bool:
    return ranges is None or any(begin <= value <= end for begin, end in ranges)


def _holds_day(days: Range, at: datetime) -> bool:
    length = monthrange(at.year, at.month)[1]
    begin, end = (day + length + 1 if day < 0 else day for day in days)
    return begin <= length and max(begin, -length) <= at.day <= min(end, length)


def parse_interval(data: object) -> TimeInterval:
    """
    One element of `time_intervals` as YAML gives it.

    Raises:
        ValueError: worded as Alertmanager words it.
    """
    if not isinstance(data, dict):
        raise ValueError(f"a time interval is a mapping, not {data!r}")
    if unknown := sorted(str(key) for key in data if key not in _KEYS):
        raise ValueError(f"field {unknown[0]!r} is not known in a time interval")
    return TimeInterval(
        times=_ranges(data, "times", _time_range),
        weekdays=_ranges(data, "weekdays", _weekdays),
        days_of_month=_ranges(data, "days_of_month", _days_of_month),
        months=_ranges(data, "months", _months),
        years=_ranges(data, "years", _years),
        zone=_zone(data.get("location")),
    )


def _ranges(data: dict[str, object], key: str, parse: Callable[[object], Range]) -> tuple[Range, ...] | None:
    items = data.get(key)
    if items is None:
        return None
    if not isinstance(items, list):
        raise ValueError(f"{key} is a list, not {items!r}")
    return tuple(parse(item) for item in items)


def _zone(name: object) -> tzinfo:
    if name is None:
        return UTC
    if name == "Local":
        local = datetime.now().astimezone().tzinfo
        return local or UTC
    try:
        return ZoneInfo(str(name) or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def _time_range(item: object) -> Range:
    if not isinstance(item, dict) or not set(item) <= {"start_time", "end_time"}:
        raise ValueError(f"a time range has start_time and end_time: {item!r}")
    if not item.get("start_time") or not item.get("end_time"):
        raise ValueError("both start and end times must be provided")
    begin, end = _minutes(item["start_time"]), _minutes(item["end_time"])
    if begin >= end:
        raise ValueError("start time cannot be equal or greater than end time")
    return Range(begin, end)


def _minutes(text: object) -> int:
    """YAML 1.1 reads 17:00 without quotes as a number to the base of sixty, which is the minutes it stands for."""
    if isinstance(text, int) and not isinstance(text, bool) and 0 <= text <= 24 * 60:
        return text
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise ValueError(f"couldn't parse timestamp {text}, invalid format")
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _pair(item: object, member: Callable[[str], int]) -> Range:
    text = str(item).lower()
    if text.count(":") > 1:
        raise ValueError(f"couldn't parse range {text}, invalid format")
    begin, _, end = text.partition(":")
    return Range(member(begin), member(end) if ":" in text else member(begin))


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _weekdays(item: object) -> Range:
    def day(text: str) -> int:
        if text not in _WEEKDAYS:
            raise ValueError(f"{text} is not a valid weekday")
        return _WEEKDAYS.index(text)

    days = _pair(item, day)
    if days.begin > days.end:
        raise ValueError("start day cannot be before end day")
    return days


def _days_of_month(item: object) -> Range:
    days = _pair(item, _number)
    for day in days:
        if day == 0 or not -31 <= day <= 31:
            raise ValueError(f"{day} is not a valid day of the month: out of range")
    if days.begin < 0 < days.end:
        raise ValueError("end day must be negative if start day is negative")
    begin, end = (day + _SHORTEST_MONTH if day < 0 else day for day in days)
    if begin > end:
        raise ValueError(f"end day {days.end} is always before start day {days.begin}")
    return days


def _months(item: object) -> Range:
    def month(text: str) -> int:
        if text in _MONTHS:
            return _MONTHS.index(text) + 1
        try:
            return _number(text)
        except ValueError:
            raise ValueError(f"{text} is not a valid month") from None

    months = _pair(item, month)
    for number in months:
        if not 1 <= number <= 12:
            raise ValueError(f"{item} is not a valid month: out of range")
    if months.begin > months.end:
        raise ValueError(f"end month {_MONTHS[months.end - 1]} is before start month {_MONTHS[months.begin - 1]}")
    return months


def _years(item: object) -> Range:
    years = _pair(item, _number)
    if years.begin > years.end:
        raise ValueError(f"end year {years.end} is before start year {years.begin}")
    return years
