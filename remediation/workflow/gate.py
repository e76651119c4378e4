"""The last door before the world: limits over everything, asked again in the transaction that writes the intention."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from remediation.errors import ScalerError, TelemetryError, TemplateError, TemporaryScalerError
from remediation.guards import Refusal, check_fleet, check_freeze, check_kill_switch
from remediation.metrics import Metrics
from remediation.policy.limits import Limits
from remediation.scalers.change import RETRY_S
from remediation.scalers.scaler import Scaler
from remediation.store.record import RETURNING, Action, Denied, FleetHistory, State
from remediation.store.store import Store
from remediation.workflow.case import Case
from remediation.workflow.journal import now_unix_ms


@dataclass(frozen=True, slots=True)
class Admitted:
    action: Action  # as it was written first
    again: bool  # it was written before: a worker died between that and the end of this step


class Gate:
    def __init__(self, store: Store, scaler: Scaler, limits: Limits, metrics: Metrics) -> None:
        self._store = store
        self._scaler = scaler
        self._limits = limits
        self._metrics = metrics

    def refusal(self, case: Case) -> Refusal | None:
        """An early answer, while planning; `intend` asks again when it counts."""
        now = now_unix_ms()
        fleet = self._store.fleet(case.run.id, case.policy.name, now, self._radius_ms)
        try:
            services = len(self._scaler.services())
        except TemporaryScalerError as error:
            return Refusal("unreachable", str(error))
        except ScalerError as error:
            return Refusal("scaler", str(error))
        return self._check(case, fleet, services, now)

    def intend(self, case: Case, intention: Action, state: State) -> Admitted | Denied:
        """
        Write the action down, if it may be done. What puts something back is stopped by the kill switch alone; what was
        let in before the worker died by a freeze and by missing telemetry too, even if it may have been done.
        """
        returning, services, blind, unreachable = intention.action in RETURNING, 0, None, None
        if not returning:
            blind = self._blind(case)
            try:
                services = len(self._scaler.services())
            except ScalerError as error:  # without it nobody knows the blast radius
                unreachable = Refusal("unreachable", str(error))
            intention = replace(intention, at_unix_ms=now_unix_ms())  # whatever has been waited for
        refusals: list[Refusal] = []
        before = False

        def admit(fleet: FleetHistory, known: bool) -> str | None:
            nonlocal before
            before = known
            if returning:
                refusal = check_kill_switch(fleet.kill_switch)
            elif known:
                frozen = check_freeze(self._limits, intention.at_unix_ms)
                refusal = check_kill_switch(fleet.kill_switch) or frozen or blind
            else:
                refusal = unreachable or self._check(case, fleet, services, intention.at_unix_ms) or blind
            refusals.extend([refusal] if refusal else [])
            return refusal.reason if refusal else None

        written = self._store.intend(case.run.id, state, intention, radius_ms=self._radius_ms, admit=admit)
        return self._denied(refusals[0], again=before) if isinstance(written, Denied) else Admitted(written, before)

    def _blind(self, case: Case) -> Refusal | None:
        """A worker that was away between its plan and now would act on what telemetry said then."""
        end_s = time.monotonic() + case.policy.guards.patience
        while True:
            try:
                if case.telemetry_present():
                    return None
                reason = f"telemetry of {case.run.service} is missing or stale"
            except (TelemetryError, TemplateError) as error:
                reason = str(error)
            if time.monotonic() >= end_s:
                return Refusal("telemetry", reason)
            time.sleep(RETRY_S)

    @property
    def _radius_ms(self) -> float:
        return self._limits.blast_radius.within * 1000

    def _check(self, case: Case, fleet: FleetHistory, services: int, now: int) -> Refusal | None:
        guards, service = case.policy.guards, case.run.service
        return check_fleet(self._limits, guards, fleet, service=service, services=services, now_unix_ms=now)

    def _denied(self, refusal: Refusal, *, again: bool = False) -> Denied:
        self._metrics.refusals.labels(refusal.guard).inc()
        return Denied(f"{refusal.guard}: {refusal.reason}", again=again)
