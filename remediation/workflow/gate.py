"""The last door before the world: limits over everything, asked again in the transaction that writes the intention."""

from __future__ import annotations

from dataclasses import dataclass

from remediation.errors import ScalerError, TemporaryScalerError
from remediation.guards import Refusal, check_fleet, check_kill_switch
from remediation.metrics import Metrics
from remediation.policy.limits import Limits
from remediation.scalers.scaler import Scaler
from remediation.store.record import RETURNING, Action, Denied, FleetHistory, State
from remediation.store.store import Store
from remediation.workflow.case import Case


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

    def refusal(self, case: Case, now_unix_ms: int) -> Refusal | None:
        """An early answer, while planning; `intend` asks again when it counts."""
        fleet = self._store.fleet(case.run.id, case.policy.name, now_unix_ms, self._radius_ms)
        try:
            services = len(self._scaler.services())
        except TemporaryScalerError as error:
            return Refusal("unreachable", str(error))
        except ScalerError as error:
            return Refusal("scaler", str(error))
        return self._check(case, fleet, services, now_unix_ms)

    def intend(self, case: Case, intention: Action, state: State) -> Admitted | Denied:
        """Write the action down, if it may be done. What puts something back is stopped by the kill switch alone."""
        returning, services = intention.action in RETURNING, 0
        if not returning:
            try:
                services = len(self._scaler.services())
            except ScalerError as error:  # without it nobody knows the blast radius
                return self._denied(Refusal("unreachable", str(error)))
        refusals: list[Refusal] = []
        before = False

        def admit(fleet: FleetHistory, known: bool) -> str | None:
            nonlocal before
            before = known
            if known or returning:
                refusal = check_kill_switch(fleet.kill_switch)
            else:
                refusal = self._check(case, fleet, services, intention.at_unix_ms)
            refusals.extend([refusal] if refusal else [])
            return refusal.reason if refusal else None

        written = self._store.intend(case.run.id, state, intention, radius_ms=self._radius_ms, admit=admit)
        return self._denied(refusals[0]) if isinstance(written, Denied) else Admitted(written, before)

    @property
    def _radius_ms(self) -> float:
        return self._limits.blast_radius.within * 1000

    def _check(self, case: Case, fleet: FleetHistory, services: int, now_unix_ms: int) -> Refusal | None:
        guards, service = case.policy.guards, case.run.service
        return check_fleet(self._limits, guards, fleet, service=service, services=services, now_unix_ms=now_unix_ms)

    def _denied(self, refusal: Refusal) -> Denied:
        self._metrics.refusals.labels(refusal.guard).inc()
        return Denied(f"{refusal.guard}: {refusal.reason}")
