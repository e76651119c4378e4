"""What checks are made of: a service's name, a comparison with one number, and how a number is written."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Goes into queries and URLs, so nothing but what a DNS label may hold (RFC 1123, 2.1).
ServiceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bounds(Check):
    """A comparison with one number."""

    below: float | None = None
    above: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    equals: float | None = None

    def bounds(self) -> dict[str, float]:
        names = ("below", "above", "at_most", "at_least", "equals")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def within_bounds(self, value: float) -> bool:
        compare = {
            "below": value < (self.below or 0),
            "above": value > (self.above or 0),
            "at_most": value <= (self.at_most or 0),
            "at_least": value >= (self.at_least or 0),
            "equals": value == (self.equals or 0),
        }
        return all(compare[name] for name in self.bounds())

    def bounds_in_words(self) -> str:
        return " and ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in self.bounds().items())


class SomeBounds(Bounds):
    """At least one comparison is given."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.bounds():
            raise ValueError("give one of below, above, at_most, at_least, equals")
        return self


def number(value: float) -> str:
    """Four significant digits, without an exponent where people read none."""
    if value == int(value) if math.isfinite(value) else False:
        return str(int(value))
    return f"{value:.4g}"
