"""The durable step that decides what a step of the policy is to do now, or why it does nothing."""

from __future__ import annotations

import time
from typing import TypedDict

from remediation import wording
from remediation.errors import ScalerError, TelemetryError, TemplateError, TemporaryScalerError
from remediation.guards import (
    Refusal,
    Target,
    Undone,
    check_history,
    check_rate,
    target_replicas,
    undone_lately,
)
from remediation.metrics import Metrics
from remediation.policy.policy import Step
from remediation.scalers.change import RETRY_S
from remediation.scalers.scaler import Scaler
from remediation.store.record import Finding, State, TargetHistory
from remediation.store.store import Store
from remediation.watch import Condition, Hold
from remediation.workflow.case import Case
from remediation.workflow.gate import Gate
from remediation.workflow.journal import Journal, now_unix_ms

# What a refusal by these guards makes of the run; by any other guard it is refused. While an escalation holds off, a
# new alert is not answered with silence: it joins what people have already, with evidence of its own.
AFTER_REFUSAL = {
    "scaler": State.FAILED,
    "unreachable": State.FAILED,
    "escalation": State.ESCALATED,
    "breaker": State.ESCALATED,
}


class Plan(TypedDict):
    verdict: str  # act, refused, resolved, failed, escalated
    before: int
    to: int
    minimum: int
    reason: str


class Planning:
    def __init__(self, store: Store, scaler: Scaler, metrics: Metrics, *, journal: Journal, gate: Gate) -> None:
        self._store = store
        self._scaler = scaler
        self._metrics = metrics
        self._journal = journal
        self._gate = gate

    def plan(self, run_id: str, key: str, index: int, *, again: bool) -> Plan:
        """
        Decide on the absolute number of replicas for step `index`, or why there is nothing to do. A step that counts no
        replicas is let go ahead as it stands.

        Args:
            again: This run has acted before: its own actions do not count for the cooldown, and its alert's condition,
                not the notification, has asked for it.
        """
        case = self._journal.case(run_id)
        step = case.policy.steps[index]
        if again:
            self._store.progress(run_id, now_unix_ms(), state=State.PLANNING)
        elif not self._store.alert_is_active(run_id):
            return _no_plan("resolved", "the alert was over before anything was done")
        elif case.run.waited_for is not None and (over := self._await_turn(case, key, step)) is not None:
            return _no_plan("resolved", over)
        self._await_scaling(case)
        decision, minimum = self._guarded(case, step, again=again)
        if decision is None:
            self._journal.tell(run_id, key, "planned", step.name)
            return Plan(verdict="act", before=0, to=0, minimum=0, reason=step.name)
        if isinstance(decision, Target):
            detail = f"{decision.before} → {wording.replicas(decision.to)}: {decision.reason}"
            # What it was decided on; the rest of the evidence is gathered once the action is under way.
            query = case.rendered(step.scaling.basis)
            basis = Finding(f"{key}:wanted", "replicas wanted", query, decision.wanted)
            self._journal.tell(run_id, key, "planned", detail, findings=[basis])
            return Plan(verdict="act", before=decision.before, to=decision.to, minimum=minimum, reason=decision.reason)
        self._metrics.refusals.labels(decision.guard).inc()
        reason = f"{decision.guard}: {decision.reason}"
        self._journal.tell(run_id, key, "refused", reason, findings=case.findings(key))
        return _no_plan(AFTER_REFUSAL.get(decision.guard, State.REFUSED).value, reason)

    def _await_turn(self, case: Case, key: str, step: Step) -> str | None:
        """
        An alert that waited while another run worked on the target: what that run did may have helped this one too, and
        has begun a cooldown, which is waited for. Nobody else acts on the target meanwhile.

        Returns:
            Why there is nothing left to do, None if there is.
        """
        guards, run = case.policy.guards, case.run
        hold, told = Hold(step.verifying.hold), False
        while True:
            if not self._store.alert_is_active(run.id):
                return "the alert was over before its turn had come"
            condition = case.verified(step.verifying)
            if hold.observe(time.time(), condition is Condition.OVER):
                return f"what it asks for has held for {hold.seconds:g} s: {run.waited_for} has helped it too"
            refusal = check_history(guards, self._history(case), service=run.service, now_unix_ms=now_unix_ms())
            cooling = refusal is not None and refusal.guard == "cooldown"
            if condition is not Condition.OVER and not cooling:
                return None
            if refusal is not None and cooling and not told:
                self._journal.tell(run.id, key, "waits", refusal.reason)
                told = True
            time.sleep(step.verifying.every)

    def _await_scaling(self, case: Case) -> None:
        """What an autoscaler has just intended is done in a moment; a number that was read before is no basis."""
        end_s = time.monotonic() + case.policy.guards.patience
        while self._store.scaling_is_under_way(case.run.service, now_unix_ms()) and time.monotonic() < end_s:
            time.sleep(RETRY_S)

    def _history(self, case: Case) -> TargetHistory:
        looking_back_ms = case.policy.guards.looking_back_ms
        return self._store.history(case.run.service, case.run.id, now_unix_ms(), looking_back_ms=looking_back_ms)

    def _guarded(self, case: Case, step: Step, *, again: bool) -> tuple[Target | Refusal | None, int]:
        """What to do, None for the step as it stands; and the minimum of the target's replicas, 0 if nobody asks."""
        service, guards, now = case.run.service, case.policy.guards, now_unix_ms()
        history = self._history(case)
        if again:
            refusal = check_rate(guards, history, service=service)
        else:
            refusal = check_history(guards, history, service=service, now_unix_ms=now)
        if refusal is not None:
            return refusal, 0
        end_s = time.monotonic() + guards.patience
        decision: Target | Refusal | None
        while True:
            decision, minimum = self._gate.refusal(case), 0
            if decision is None:
                decision, minimum = self._target(case, step, undone_lately(guards, history, now))
            passing = isinstance(decision, Refusal) and decision.guard in ("telemetry", "unreachable")
            if not passing or time.monotonic() >= end_s:
                return decision, minimum
            time.sleep(RETRY_S)

    def _target(self, case: Case, step: Step, undone: Undone | None) -> tuple[Target | Refusal | None, int]:
        service = case.run.service
        try:
            replicas = self._scaler.get(service) if step.scale else None
            if not case.telemetry_present():
                return Refusal("telemetry", f"telemetry of {service} is missing or stale"), 0
            if case.verified(step.verifying) is Condition.UNKNOWN:
                return Refusal("telemetry", f"nobody could tell whether it helps {service}: no answer, or no rule"), 0
            if replicas is None:
                return None, 0
            wanted = case.wanted(step.scaling, replicas.desired)
        except (TelemetryError, TemplateError) as error:
            return Refusal("telemetry", str(error)), 0
        except TemporaryScalerError as error:
            return Refusal("unreachable", str(error)), 0
        except ScalerError as error:
            return Refusal("scaler", str(error)), 0
        guards = case.policy.guards
        decision = target_replicas(step.scaling, guards, wanted=wanted, replicas=replicas, undone=undone)
        return decision, replicas.minimum


def _no_plan(verdict: str, reason: str) -> Plan:
    return Plan(verdict=verdict, before=0, to=0, minimum=0, reason=reason)
