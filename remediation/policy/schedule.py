"""Scheduled minimums: when cron says so, and for how long. `now` is an argument."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from remediation.policy.duration import Duration
from remediation.policy.limits import Location

_NAMES = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat"
# What every cron understands, with the last day (L) and the n-th weekday (#); not croniter's random and hashed fields.
_FIELD = re.compile(rf"(?:[\d*/,#-]|L|{_NAMES})+", re.IGNORECASE)
_SHORTEST_S, _LONGEST_S = 60.0, 31 * 86400.0
# A clock that is set back repeats at most so much of the day (Antarctica's Troll station); starts later than `now` by
# the clock on the wall may so lie in the past.
_FOLD = dt.timedelta(hours=3)
_MAX_STARTS = 2 * 180 + 2  # looked at, of a cron of every minute: so long ahead, and as long back


def _starts(cron: str, before: dt.datetime) -> Any:
    from croniter import croniter  # with DBOS in this process anyway; not needed by who only reads policies

    return croniter(cron, before)


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != 5 or not all(_FIELD.fullmatch(field) for field in fields):
        raise ValueError(f"five fields of cron are wanted (minute hour day month weekday), got {text!r}")
    try:
        _starts(text, dt.datetime(2026, 1, 1)).get_prev(dt.datetime)  # noqa: DTZ001  (a clock on the wall)
    except ValueError as error:
        raise ValueError(f"no moment is meant by {text!r}: {error}") from error
    return text


def _for(seconds: float) -> float:
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise ValueError(f"must be between 1m and 31d, got {seconds:g}s")
    return seconds


class ScheduledMinimum(BaseModel):
    """
    From each moment that `cron` means, by the clock of `location`, for a duration. Of several in force the highest
    `minimum` counts.

    A start in the hour that is skipped in spring happens as much later (03:30 for 02:30); one in the hour that is
    repeated in autumn happens once, at the first. The duration is real time: `for: 9h` from 00:00 ends at 10:00 in
    spring's night.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)

    name: str = Field(min_length=1, max_length=100)
    cron: Annotated[str, AfterValidator(_cron)]
    for_: Annotated[Duration, AfterValidator(_for)] = Field(alias="for")
    location: Location = "UTC"
    minimum: int = Field(ge=1, le=10_000)

    def in_force(self, now: dt.datetime) -> bool:
        """`now` is aware. The start belongs to it, the end does not."""
        zone = zoneinfo.ZoneInfo(self.location)
        wall = now.astimezone(zone).replace(tzinfo=None)
        starts = _starts(self.cron, wall + _FOLD)
        for _ in range(_MAX_STARTS):
            try:
                start: dt.datetime = starts.get_prev(dt.datetime)
            except ValueError:  # none before: the year 31 of February
                return False
            began = start.replace(tzinfo=zone).astimezone(dt.UTC)
            end = began + dt.timedelta(seconds=self.for_)
            if began <= now < end:
                return True
            # Starts come in the order of the clock on the wall, which is not that of time where it is moved.
            if end + _FOLD < now:
                return False
        return False


def scheduled_minimum(schedule: tuple[ScheduledMinimum, ...], now: dt.datetime) -> ScheduledMinimum | None:
    """The highest minimum in force at `now`, of equal ones the first; None if there is none."""
    return max((one for one in schedule if one.in_force(now)), key=lambda one: one.minimum, default=None)
