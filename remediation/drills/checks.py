"""
The checks that a condition can make: their YAML form, what they want in words, and how an observation is judged.

    promql: EXPR                          every sample must satisfy below|above|at_most|at_least|equals; without
                                          one of these, EXPR must give a sample, as an alert rule must
    alert_firing: {alertname, service…}   an alert with these labels is firing
    alert_resolved: {…}                   none is firing
    no_alert: {…}                         none is firing or pending
    replicas: {service, count, …}         at_least|at_most|equals: N, or is: initial|above_initial|minimum
    scale_outs: {service, at_most: N}     how often the desired number was raised since the injection
    remediation: {service, state, evidence: true}   one begun since the injection is in (one of) these states
    remediations_count: {service, at_most: N}       begun since the injection
    no_open_remediation: {service}        none is still at work
    actions: {service, action, at_most: N}          actions (of one kind) of remediations begun since the injection
    change_of: {promql, at_least: N…}     what EXPR gives now, less what it gave just before the injection; a counter
                                          of a process that was started again goes down
    restarted: {process}                  it runs, as another process than before the injection
    no_new_action: {service}              no action, and no change of the desired number, since the `after` event

In PromQL, `$capacity` is what the drill's service could serve before the injection, in requests a second, and `$rate`
the arrivals a second of the first load injected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from remediation.drills.observation import Observation, Remediation, Service

# Goes into queries and URLs, so nothing but what a DNS label may hold (RFC 1123, 2.1).
ServiceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Matchers = Annotated[dict[LabelName, str], Field(min_length=1)]


class Judgement(NamedTuple):
    holds: bool | None  # None: what was needed could not be read this time
    got: str  # what was seen, for the reader
    value: float | None = None  # the number behind `got`, where there is one


UNREAD = Judgement(None, "no answer")


@dataclass(frozen=True, slots=True)
class Baseline:
    """How things stood just before the injection."""

    desired: Mapping[str, int] = field(default_factory=dict)  # by service
    remediation_ids: frozenset[str] = frozenset()
    variables: Mapping[str, float] = field(default_factory=dict)  # for PromQL, by name without the dollar
    pids: Mapping[str, int] = field(default_factory=dict)  # by process
    values: Mapping[str, float] = field(default_factory=dict)  # by PromQL text


class Mark(NamedTuple):
    """How far a service's actions had come at an event."""

    actions: int
    desired: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a check may look at."""

    now: Observation
    baseline: Baseline
    scale_outs: Mapping[str, int] = field(default_factory=dict)  # since the injection, by service
    mark: Mapping[str, Mark] = field(default_factory=dict)  # at the expectation's `after` event, by service

    def begun(self, service: str) -> list[Remediation] | None:
        """The service's remediations that began since the injection; None if they could not be read."""
        if self.now.remediations is None:
            return None
        known = self.baseline.remediation_ids
        return [each for each in self.now.remediations if each.service == service and each.id not in known]

    def service(self, name: str) -> Service | None:
        return None if self.now.services is None else self.now.services.get(name)


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bounds(_Check):
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


class PromQL(Bounds):
    promql: str

    @property
    def wanted(self) -> str:
        return f"{self.promql} {self.bounds_in_words() or 'to give a sample'}"

    def query(self, variables: Mapping[str, float]) -> str:
        text = self.promql
        for name in sorted(variables, key=len, reverse=True):
            text = text.replace(f"${name}", repr(variables[name]))
        return text

    def judge(self, facts: Facts) -> Judgement:
        query = self.query(facts.baseline.variables)
        if query not in facts.now.samples:
            return UNREAD
        values = facts.now.samples[query]
        if not values:
            return Judgement(False, "no sample")
        if not self.bounds():
            return Judgement(True, number(values[0]), values[0])
        wrong = [value for value in values if not self.within_bounds(value)]
        shown = wrong[0] if wrong else values[0]
        return Judgement(not wrong, number(shown), None if math.isnan(shown) else shown)


class ChangeOf(Bounds):
    promql: Annotated[str, Field(min_length=1, max_length=4000)]

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.bounds():
            raise ValueError("give one of below, above, at_most, at_least, equals")
        return self

    @property
    def wanted(self) -> str:
        return f"the change of {self.promql} since the injection {self.bounds_in_words()}"

    def judge(self, facts: Facts) -> Judgement:
        if self.promql not in facts.now.samples:
            return UNREAD
        values = facts.now.samples[self.promql]
        if not values:
            return Judgement(False, "no sample")
        change = values[0] - facts.baseline.values.get(self.promql, 0.0)  # what did not exist had counted nothing
        return Judgement(self.within_bounds(change), f"{change:+.4g}", change)


class Restarted(_Check):
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


class AlertCheck(_Check):
    labels: Matchers
    want: Literal["firing", "resolved", "absent"]

    @property
    def wanted(self) -> str:
        return f"{alert_name(self.labels)} {self.want}"

    def judge(self, facts: Facts) -> Judgement:
        if facts.now.alerts is None:
            return UNREAD
        states = {alert.state for alert in facts.now.alerts if alert.matches(self.labels)}
        seen = "firing" if "firing" in states else "pending" if states else "inactive"
        holds = {"firing": seen == "firing", "resolved": seen != "firing", "absent": seen == "inactive"}[self.want]
        return Judgement(holds, seen)


class Replicas(_Check):
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


class _Count(Bounds):
    service: ServiceName

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.bounds():
            raise ValueError("give one of below, above, at_most, at_least, equals")
        return self


class ScaleOuts(_Count):
    @property
    def wanted(self) -> str:
        return f"scale-outs of {self.service} {self.bounds_in_words()}"

    def judge(self, facts: Facts) -> Judgement:
        if facts.now.services is None:
            return UNREAD
        count = facts.scale_outs.get(self.service, 0)
        return Judgement(self.within_bounds(count), str(count), count)


class RemediationsCount(_Count):
    @property
    def wanted(self) -> str:
        return f"remediations of {self.service} {self.bounds_in_words()}"

    def judge(self, facts: Facts) -> Judgement:
        begun = facts.begun(self.service)
        if begun is None:
            return UNREAD
        return Judgement(self.within_bounds(len(begun)), str(len(begun)), len(begun))


class Actions(_Count):
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


class RemediationState(_Check):
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


class OfService(_Check):
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


def mark(facts: Facts) -> dict[str, Mark]:
    """How far the actions on each service have come. Empty if this observation cannot tell."""
    if facts.now.services is None or facts.now.remediations is None:
        return {}
    return {
        name: Mark(sum(len(each.actions) for each in facts.begun(name) or ()), service.desired)
        for name, service in facts.now.services.items()
    }


Check = (
    PromQL
    | ChangeOf
    | Restarted
    | AlertCheck
    | Replicas
    | ScaleOuts
    | Actions
    | RemediationState
    | RemediationsCount
    | NoOpenRemediation
    | NoNewAction
)


class Checks(Bounds):
    """The YAML form: one key for each check, of which exactly one is given."""

    promql: str | None = Field(default=None, min_length=1, max_length=4000)
    alert_firing: Matchers | None = None
    alert_resolved: Matchers | None = None
    no_alert: Matchers | None = None
    replicas: Replicas | None = None
    scale_outs: ScaleOuts | None = None
    actions: Actions | None = None
    change_of: ChangeOf | None = None
    restarted: Restarted | None = None
    remediation: RemediationState | None = None
    remediations_count: RemediationsCount | None = None
    no_open_remediation: OfService | None = None
    no_new_action: OfService | None = None

    @model_validator(mode="after")
    def _one_check(self) -> Self:
        given = [name for name in CHECK_KEYS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(CHECK_KEYS)}; got {', '.join(given) or 'none'}")
        if self.promql is None and self.bounds():
            raise ValueError(f"{', '.join(self.bounds())} goes with promql only, not with {given[0]}")
        return self

    @property
    def check(self) -> Check:
        if self.promql is not None:
            return PromQL(promql=self.promql, **self.bounds())
        for labels, want in (
            (self.alert_firing, "firing"),
            (self.alert_resolved, "resolved"),
            (self.no_alert, "absent"),
        ):
            if labels is not None:
                return AlertCheck.model_validate({"labels": labels, "want": want})
        if self.no_open_remediation:
            return NoOpenRemediation(service=self.no_open_remediation.service)
        if self.no_new_action:
            return NoNewAction(service=self.no_new_action.service)
        rest = (
            self.replicas
            or self.scale_outs
            or self.actions
            or self.change_of
            or self.restarted
            or self.remediation
            or self.remediations_count
        )
        assert rest is not None  # noqa: S101  (_one_check)
        return rest


CHECK_KEYS = tuple(name for name in Checks.model_fields if name not in Bounds.model_fields)


def alert_name(labels: Mapping[str, str]) -> str:
    """As Prometheus writes a series: `HighRequestLatency{service="catalog"}`."""
    rest = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "alertname")
    return labels.get("alertname", "") + (f"{{{rest}}}" if rest else "")


def number(value: float) -> str:
    """Four significant digits, without an exponent where people read none."""
    if value == int(value) if math.isfinite(value) else False:
        return str(int(value))
    return f"{value:.4g}"
