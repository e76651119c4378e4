"""One expectation over time: waiting, then met or failed. Pure: what was seen and when come as arguments."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from remediation.drills.bounds import number
from remediation.drills.definition import END_INJECTION, INJECTION, Condition, Expectation
from remediation.drills.facts import UNREAD, Facts, Judgement, Mark

_EVENT_WORDS = {INJECTION: "the injection", END_INJECTION: "the end of the injection"}


def event_words(events: tuple[str, ...] | list[str]) -> str:
    return " and ".join(_EVENT_WORDS.get(event, event) for event in events)


class Status(StrEnum):
    WAITING = "waiting"  # its `after` events have not all come
    ACTIVE = "active"
    MET = "met"
    FAILED = "failed"
    SKIPPED = "skipped"  # it never began: what it comes after failed, or the drill was stopped


class Tracker:
    """
    Judges one expectation. Times are seconds on the engine's clock.

    With `within`, it is met at the moment since which the check holds, once it has held for `hold`; that moment must
    lie within the deadline. What could not be read neither helps nor harms, but the deadline runs on. With `stays`,
    the first observation that contradicts fails it.
    """

    def __init__(self, expectation: Expectation, section: str, after: tuple[str, ...]) -> None:
        self.expectation = expectation
        self.check = expectation.check
        self.section = section
        self.after = after
        self.status = Status.WAITING
        self.started: float | None = None
        self.met_at: float | None = None
        self.reason = ""
        self.last = UNREAD
        self._since: float | None = None  # when the check began to hold
        self.mark: Mapping[str, Mark] = {}

    @property
    def name(self) -> str:
        return self.expectation.name

    @property
    def decided(self) -> bool:
        return self.status in (Status.MET, Status.FAILED, Status.SKIPPED)

    @property
    def wanted(self) -> str:
        """In words, deadline included."""
        each = self.expectation
        if each.stays is not None:
            return f"{self.check.wanted} for {number(each.stays)}s"
        held = f", held {number(each.hold)}s," if each.hold else ""
        return f"{self.check.wanted}{held} within {number(each.within or 0)}s of {event_words(self.after)}"

    def begin(self, at: float, mark: Mapping[str, Mark]) -> None:
        self.status, self.started, self.mark = Status.ACTIVE, at, mark

    def observe(self, facts: Facts, now: float) -> None:
        if self.status is not Status.ACTIVE or self.started is None:
            return
        judgement = self.check.judge(facts)
        if judgement.holds is not None:
            self.last = judgement
        if self.expectation.stays is not None:
            self._observe_stays(judgement, self.started, self.expectation.stays, now)
        else:
            self._observe_within(judgement, self.started, self.expectation.within or 0.0, now)

    def _observe_stays(self, judgement: Judgement, started: float, stays: float, now: float) -> None:
        if judgement.holds is False:
            self._fail(now - started)
        elif judgement.holds and now - started >= stays:
            self.status, self.met_at = Status.MET, now

    def _observe_within(self, judgement: Judgement, started: float, within: float, now: float) -> None:
        if judgement.holds is False:
            self._since = None
        elif judgement.holds and self._since is None and now - started <= within:
            self._since = now
        if self._since is None:
            if now - started > within:
                self._fail(now - started)
        elif judgement.holds and now - self._since >= self.expectation.hold:
            self.status, self.met_at = Status.MET, self._since

    def _fail(self, after_s: float) -> None:
        self.status = Status.FAILED
        self.reason = f"wanted {self.wanted}, got {self.last.got} after {after_s:.1f}s"

    def skip(self) -> None:
        self.status = Status.SKIPPED


class Watch:
    """A condition that has to hold for a while: a stop condition, or one part of the steady state."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.check = condition.check
        self.last = UNREAD
        self._since: float | None = None

    def observe(self, facts: Facts, now: float) -> bool:
        """Whether it holds, and has for its `hold`. What could not be read changes nothing."""
        judgement = self.check.judge(facts)
        if judgement.holds is not None:
            self.last = judgement
            self._since = (now if self._since is None else self._since) if judgement.holds else None
        return self._since is not None and now - self._since >= self.condition.hold
