"""The values that the store takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias


class State(StrEnum):
    PLANNING = "planning"
    REFUSED = "refused"  # a guard said no; nothing was done
    AWAITING_APPROVAL = "awaiting_approval"  # a person has been asked
    ACTING = "acting"
    VERIFYING = "verifying"
    RESOLVED_PENDING = "resolved_pending"  # it helped; waits for the alert to resolve and the load to fall
    SCALING_IN = "scaling_in"
    RESOLVED = "resolved"
    ESCALATED = "escalated"  # it did not help, or nobody could tell; people must look
    FAILED = "failed"  # the worker could not do what it had decided


FINISHED = frozenset({State.REFUSED, State.RESOLVED, State.ESCALATED, State.FAILED})


class Intake(StrEnum):
    """What became of one alert of a notification."""

    STARTED = "started"  # a new run
    DUPLICATE = "duplicate"  # told before
    JOINED = "joined"  # another run is already at work on the same target
    LATE = "late"  # it fired, and is known to be over
    RESOLVED = "resolved"  # the run that answers it now knows that it is over
    RESOLVED_UNKNOWN = "resolved_unknown"  # nobody answers it, or it was told before
    UNMATCHED = "unmatched"  # no policy answers it


@dataclass(frozen=True, slots=True)
class Outcome:
    what: Intake
    run_id: str | None  # that answers it


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    id: str
    service: str
    alertname: str
    fingerprint: str
    starts_at_unix_ms: int
    policy: str
    policy_json: str
    alert_json: str
    at_unix_ms: int
    because: str = "began this run"  # ends the first line of its timeline
    waited_for: str | None = None  # the run that was at work on the target when the alert came


@dataclass(frozen=True, slots=True)
class Firing:
    new: NewRun  # the run that answers it, unless there is one already
    waits: bool = True  # for the end of that one, if it answers an alert of another name or by another policy

    @property
    def fingerprint(self) -> str:
        return self.new.fingerprint

    @property
    def starts_at_unix_ms(self) -> int:
        return self.new.starts_at_unix_ms

    @property
    def service(self) -> str:
        return self.new.service


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    fingerprint: str
    starts_at_unix_ms: int
    at_unix_ms: int
    earlier_too: bool = False  # the sender names the end, not the start: all that started before is over


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No policy answers it; a run at work on the same service mentions it, as it may explain something."""

    service: str
    note: Note
    at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An alert that joined a run of another name or policy, and fires still when that is over."""

    fingerprint: str
    starts_at_unix_ms: int
    alert_json: str
    run_id: str  # which it joined


Arrival: TypeAlias = "Firing | Resolved | Unanswered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    id: str
    service: str
    alertname: str
    fingerprint: str
    policy: str
    policy_json: str
    alert_json: str
    state: State
    started_at_unix_ms: int
    waited_for: str | None = None  # the run that was at work on the target when this one's alert came


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Written before it is done, so that after a crash `from_replicas` is still known."""

    key: str
    action: str  # scale_out, scale_in, undo; a step's kind
    target: str
    from_replicas: int  # both 0 where no replicas are counted
    to_replicas: int
    reason: str
    at_unix_ms: int
    status: str = "intended"  # intended, done, failed, conflict, unknown
    before: str | None = None  # what a lever found and sets, in words; None for what is no lever's
    after: str | None = None


# What puts things back is not counted by limits, and not held up by them.
RETURNING = frozenset({"undo", "scale_in"})
# What no alert asked for. It is no repair: no repair's cooldown, breaker or limit counts it, but that over all does.
AUTOSCALING = frozenset({"autoscale_out", "autoscale_in"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHistory:
    """What the guards need to know about one target. Actions are all that may have been done, failed ones too."""

    last_action_unix_ms: int | None  # by any other run; that it put something back counts too
    actions_last_hour: int  # by every run
    last_escalation: tuple[str, int] | None  # run id and when it finished, of any other run
    repairs_unix_ms: tuple[int, ...] = ()  # when other runs that had acted ended resolved, oldest first
    # When any run took back a scale-out that had not helped, and how many replicas it took back.
    last_undo: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingHistory:
    """What was done to one service, by whomever, as far as autoscaling must know it."""

    last_change_unix_ms: int | None  # any action on it
    peak_in_window: int  # replicas before the first that autoscaling took away in the window; 0 if it took none
    given_back: int = 0  # how often of late autoscaling had to add again right after it had taken away
    actions_last_hour: int = 0  # by autoscaling
    last_escalation: tuple[str, int] | None = None  # run id and when it finished


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSwitch:
    """Somebody has forbidden every automatic action."""

    reason: str
    by: str
    at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHistory:
    """What the limits over all targets need to know."""

    kill_switch: KillSwitch | None
    actions_last_hour: int
    policy_actions_last_hour: int
    other_runs_acting: int  # that have acted and are not over
    other_services_acted_on: frozenset[str]  # by repairs, within the blast radius's window
    services_taken_from: frozenset[str] = frozenset()  # by autoscaling, within the same window


@dataclass(frozen=True, slots=True)
class Denied:
    """An action that was not let in."""

    reason: str
    again: bool = False  # it was written before, and may have been done: the worker died before it knew


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person was asked; `verdict` is None until somebody answers."""

    key: str
    question: str
    asked_at_unix_ms: int
    expires_at_unix_ms: int
    verdict: str | None  # approved, refused, withdrawn
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the timeline; a key written before is not written again."""

    key: str
    event: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """`value` is anything JSON can say; a key written before is not written again."""

    key: str
    name: str
    query: str
    value: Any
