"""
Step scaling: how many replicas a breach of a threshold adds, by its size.

Source: docs.aws.amazon.com, Amazon EC2 Auto Scaling, "Step adjustments": bounds are relative to the threshold, the
lower inclusive, the upper exclusive; no gaps, no overlaps, the last is open; percentages are rounded down, but to one
at least.
"""

from __future__ import annotations

import itertools
import math

from pydantic import BaseModel, ConfigDict, Field, model_validator


class StepAdjustment(BaseModel):
    """What is done about a breach of `from` (inclusive) to `to` (exclusive; open without it) above the threshold."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)

    from_: float = Field(default=0.0, alias="from", ge=0, allow_inf_nan=False)
    to: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    add: int | None = Field(default=None, ge=1, le=10_000)
    add_percent: float | None = Field(default=None, gt=0, le=10_000, allow_inf_nan=False)
    exactly: int | None = Field(default=None, ge=1, le=10_000)

    @model_validator(mode="after")
    def _one_adjustment(self) -> StepAdjustment:
        given = [name for name in ("add", "add_percent", "exactly") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"an adjustment has one of add, add_percent, exactly; got {', '.join(given) or 'none'}")
        if self.to is not None and self.to <= self.from_:
            raise ValueError(f"to {self.to:g} is not above from {self.from_:g}")
        return self

    def covers(self, breach: float) -> bool:
        return breach >= self.from_ and (self.to is None or breach < self.to)

    def replicas(self, current: int) -> int:
        """How many are wanted, of `current`."""
        if self.exactly is not None:
            return self.exactly
        if self.add is not None:
            return current + self.add
        return current + max(1, math.floor(current * (self.add_percent or 0.0) / 100))


def check_steps(steps: tuple[StepAdjustment, ...]) -> None:
    """
    Raises:
        ValueError: a gap, an overlap, or an end that is not open.
    """
    for former, later in itertools.pairwise(steps):
        if former.to is None:
            raise ValueError(f"the step from {former.from_:g} is open, so none can follow it")
        if former.to != later.from_:
            kind = "a gap" if former.to < later.from_ else "an overlap"
            raise ValueError(f"{kind} between to {former.to:g} and from {later.from_:g}")
    if steps[-1].to is not None:
        raise ValueError(f"nothing is said of a breach of {steps[-1].to:g} or more: leave out the last to")


def adjusted(steps: tuple[StepAdjustment, ...], breach: float, current: int) -> int:
    """Replicas wanted for a breach; `current` where no step covers it."""
    step = next((one for one in steps if one.covers(breach)), None)
    return current if step is None else step.replicas(current)
