"""Checks of what runs: replicas, how often they were added to, processes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from remediation.drills.bounds import Check, ServiceName, SomeBounds
from remediation.drills.facts import UNREAD, Facts, Judgement


class Replicas(Check):
    service: ServiceName
    count: Literal["desired", "ready", "both"] = "desired"
    at_least: Annotated[int, Field(ge=0)] | None = None
    at_most: Annotated[int, Field(ge=0)] | None = None
    equals: Annotated[int, Field(ge=0)] | None = None
    is_: Literal["initial", "above_initial", "minimum"] | None = Field(default=None, alias="is")

    @model_validator(mode="after")
    def _one_comparison(self) -> Self:
        if sum(each is not None for each in (self.at_least, self.at_most, self.equals, self.is_)) != 1:
            raise ValueError("give exactly one of at_least, at_most, equals, is")
        return self

    @property
    def wanted(self) -> str:
        what = {"desired": "desired replicas", "ready": "ready replicas", "both": "desired and ready replicas"}
        return f"{what[self.count]} of {self.service} {self._comparison()}"

    def _comparison(self) -> str:
        if self.is_:
            return {"initial": "as before", "above_initial": "above before", "minimum": "at the minimum"}[self.is_]
        named = {"at least": self.at_least, "at most": self.at_most, "equal to": self.equals}
        return next(f"{words} {value}" for words, value in named.items() if value is not None)

    def judge(self, facts: Facts) -> Judgement:
        service = facts.service(self.service)
        if service is None:
            return UNREAD if facts.now.services is None else Judgement(False, f"no service {self.service}")
        counts = {"desired": [service.desired], "ready": [service.ready], "both": [service.desired, service.ready]}
        initial = facts.baseline.desired.get(self.service, service.desired)
        got = f"desired {service.desired}, ready {service.ready}"
        if self.is_ in ("initial", "above_initial"):
            got += f", before {initial}"
        holds = all(self._holds(count, initial, service.minimum) for count in counts[self.count])
        return Judgement(holds, got, counts[self.count][0])

    def _holds(self, count: int, initial: int, minimum: int) -> bool:
        if self.at_least is not None:
            return count >= self.at_least
        if self.at_most is not None:
            return count <= self.at_most
        if self.equals is not None:
            return count == self.equals
        return {"initial": count == initial, "above_initial": count > initial, "minimum": count == minimum}[
            self.is_ or "initial"
        ]


class ScaleOuts(SomeBounds):
    service: ServiceName

    @property
    def wanted(self) -> str:
        return f"scale-outs of {self.service} {self.bounds_in_words()}"

    def judge(self, facts: Facts) -> Judgement:
        if facts.now.services is None:
            return UNREAD
        count = facts.scale_outs.get(self.service, 0)
        return Judgement(self.within_bounds(count), str(count), count)


class Restarted(Check):
    process: ServiceName

    @property
    def wanted(self) -> str:
        return f"{self.process} started again"

    def judge(self, facts: Facts) -> Judgement:
        if facts.now.pids is None:
            return UNREAD
        before, now = facts.baseline.pids.get(self.process), facts.now.pids.get(self.process)
        if now is None:
            return Judgement(False, "not running")
        return Judgement(now != before, f"pid {now}, before {before or 'none'}")
