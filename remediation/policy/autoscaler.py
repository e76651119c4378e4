"""
Scaling that no alert asks for: target tracking, scheduled minimums, a forecast's floor. The `autoscalers` of a file.

Source of the algorithm's words and defaults: kubernetes.io, Horizontal Pod Autoscaling (tolerance 10 %, scale-in
stabilisation 300 s, none for scaling out), and Amazon EC2 Auto Scaling (warm-up, target tracking, scheduled actions).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from remediation.policy.actions import Name
from remediation.policy.duration import Duration
from remediation.policy.limits import Location
from remediation.policy.query import Interval, TargetQuery
from remediation.policy.schedule import ScheduledMinimum
from remediation.policy.target import TARGET_NAME

MAX_POINTS = 11_000  # of one range query: Prometheus refuses more (web/api/v1/api.go, queryRange)
ServiceName = Annotated[str, StringConstraints(pattern=TARGET_NAME)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tracking(_Model):
    """Keep a utilisation per replica at `target`: ceil(replicas * value / target), as an HPA does."""

    # One sample for each replica, told apart by the label `per`; without `per` one number, the average over all that
    # are ready. A replica that has gone must not be in it.
    utilisation: TargetQuery
    per: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")] | None = None
    target: float = Field(gt=0, allow_inf_nan=False)
    tolerance: float = Field(default=0.1, ge=0, lt=1)  # a ratio this near to 1 changes nothing
    # A replica that has been told of for less is not counted yet, and keeps nobody from adding more than it.
    warm_up: Duration = 10.0


class AutoscaleOut(_Model):
    maximum_step: int = Field(default=4, ge=1)  # replicas added at once
    stabilisation: Duration = 0.0  # the lowest number wanted in this window counts


class AutoscaleIn(_Model):
    """Slow: what is taken away must be missed by nobody."""

    maximum_step: int = Field(default=1, ge=1)  # replicas taken away at once
    stabilisation: Duration = 300.0  # the highest number wanted in this window counts
    cooldown: Duration = 30.0  # after any other change of the replicas, whoever made it


class ReplicaRadius(_Model):
    """At most this share of a service's replicas is taken away within the window; of a few at least one."""

    replicas: float = Field(default=0.5, gt=0, le=1)
    within: Duration = 600.0


class AutoscalerGuards(_Model):
    """Each can only refuse. They count what the store remembers."""

    max_actions_per_hour: int = Field(default=60, ge=1)  # of autoscaling on one service
    escalation_hold_off: Duration = 600.0  # after an escalation people work on it: nothing is taken away
    blast_radius: ReplicaRadius = ReplicaRadius()
    telemetry: TargetQuery | None = None  # must return a sample, else nothing is done, not even by the schedule


class Forecast(_Model):
    """What the load's history says it will be; shown always, applied as a floor only with `apply`."""

    load: TargetQuery  # one number, for example requests a second
    per_replica: TargetQuery | Annotated[float, Field(gt=0, allow_inf_nan=False)]  # of it that one replica takes
    season: Duration = 86400.0  # what repeats: 1d, or 1w where weekends differ
    history: Duration = 14 * 86400.0
    step: Duration = 300.0
    ahead: Duration = 900.0  # the highest load expected from now until then is what the floor is for
    quantile: float = Field(default=0.9, ge=0.5, le=1)  # of what came at this time of the season before
    location: Location = "UTC"  # by whose clock the season repeats when summer time begins or ends
    apply: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Forecast:
        if self.step < 1:
            raise ValueError(f"step must be at least 1s, got {self.step:g}s")
        if self.season % self.step:
            raise ValueError(f"season {self.season:g}s must be a multiple of step {self.step:g}s")
        if self.history < 2 * self.season:
            raise ValueError(f"history {self.history:g}s must hold two seasons of {self.season:g}s at least")
        if not self.step <= self.ahead < self.season:
            raise ValueError(f"ahead {self.ahead:g}s must be from step {self.step:g}s to below season {self.season:g}s")
        if self.history / self.step > MAX_POINTS:
            raise ValueError(f"history {self.history:g}s has {self.history / self.step:.0f} steps, limit {MAX_POINTS}")
        return self


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice!r} stands twice")
    return names


class Autoscaler(_Model):
    name: Name
    services: Annotated[tuple[ServiceName, ...], AfterValidator(_distinct)] = Field(min_length=1, max_length=1000)
    # The one that wants most replicas counts; while any of them is unknown nothing is taken away.
    tracking: tuple[Tracking, ...] = Field(min_length=1, max_length=10)
    minimum: int = Field(default=1, ge=1)  # beside the orchestrator's own bounds
    maximum: int | None = Field(default=None, ge=1)
    every: Interval = 5.0
    scale_out: AutoscaleOut = AutoscaleOut()
    scale_in: AutoscaleIn = AutoscaleIn()
    schedule: tuple[ScheduledMinimum, ...] = Field(default=(), max_length=100)
    forecast: Forecast | None = None
    guards: AutoscalerGuards = AutoscalerGuards()

    @field_validator("schedule")
    @classmethod
    def _named_once(cls, schedule: tuple[ScheduledMinimum, ...]) -> tuple[ScheduledMinimum, ...]:
        _distinct(tuple(one.name for one in schedule))
        return schedule

    @model_validator(mode="after")
    def _consistent(self) -> Autoscaler:
        if self.maximum is None:
            return self
        if self.maximum < self.minimum:
            raise ValueError(f"maximum {self.maximum} is below minimum {self.minimum}")
        for one in self.schedule:
            if one.minimum > self.maximum:
                raise ValueError(f"schedule {one.name!r} wants {one.minimum} replicas, maximum {self.maximum}")
        return self
