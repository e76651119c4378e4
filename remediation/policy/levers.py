"""What a step may set of a service beside its replicas: each is absolute, and can be put back."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, model_validator

from remediation.policy.actions import Prose
from remediation.policy.duration import Duration
from remediation.policy.query import Query

LONGEST_S = 24 * 3600.0  # as the orchestrator allows; what is forgotten is over the next day


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _lasting(seconds: float) -> float:
    if not 1 <= seconds <= LONGEST_S:
        raise ValueError(f"must be between 1s and 1d, got {seconds:g}s")
    return seconds


Lasting = Annotated[Duration, AfterValidator(_lasting)]


class Rollback(_Model):
    """Back to the last version that served well, if the one in force was deployed lately."""

    # Must return a sample, evaluated at the moment when that version was replaced: how telemetry saw it then.
    served_well: Query
    served_for: Duration = 60.0  # at least so long, with all its replicas
    deployed_within: Duration = 3600.0  # what has served for longer is not what ails the service


class Replace(_Model):
    """Replace one replica; another serves before it goes."""

    replica: Prose | None = None  # its name, as the alert's labels or annotations have it
    worst: Query | None = None  # or the label of this query's largest sample
    label: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")] = "instance"

    @model_validator(mode="after")
    def _one_way(self) -> Replace:
        if (self.replica is None) == (self.worst is None):
            raise ValueError("replace has either replica, or worst")
        return self


class ShiftTraffic(_Model):
    """Take a zone's requests away from it, for a time."""

    away_from: Prose = "{{ labels.zone }}"
    weight: int = Field(default=0, ge=0, lt=100)  # what is left to it, where the others have 100
    for_: Lasting = Field(default=900.0, alias="for")
    largest_share: float = Field(default=0.5, gt=0, lt=1)  # of the replicas that serve, that may be taken away


class SetFlag(_Model):
    """Set a feature flag; every replica follows within a second."""

    flag: Prose
    value: StrictBool | str
    only_if: StrictBool | str | None = None  # it is so now; what is not on need not be switched off
    for_: Lasting | None = Field(default=None, alias="for")  # then it is as if nobody had set it; None: it stays


class ShedLoad(_Model):
    """Let in only so many of the customers' requests, for a time; calls between services pass."""

    requests_per_second: Query  # one number: what the service can serve
    for_: Lasting = Field(default=120.0, alias="for")
    at_least: float = Field(default=1.0, ge=0.1)  # whatever the query says: nobody is shut out altogether
