"""Policies: which alerts they answer, with which steps, inside which guards. The shape of `policies/*.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from remediation.errors import TemplateError
from remediation.policy.actions import (
    AllowedCommand,
    Approval,
    Call,
    Name,
    Notifier,
    Notify,
    Restart,
    Run,
    Snapshot,
)
from remediation.policy.adjustment import StepAdjustment, check_steps
from remediation.policy.autoscaler import Autoscaler
from remediation.policy.duration import Duration
from remediation.policy.levers import Replace, Rollback, SetFlag, ShedLoad, ShiftTraffic
from remediation.policy.limits import Limits
from remediation.policy.matcher import Matcher, all_match, parse_matcher
from remediation.policy.query import Interval, Query
from remediation.policy.template import names_in


def _template(text: str) -> str:
    try:
        names = names_in(text)
    except TemplateError as error:
        raise ValueError(str(error)) from error
    if "target" in names:
        raise ValueError("the target cannot be made from itself")
    return text


def _matcher(text: str) -> str:
    parse_matcher(text)
    return text


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scale(_Model):
    """
    Absolute target: what is wanted, rounded up, at least `at_least_add` and at most `maximum_step` above what runs.
    Wanted is what `replicas` returns, or what `steps` say of how far `value` is above `threshold`.
    """

    replicas: Query | None = None  # one number: the replicas that the load wants now
    value: Query | None = None  # one number, as the alert measures it
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    steps: tuple[StepAdjustment, ...] = Field(default=(), max_length=20)
    at_least_add: int = Field(default=1, ge=0)
    maximum_step: int = Field(default=4, ge=1)
    # How often verification may raise the target again, when more is wanted and the alert is not over.
    raises: int = Field(default=2, ge=0, le=10)
    # How long a new replica takes until it shows in telemetry (start, readiness, the rate window): no raise before.
    warm_up: Duration = 8.0

    @model_validator(mode="after")
    def _one_way(self) -> Scale:
        stepped = (self.value is not None, self.threshold is not None, bool(self.steps))
        if (self.replicas is not None and any(stepped)) or (self.replicas is None and not all(stepped)):
            raise ValueError("scale has either replicas, or all of value, threshold and steps")
        if self.steps:
            check_steps(self.steps)
        return self

    @property
    def basis(self) -> str:
        """The query that it is decided on."""
        return self.replicas or self.value or ""


class Verify(_Model):
    """What must hold for `hold` seconds, before `within` seconds are over, for the step to have helped."""

    alert_over: bool = True  # the alert rule's own expression no longer returns this alert: the one threshold
    query: Query | None = None  # must return a sample too, and no NaN
    within: Duration
    hold: Duration = 3.0
    every: Interval = 0.5  # between two looks

    @model_validator(mode="after")
    def _consistent(self) -> Verify:
        if not self.alert_over and self.query is None:
            raise ValueError("nothing to verify: set a query or leave alert_over on")
        if self.hold >= self.within:
            raise ValueError(f"hold {self.hold:g}s must be shorter than within {self.within:g}s")
        return self


class Step(_Model):
    """One action, what shows that it helped, and what becomes of it if it did not."""

    name: str = Field(min_length=1)
    scale: Scale | None = None
    restart: Restart | None = None
    replace: Replace | None = None
    rollback: Rollback | None = None
    shift_traffic: ShiftTraffic | None = None
    set_flag: SetFlag | None = None
    shed_load: ShedLoad | None = None
    run: Run | None = None
    call: Call | None = None
    approval: Approval | None = None
    notify: Notify | None = None
    snapshot: Snapshot | None = None
    verify: Verify | None = None  # of all that change something
    on_failure: Literal["undo", "keep"] = "undo"  # of what can be undone: restart, replace, run and call cannot

    @model_validator(mode="after")
    def _one_action(self) -> Step:
        given = [kind for kind in STEP_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"a step has one of {', '.join(STEP_KINDS)}; got {', '.join(given) or 'none'}")
        if self.kind in QUIET_KINDS and self.verify is not None:
            raise ValueError(f"there is nothing to verify in {self.kind}: it changes nothing")
        if self.kind not in QUIET_KINDS and self.verify is None:
            raise ValueError(f"{self.kind} needs verify: nobody would know whether it helped")
        return self

    @property
    def scaling(self) -> Scale:
        """Of a step that scales."""
        if self.scale is None:
            raise ValueError(f"step {self.name!r} does not scale")
        return self.scale

    @property
    def verifying(self) -> Verify:
        """Of a step that acts."""
        if self.verify is None:
            raise ValueError(f"step {self.name!r} has nothing to verify")
        return self.verify

    @property
    def kind(self) -> str:
        return next(kind for kind in STEP_KINDS if getattr(self, kind) is not None)


QUIET_KINDS = ("approval", "notify", "snapshot")  # they change nothing, so no guard holds them up
LEVER_KINDS = ("replace", "rollback", "shift_traffic", "set_flag", "shed_load")  # they set one absolute value
STEP_KINDS = ("scale", "restart", *LEVER_KINDS, "run", "call", *QUIET_KINDS)


class Breaker(_Model):
    """A repair that keeps being needed hides a fault: after so many for one target, people are told instead."""

    repairs: int = Field(default=5, ge=1)  # runs that acted and resolved
    within: Duration = 3600.0


class Guards(_Model):
    """Each can only refuse. They count what the store remembers, so a restart does not reset them."""

    breaker: Breaker = Breaker()
    cooldown: Duration = 30.0  # after the last action on the same target by another run, undoing included
    max_actions_per_hour: int = Field(default=30, ge=1)  # on the same target; undoing is never limited
    policy_max_actions_per_hour: int | None = Field(default=None, ge=1)  # on all targets of this policy
    escalation_hold_off: Duration = 600.0  # after an escalation for the same target: escalate at once, people have it
    # For so long after a scale-out was taken back, only the load itself may ask for more: trying one more blindly
    # (`at_least_add`) has just been shown not to help.
    undo_hold_off: Duration = 600.0
    maximum_replicas: int | None = Field(default=None, ge=1)  # beside the orchestrator's own maximum
    telemetry: Query | None = None  # must return a sample, else telemetry counts as missing
    # How long to wait for telemetry or the scaler before giving up. A collector that was killed is back within seconds;
    # an alert that waits longer is better refused with its reason than answered on yesterday's numbers.
    patience: Duration = 15.0

    @property
    def looking_back_ms(self) -> float:
        """What was done to a target longer ago is none of these guards' concern; rates are always by the hour."""
        return 1000 * max(self.breaker.within, self.cooldown, self.escalation_hold_off, self.undo_hold_off)


class ScaleIn(_Model):
    """The way back, once the alert has resolved and the load allows it. Without it the replicas stay."""

    replicas: Query
    when: Query | None = None  # must return a sample, else the load does not allow it
    stabilisation: Duration = 10.0  # the highest number that `replicas` asked for in this window counts
    maximum_step: int = Field(default=4, ge=1)
    every: Interval = 1.0  # between two looks; rules are evaluated every second, so more often shows nothing new
    settle: Duration = 5.0  # watch for the alert to come back this long after each step down
    to_minimum: bool = False  # down to the orchestrator's minimum; otherwise to what ran before
    give_up_after: Duration = 6 * 3600.0  # then the run ends and the replicas stay as they are


class Evidence(_Model):
    """What to write into the record: the value of a query, or the traces behind a histogram (its exemplars)."""

    name: str = Field(min_length=1)
    query: Query | None = None
    exemplars: Query | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Evidence:
        if (self.query is None) == (self.exemplars is None):
            raise ValueError("set either query or exemplars")
        return self


class Policy(_Model):
    name: Name
    match: tuple[Annotated[str, AfterValidator(_matcher)], ...] = Field(min_length=1)
    # Of two policies that match the same alert the higher one answers. Equal ones that provably do are an error.
    priority: int = Field(default=0, ge=-1000, le=1000)
    target: Annotated[str, Field(min_length=1), AfterValidator(_template)] = "{{ labels.service }}"
    steps: tuple[Step, ...] = Field(min_length=1, max_length=10)
    guards: Guards = Guards()
    scale_in: ScaleIn | None = None
    evidence: tuple[Evidence, ...] = Field(default=(), max_length=20)
    # How often one run may scale out anew after it helped, because demand rose again before the alert was over.
    further_rounds: int = Field(default=2, ge=0, le=10)

    @field_validator("steps")
    @classmethod
    def _named_once(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        names = [step.name for step in steps]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two steps are called {twice!r}")
        return steps

    @cached_property
    def matchers(self) -> tuple[Matcher, ...]:
        return tuple(parse_matcher(text) for text in self.match)

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all_match(self.matchers, labels)


class PolicyFile(_Model):
    limits: Limits | None = None  # over all policies of all files; at most one file may have them
    commands: dict[Name, AllowedCommand] = {}  # what `run` steps of any file may run
    notifiers: dict[Name, Notifier] = {}  # whom `notify` steps of any file may tell
    policies: tuple[Policy, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = Field(default=(), max_length=1000)

    @model_validator(mode="after")
    def _not_empty(self) -> PolicyFile:
        if not self.policies and not self.autoscalers:
            raise ValueError("there are neither policies nor autoscalers in it")
        return self
