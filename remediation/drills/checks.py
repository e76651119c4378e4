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

from typing import Self

from pydantic import Field, model_validator

from remediation.drills.bounds import Bounds
from remediation.drills.fleet_checks import Replicas, Restarted, ScaleOuts
from remediation.drills.remediation_checks import (
    Actions,
    NoNewAction,
    NoOpenRemediation,
    OfService,
    RemediationsCount,
    RemediationState,
)
from remediation.drills.telemetry_checks import AlertCheck, ChangeOf, Matchers, PromQL

AnyCheck = (
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
    def check(self) -> AnyCheck:
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
