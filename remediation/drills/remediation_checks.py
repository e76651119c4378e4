"""Checks of what the worker did: its remediations, their actions and states."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from remediation.drills.bounds import Check, ServiceName, SomeBounds
from remediation.drills.facts import UNREAD, Facts, Judgement, mark


class RemediationsCount(SomeBounds):
    service: ServiceName

    @property
    def wanted(self) -> str:
        return f"remediations of {self.service} {self.bounds_in_words()}"

    def judge(self, facts: Facts) -> Judgement:
        begun = facts.begun(self.service)
        if begun is None:
            return UNREAD
        return Judgement(self.within_bounds(len(begun)), str(len(begun)), len(begun))


class Actions(SomeBounds):
    service: ServiceName
    action: Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,31}$")] | None = None  # only those of this kind

    @property
    def wanted(self) -> str:
        kind = f" of kind {self.action}" if self.action else ""
        return f"actions on {self.service}{kind} {self.bounds_in_words()}"

    def judge(self, facts: Facts) -> Judgement:
        begun = facts.begun(self.service)
        if begun is None:
            return UNREAD
        count = sum(self.action in (None, one.action) for each in begun for one in each.actions)
        return Judgement(self.within_bounds(count), str(count), count)


class RemediationState(Check):
    service: ServiceName
    state: str | tuple[str, ...]
    alertname: str | None = None
    evidence: bool = False  # it must also carry evidence

    @property
    def states(self) -> tuple[str, ...]:
        return (self.state,) if isinstance(self.state, str) else self.state

    @property
    def wanted(self) -> str:
        carrying = " with evidence" if self.evidence else ""
        return f"a remediation of {self.service} {' or '.join(self.states)}{carrying}"

    def judge(self, facts: Facts) -> Judgement:
        begun = facts.begun(self.service)
        if begun is None:
            return UNREAD
        named = [each for each in begun if self.alertname in (None, each.alertname)]
        right = [each for each in named if each.state in self.states]
        proven = [each for each in right if each.evidence or not self.evidence]
        if proven:
            return Judgement(True, proven[0].state)
        if right:
            return Judgement(False, f"{right[0].state} without evidence")
        return Judgement(False, ", ".join(each.state for each in named) or "none began")


class OfService(Check):
    service: ServiceName


class NoOpenRemediation(OfService):
    @property
    def wanted(self) -> str:
        return f"no remediation of {self.service} at work"

    def judge(self, facts: Facts) -> Judgement:
        if facts.now.remediations is None:
            return UNREAD
        at_work = [each for each in facts.now.remediations if each.service == self.service and each.open]
        return Judgement(not at_work, ", ".join(f"{each.id} {each.state}" for each in at_work) or "none")


class NoNewAction(OfService):
    @property
    def wanted(self) -> str:
        return f"no further action on {self.service}"

    def judge(self, facts: Facts) -> Judgement:
        marks, before = mark(facts), facts.mark.get(self.service)
        if self.service not in marks or before is None:
            return UNREAD
        now = marks[self.service]
        if now == before:
            return Judgement(True, "none")
        return Judgement(False, f"{now.actions - before.actions} more; desired {before.desired} → {now.desired}")
