"""Limits over everything that a worker does, whichever policy asks: the `limits` of a policy file."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from remediation.policy.duration import Duration

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"no time zone is called {name!r}; write for example Europe/Berlin or UTC") from error
    return name


Location = Annotated[str, AfterValidator(_zone)]
"""The name of a time zone."""


class Freeze(_Model):
    """
    A time in which nothing is changed: once (`start`, `end`), or every week (`weekdays`, `from`, `to`).

    A weekly one whose `to` is not after its `from` ends on the next day.
    """

    name: str = Field(min_length=1)
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    weekdays: tuple[Weekday, ...] = ()
    from_: dt.time = Field(default=dt.time(0, 0), alias="from")
    to: dt.time = dt.time(0, 0)
    location: Location = "UTC"

    @model_validator(mode="after")
    def _one_kind(self) -> Freeze:
        if (self.start is None) != (self.end is None):
            raise ValueError("a freeze that happens once needs both start and end")
        if (self.start is None) == (not self.weekdays):
            raise ValueError("set either start and end, or weekdays")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"ends at {self.end.isoformat()}, not after its start {self.start.isoformat()}")
        return self

    def covers(self, now: dt.datetime) -> bool:
        """`now` is aware. The start belongs to the freeze, the end does not."""
        if self.start is not None and self.end is not None:
            return self.start <= now < self.end
        local = now.astimezone(zoneinfo.ZoneInfo(self.location))
        clock = local.time()
        today, yesterday = WEEKDAYS[local.weekday()], WEEKDAYS[local.weekday() - 1]
        if self.to > self.from_:
            return today in self.weekdays and self.from_ <= clock < self.to
        return (today in self.weekdays and clock >= self.from_) or (yesterday in self.weekdays and clock < self.to)


class BlastRadius(_Model):
    """At most these shares of all services and replicas are acted on within the window; of a few at least one."""

    services: float = Field(default=0.5, gt=0, le=1)
    replicas: float = Field(default=0.5, gt=0, le=1)  # of one service, replaced one by one
    within: Duration = 600.0


class Limits(_Model):
    """Each can only refuse. Undoing and scaling in are never refused by them, except by the kill switch."""

    max_actions_per_hour: int = Field(default=120, ge=1)
    max_concurrent: int = Field(default=10, ge=1)  # runs that have acted and are not over
    blast_radius: BlastRadius = BlastRadius()
    freezes: tuple[Freeze, ...] = Field(default=(), max_length=100)

    def frozen_by(self, now: dt.datetime) -> Freeze | None:
        return next((freeze for freeze in self.freezes if freeze.covers(now)), None)
