"""The durable step that looks whether an action helped, for as long as its policy says."""

from __future__ import annotations

import math
import time
from typing import TypedDict

from remediation.errors import ScalerError, TelemetryError
from remediation.guards import Target, check_rate, target_replicas
from remediation.scalers.scaler import Scaler
from remediation.store.record import State
from remediation.store.store import Store
from remediation.watch import Condition, Hold
from remediation.workflow.case import Case
from remediation.workflow.journal import Journal, now_unix_ms

LOST_TELEMETRY_S = 5.0  # at the end of verification: older than this, the last answer decides nothing


class Verdict(TypedDict):
    verdict: str  # helped, more, not_helped, unknown
    to: int  # for more: the new target; for not_helped: what the load wants, 0 if unknown
    reason: str


class Verification:
    def __init__(self, store: Store, scaler: Scaler, *, journal: Journal) -> None:
        self._store = store
        self._scaler = scaler
        self._journal = journal

    def verify(
        self, run_id: str, key: str, index: int, acted_at_unix_ms: int, current: int, raises_left: int
    ) -> Verdict:
        """Look until it has held for `hold`, or `within` is over, or the load wants more than was asked for."""
        case = self._journal.case(run_id)
        step = case.policy.steps[index]
        self._store.progress(run_id, now_unix_ms(), state=State.VERIFYING)
        verify = step.verifying
        hold = Hold(verify.hold)
        acted_s = acted_at_unix_ms / 1000
        # A worker that was away for long still looks for one whole hold before it judges.
        known_s = time.time()
        end_s = max(acted_s + verify.within, known_s + verify.hold + 2 * verify.every)
        last_s = end_s + case.policy.guards.patience
        while True:
            now_s = time.time()
            condition = case.verified(verify)
            if condition is Condition.UNKNOWN:
                end_s = min(end_s + verify.every, last_s)  # time without telemetry does not count
            else:
                known_s = now_s
            if hold.observe(now_s, condition is Condition.OVER):
                detail = f"held for {verify.hold:g} s, {now_s - acted_s:.1f} s after the action"
                self._journal.tell(run_id, key, "verified", detail, findings=case.findings(f"{key}:helped"))
                return Verdict(verdict="helped", to=current, reason=detail)
            if condition is Condition.FIRING and raises_left > 0 and now_s - acted_s >= step.scaling.warm_up:
                more = self._raise(case, index, current)
                if more is not None:
                    self._journal.tell(run_id, key, "not_enough", more.reason)
                    return Verdict(verdict="more", to=more.to, reason=more.reason)
            if now_s >= end_s:
                return self._judged(case, key, index, now_s - known_s)
            time.sleep(verify.every)

    def _judged(self, case: Case, key: str, index: int, unknown_s: float) -> Verdict:
        within_s = case.policy.steps[index].verifying.within
        findings = case.findings(f"{key}:late")
        if unknown_s > LOST_TELEMETRY_S:
            reason = f"telemetry has been missing for {unknown_s:.0f} s: nobody can tell whether it helped"
            self._journal.tell(case.run.id, key, "unverified", reason, findings=findings)
            return Verdict(verdict="unknown", to=0, reason=reason)
        reason = f"the alert's condition was not over for long enough within {within_s:g} s"
        self._journal.tell(case.run.id, key, "not_verified", reason, findings=findings)
        return Verdict(verdict="not_helped", to=self._wanted_now(case, index), reason=reason)

    def _wanted_now(self, case: Case, index: int) -> int:
        """Whole replicas that the load wants; 0 if nobody knows, or nobody asks."""
        scale = case.policy.steps[index].scale
        try:
            wanted = None if scale is None or scale.replicas is None else case.number(scale.replicas)
        except TelemetryError:
            wanted = None
        return 0 if wanted is None else max(0, math.ceil(wanted))

    def _raise(self, case: Case, index: int, current: int) -> Target | None:
        """More replicas than `current`, only if the load itself asks for them: `at_least_add` is for the first act."""
        scale = case.policy.steps[index].scaling.model_copy(update={"at_least_add": 0})
        guards, service = case.policy.guards, case.run.service
        history = self._store.history(service, case.run.id, now_unix_ms())
        if check_rate(guards, history, service=service) is not None:
            return None
        try:
            replicas = self._scaler.get(service)
            wanted = case.wanted(scale, replicas.desired)
            decision = target_replicas(scale, guards, wanted=wanted, replicas=replicas)
        except (ScalerError, TelemetryError):
            return None
        return decision if isinstance(decision, Target) and decision.before == current else None
