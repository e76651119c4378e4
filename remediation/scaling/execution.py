"""
A decision is done: guarded and written down in one transaction, then set, then concluded; what guards refuse is a
record too. After a crash what was written down is done once, or told to have been overtaken.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import time
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError

from remediation.annotations import Annotator
from remediation.errors import ScalerError
from remediation.guards import Refusal, check_freeze, check_kill_switch, first_refusal
from remediation.guards import Verdict as GuardVerdict
from remediation.metrics import Metrics
from remediation.policy.autoscaler import Autoscaler
from remediation.policy.limits import Limits
from remediation.scalers.change import change_replicas
from remediation.scalers.scaler import Scaler
from remediation.scaling.controller import ScalingDecision
from remediation.scaling.guards import scaling_verdicts
from remediation.store.record import Action, Denied, Finding, FleetHistory, NewRun, Note, ScalingHistory
from remediation.store.scalings import KEY, Scalings, Unconcluded

log = logging.getLogger("remediation")

ALERTNAME = "Autoscaling"  # of the records, where an alert's name stands otherwise
PATIENCE_S = 2.0  # with a scaler that does not answer: the next turn looks again
STALE_S = 60.0  # a decision is not done later than so: its autoscaler looks anew every few seconds
REPEAT_REFUSAL_S = 3600.0  # one that goes on is a new record once in so long


class Execution:
    def __init__(
        self, limits: Limits, *, scalings: Scalings, scaler: Scaler, metrics: Metrics, annotator: Annotator
    ) -> None:
        self._limits = limits
        self._scalings = scalings
        self._scaler = scaler
        self._metrics = metrics
        self._annotator = annotator
        # By service: direction and guard of the last refusal that was recorded, and when.
        self._refused_last: dict[str, tuple[tuple[str, str], float]] = {}

    def act(
        self,
        autoscaler: Autoscaler,
        service: str,
        decision: ScalingDecision,
        *,
        findings: Sequence[Finding],
        missing: str | None,
        now_s: float,
    ) -> dict[str, Any]:
        """
        Do it, unless a guard refuses or an alert's run is at work.

        Args:
            missing: Why telemetry counts as missing; None if it does not.

        Returns:
            `held` (why it was not done), or `run` and `status`.

        Raises:
            LeaseLostError: another worker has the duty.
        """
        new, action = _written(autoscaler, service, decision, round(now_s * 1000))
        if missing is not None:
            return self._refused(decision, Refusal("telemetry", missing), new, findings, now_s)
        refusals: list[Refusal] = []

        def admit(fleet: FleetHistory, history: ScalingHistory) -> str | None:
            refusal = first_refusal(
                self._verdicts(autoscaler, service, decision.kind, fleet, history, new.at_unix_ms, services)
            )
            refusals.extend([refusal] if refusal else [])
            return refusal.reason if refusal else None

        try:
            services = self._services(decision.kind)
        except ScalerError as error:  # without it nobody knows the blast radius
            return {"held": f"unreachable: {error}"}
        try:
            denied = self._scalings.begin(
                new,
                action,
                findings,
                radius_ms=self._radius_ms,
                admit=admit,
                replica_radius_ms=window_ms(autoscaler),
            )
        except IntegrityError:
            denied = Denied("a run of an alert begins at this moment")
        if refusals:
            return self._refused(decision, refusals[0], new, findings, now_s)
        if denied is not None:
            return {"held": denied.reason}
        self._refused_last.pop(service, None)
        status, detail = change_replicas(self._scaler, service, decision.before, decision.to, patience_s=PATIENCE_S)
        self._conclude(new.id, service, decision.before, decision.to, status, detail or decision.reason)
        return {"run": new.id, "status": status}

    def verdicts(self, autoscaler: Autoscaler, service: str, kind: str, now_unix_ms: int) -> list[GuardVerdict]:
        """What each guard says to `out` or `in` now; changes nothing."""
        fleet = self._scalings.fleet(autoscaler.name, now_unix_ms, self._radius_ms)
        history = self._scalings.history(service, now_unix_ms, window_ms(autoscaler))
        try:
            services = self._services(kind)
        except ScalerError as error:
            return [Refusal("unreachable", str(error))]
        return self._verdicts(autoscaler, service, kind, fleet, history, now_unix_ms, services)

    def settle(self) -> bool:
        """
        Finish what a worker that died had intended, each once: it is set only if nobody has changed the number since,
        and what it was decided on still holds. False if the kill switch lets nothing be finished now.
        """
        for left in self._scalings.unconcluded():
            if (why := self._too_late(left)) is not None:
                status, detail = self._found(left.service, left.to, why)
            elif check_kill_switch(self._scalings.kill_switch()) is not None:
                log.warning("%s: the kill switch is on, so it waits", left.run_id)
                return False
            else:
                status, detail = change_replicas(
                    self._scaler, left.service, left.before, left.to, patience_s=PATIENCE_S
                )
            told = detail or "finished after the worker that had intended it was gone"
            self._conclude(left.run_id, left.service, left.before, left.to, status, told)
        return True

    def _too_late(self, left: Unconcluded) -> str | None:
        """Why it is not to be done any more."""
        now_unix_ms = round(time.time() * 1000)
        if left.overtaken:
            return "an alert's run took the service over before it was done"
        if (freeze := check_freeze(self._limits, now_unix_ms)) is not None:
            return f"freeze: {freeze.reason}"
        if (ago_s := (now_unix_ms - left.at_unix_ms) / 1000) > STALE_S:
            return f"it was decided {ago_s:.0f} s ago, and nobody decides on what telemetry said then"
        return None

    def _found(self, service: str, to: int, why: str) -> tuple[str, str]:
        """Of a change that is not to be done any more: whether it had been."""
        try:
            done = self._scaler.get(service).desired == to
        except ScalerError as error:
            return "unknown", str(error)
        return ("done", "") if done else ("failed", why)

    def _services(self, kind: str) -> int:
        return len(self._scaler.services()) if kind == "in" else 0

    def _verdicts(
        self,
        autoscaler: Autoscaler,
        service: str,
        kind: str,
        fleet: FleetHistory,
        history: ScalingHistory,
        now_unix_ms: int,
        services: int,
    ) -> list[GuardVerdict]:
        return list(
            scaling_verdicts(
                self._limits,
                autoscaler.guards,
                fleet,
                history,
                kind=kind,
                service=service,
                services=services,
                now_unix_ms=now_unix_ms,
            )
        )

    def _refused(
        self, decision: ScalingDecision, refusal: Refusal, new: NewRun, findings: Sequence[Finding], now_s: float
    ) -> dict[str, Any]:
        told, which = f"{refusal.guard}: {refusal.reason}", (decision.kind, refusal.guard)
        former, at_s = self._refused_last.get(new.service, (None, -math.inf))
        if former != which or now_s - at_s >= REPEAT_REFUSAL_S:
            self._metrics.refusals.labels(refusal.guard).inc()
            self._scalings.refused(new, told, findings)
            self._refused_last[new.service] = which, now_s
            log.info("%s: refused: %s", new.id, told)
        return {"held": told}

    def _conclude(self, run_id: str, service: str, before: int, to: int, status: str, detail: str) -> None:
        kind = "autoscale_out" if to > before else "autoscale_in"
        event = kind if status == "done" else f"{kind}_{status}"
        note = Note(f"{KEY}:{event}", event, f"{before} → {to}: {detail}")
        at_unix_ms = round(time.time() * 1000)
        self._scalings.conclude(run_id, status, note, at_unix_ms)
        log.info("%s: %s: %s", run_id, event, note.detail)
        self._annotator.mark(f"{service}: {event} {note.detail}", "remediation", service, start_unix_ms=at_unix_ms)
        self._metrics.actions.labels(kind, status).inc()

    @property
    def _radius_ms(self) -> float:
        return self._limits.blast_radius.within * 1000


def window_ms(autoscaler: Autoscaler) -> float:
    """In which the share of replicas that is taken away is bounded."""
    return autoscaler.guards.blast_radius.within * 1000


def _written(
    autoscaler: Autoscaler, service: str, decision: ScalingDecision, now_unix_ms: int
) -> tuple[NewRun, Action]:
    # The last part is for a clock that is set back.
    run_id = f"scaling-{service[:80].replace('/', '-')}-{now_unix_ms}-{uuid.uuid4().hex[:6]}"
    summary = f"{decision.before} → {decision.to}: {decision.reason}"
    alert = {
        "status": "firing",
        "labels": {"alertname": ALERTNAME, "service": service, "autoscaler": autoscaler.name},
        "annotations": {"summary": summary},
        "startsAt": dt.datetime.fromtimestamp(now_unix_ms / 1000, dt.UTC).isoformat(),
        "fingerprint": "",
    }
    new = NewRun(
        id=run_id,
        service=service,
        alertname=ALERTNAME,
        fingerprint="",
        starts_at_unix_ms=now_unix_ms,
        policy=autoscaler.name,
        policy_json=autoscaler.model_dump_json(),
        alert_json=json.dumps(alert, ensure_ascii=False),
        at_unix_ms=now_unix_ms,
        because=summary,
    )
    action = Action(
        key=KEY,
        action="autoscale_out" if decision.to > decision.before else "autoscale_in",
        target=service,
        from_replicas=decision.before,
        to_replicas=decision.to,
        reason=decision.reason,
        at_unix_ms=now_unix_ms,
    )
    return new, action
