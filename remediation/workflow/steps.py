"""
The side effects of a run, one method for each durable step.

A step that was interrupted is run again from its beginning, so each may be repeated: what it writes is keyed, what it
sets is absolute. Results are plain JSON values, because they are stored and read back by a later version of the code.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import replace
from typing import TypedDict

from opentelemetry import trace

from remediation.annotations import Annotator
from remediation.errors import ScalerError, TelemetryError, TemporaryScalerError
from remediation.guards import (
    Refusal,
    Target,
    check_history,
    check_rate,
    target_replicas,
    undone_lately,
)
from remediation.metrics import Metrics
from remediation.policy.policy import Step
from remediation.scalers.change import RETRY_S, change_replicas
from remediation.scalers.scaler import Scaler
from remediation.store.record import Action, Denied, Finding, Note, Run, State
from remediation.store.store import Store
from remediation.watch import Condition, Decision, Hold, Observation, ScaleInWatch
from remediation.workflow.case import Case
from remediation.workflow.gate import Gate
from remediation.workflow.journal import Journal, log, now_unix_ms

tracer = trace.get_tracer("remediation")

WATCH_EVERY_S = 1.0  # where the policy says nothing
WATCH_SLOWLY_AFTER_S = 300.0
WATCH_SLOWLY_EVERY_S = 5.0
CHANGES_BEFORE_MS = 30 * 60_000  # what ails a service has mostly been done to it within half an hour
LOST_TELEMETRY_S = 5.0  # at the end of verification: older than this, the last answer decides nothing


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


class Done(TypedDict):
    status: str  # done, failed, conflict, refused
    detail: str
    at_unix_ms: int


class Verdict(TypedDict):
    verdict: str  # helped, more, not_helped, unknown
    to: int  # for more: the new target; for not_helped: what the load wants, 0 if unknown
    reason: str


class Next(TypedDict):
    do: str  # scale_in, scale_out, go_back, finish
    to: int
    reason: str


class Steps:
    def __init__(
        self,
        store: Store,
        scaler: Scaler,
        metrics: Metrics,
        *,
        journal: Journal,
        gate: Gate,
        annotator: Annotator,
        jaeger_url: str,
        autoscaled: Collection[str] = (),
    ) -> None:
        """Args: autoscaled: services that have an autoscaler, which brings them home once an alert is over."""
        self._store = store
        self._scaler = scaler
        self._metrics = metrics
        self._journal = journal
        self._gate = gate
        self._annotator = annotator
        self._jaeger_url = jaeger_url
        self._autoscaled = frozenset(autoscaled)

    def policy(self, run_id: str) -> str:
        """The run's policy, as JSON. It never changes, so reading it is the same at every replay."""
        return self._store.run(run_id).policy_json

    # plan and guard

    def plan(self, run_id: str, key: str, index: int, *, again: bool) -> Plan:
        """
        Decide on the absolute number of replicas for step `index`, or why there is nothing to do. A step that counts no
        replicas is let go ahead as it stands.

        Args:
            again: This run has acted before: its own actions do not count for the cooldown, and its alert's condition,
                not the notification, has asked for it.
        """
        case = self._journal.case(run_id)
        if again:
            self._store.progress(run_id, now_unix_ms(), state=State.PLANNING)
        elif not self._store.alert_is_active(run_id):
            return _no_plan("resolved", "the alert was over before anything was done")
        step = case.policy.steps[index]
        self._await_scaling(case)
        decision, minimum = self._guarded(case, step, again=again)
        if decision is None:
            self._journal.tell(run_id, key, "planned", step.name)
            return Plan(verdict="act", before=0, to=0, minimum=0, reason=step.name)
        if isinstance(decision, Target):
            detail = f"{decision.before} → {decision.to} replicas: {decision.reason}"
            # What it was decided on; the rest of the evidence is gathered once the action is under way.
            query = case.rendered(step.scaling.basis)
            basis = Finding(f"{key}:wanted", "replicas wanted", query, decision.wanted)
            self._journal.tell(run_id, key, "planned", detail, findings=[basis])
            return Plan(verdict="act", before=decision.before, to=decision.to, minimum=minimum, reason=decision.reason)
        self._metrics.refusals.labels(decision.guard).inc()
        reason = f"{decision.guard}: {decision.reason}"
        self._journal.tell(run_id, key, "refused", reason, findings=case.findings(key))
        return _no_plan(AFTER_REFUSAL.get(decision.guard, State.REFUSED).value, reason)

    def _await_scaling(self, case: Case) -> None:
        """What an autoscaler has just intended is done in a moment; a number that was read before is no basis."""
        end_s = time.monotonic() + case.policy.guards.patience
        while self._store.scaling_is_under_way(case.run.service, now_unix_ms()) and time.monotonic() < end_s:
            time.sleep(RETRY_S)

    def _guarded(self, case: Case, step: Step, *, again: bool) -> tuple[Target | Refusal | None, int]:
        """What to do, None for the step as it stands; and the minimum of the target's replicas, 0 if nobody asks."""
        service, guards, now = case.run.service, case.policy.guards, now_unix_ms()
        history = self._store.history(service, case.run.id, now)
        if again:
            refusal = check_rate(guards, history, service=service)
        else:
            refusal = check_history(guards, history, service=service, now_unix_ms=now)
        if refusal is not None:
            return refusal, 0
        end_s = time.monotonic() + guards.patience
        decision: Target | Refusal | None
        while True:
            decision, minimum = self._gate.refusal(case, now_unix_ms()), 0
            if decision is None:
                decision, minimum = self._target(case, step, undone_lately(guards, history, now))
            passing = isinstance(decision, Refusal) and decision.guard in ("telemetry", "unreachable")
            if not passing or time.monotonic() >= end_s:
                return decision, minimum
            time.sleep(RETRY_S)

    def _target(self, case: Case, step: Step, undone_s: float | None) -> tuple[Target | Refusal | None, int]:
        try:
            replicas = self._scaler.get(case.run.service) if step.scale else None
            if not case.telemetry_present():
                return Refusal("telemetry", f"telemetry of {case.run.service} is missing or stale"), 0
            if replicas is None:
                return None, 0
            wanted = case.wanted(step.scaling, replicas.desired)
        except TelemetryError as error:
            return Refusal("telemetry", str(error)), 0
        except TemporaryScalerError as error:
            return Refusal("unreachable", str(error)), 0
        except ScalerError as error:
            return Refusal("scaler", str(error)), 0
        guards = case.policy.guards
        decision = target_replicas(step.scaling, guards, wanted=wanted, replicas=replicas, undone_s=undone_s)
        return decision, replicas.minimum

    # act

    def act(self, run_id: str, key: str, kind: str, before: int, to: int, reason: str) -> Done:
        """
        Set the desired replicas to `to`, unless somebody else has changed them from `before` in the meantime.

        The intention is durable before the change, so that a crash in between loses neither `before` nor the fact.
        """
        case = self._journal.case(run_id)
        run, patience_s = case.run, case.policy.guards.patience
        intention = Action(
            key=key,
            action=kind,
            target=run.service,
            from_replicas=before,
            to_replicas=to,
            reason=reason,
            at_unix_ms=now_unix_ms(),
        )
        state = State.SCALING_IN if kind == "scale_in" else State.ACTING
        written = self._gate.intend(case, intention, state)
        if isinstance(written, Denied):
            self._journal.tell(run_id, key, f"{kind}_refused", f"{before} → {to}: {written.reason}")
            return Done(status="refused", detail=written.reason, at_unix_ms=now_unix_ms())
        with tracer.start_as_current_span("remediation.act") as span:
            span.set_attributes({"remediation.action": kind, "remediation.from": before, "remediation.to": to})
            status, detail = change_replicas(self._scaler, run.service, before, to, patience_s=patience_s)
            span.set_attribute("remediation.status", status)
        at_unix_ms = now_unix_ms()
        event = kind if status == "done" else f"{kind}_{status}"
        note = Note(f"{key}:{event}", event, f"{before} → {to}: {detail or reason}")
        self._store.conclude(run_id, key, status, note, at_unix_ms)
        log.info("%s: %s: %s", run_id, event, note.detail)
        self._annotator.mark(
            f"{run.service}: {event} {note.detail}", "remediation", run.service, start_unix_ms=at_unix_ms
        )
        self._metrics.actions.labels(kind, status).inc()
        if key == "0.0":  # the run's first action
            self._metrics.act_seconds.observe((at_unix_ms - run.started_at_unix_ms) / 1000)
        return Done(status=status, detail=detail, at_unix_ms=written.action.at_unix_ms)

    def explain(self, run_id: str, key: str) -> None:
        """Write the evidence into the record: values, and the traces behind the alert."""
        case = self._journal.case(run_id)
        traces = case.traces(key, time.time())
        changes = self._changes(key, case.run.started_at_unix_ms)
        self._store.progress(run_id, now_unix_ms(), findings=[*changes, *case.findings(key), *traces])
        if self._jaeger_url:
            for found in traces:
                links = " ".join(f"{self._jaeger_url}/trace/{trace_id}" for trace_id in found.value)
                if links:
                    self._journal.tell(run_id, found.key, "traces", f"{found.name}: {links}")

    def _changes(self, key: str, began_unix_ms: int) -> list[Finding]:
        """What was changed before the alert: deploys, drills and scalings, as the dashboards have them marked."""
        marks = self._annotator.recent(began_unix_ms - CHANGES_BEFORE_MS, began_unix_ms)
        return [Finding(f"{key}:changes", "recent changes", "", marks)] if marks else []

    # verify

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
        history = self._store.history(case.run.service, case.run.id, now_unix_ms())
        if check_rate(case.policy.guards, history, service=case.run.service) is not None:
            return None
        try:
            replicas = self._scaler.get(case.run.service)
            wanted = case.wanted(scale, replicas.desired)
            decision = target_replicas(scale, case.policy.guards, wanted=wanted, replicas=replicas)
        except (ScalerError, TelemetryError):
            return None
        return decision if isinstance(decision, Target) and decision.before == current else None

    # after it helped

    def watch(self, run_id: str, key: str, index: int, current: int, floor: int, previous: int | None) -> Next:
        """Wait until something is to be done: step down, step up again, or finish."""
        case = self._journal.case(run_id)
        autoscaled = case.run.service in self._autoscaled
        scale_in = None if autoscaled else case.policy.scale_in
        state = State.SCALING_IN if previous is not None else State.RESOLVED_PENDING
        self._store.progress(run_id, now_unix_ms(), state=state)
        started_s = time.time()
        verify = case.policy.steps[index].verifying
        watch = ScaleInWatch(
            policy=scale_in,
            current=current,
            floor=floor,
            started_s=started_s,
            relapse_s=verify.hold,
            previous=previous,
        )
        while True:
            now_s = time.time()
            decision = watch.observe(now_s, self._observed(case, index))
            if decision is not None and decision.kind == "finish" and autoscaled:
                decision = replace(decision, reason=f"{decision.reason}; its autoscaler takes it from here")
            if decision is not None:
                return self._decided(case, key, decision)
            every_s = scale_in.every if scale_in is not None else WATCH_EVERY_S
            slow = now_s - started_s > WATCH_SLOWLY_AFTER_S
            time.sleep(max(every_s, WATCH_SLOWLY_EVERY_S) if slow else every_s)

    def _observed(self, case: Case, index: int) -> Observation:
        scale_in = case.policy.scale_in
        wanted, allowed = None, False
        try:
            if scale_in is not None:
                wanted = case.number(scale_in.replicas)
                allowed = case.condition_holds(scale_in.when)
        except TelemetryError:
            allowed = False
        return Observation(
            condition=case.verified(case.policy.steps[index].verifying),
            alert_active=self._store.alert_is_active(case.run.id),
            wanted=wanted,
            allowed=allowed,
        )

    def _decided(self, case: Case, key: str, decision: Decision) -> Next:
        detail = f"{decision.to} replicas: {decision.reason}"
        self._journal.tell(case.run.id, key, f"decided_{decision.kind}", detail, findings=case.findings(key))
        return Next(do=decision.kind, to=decision.to, reason=decision.reason)

    # the end

    def escalate(self, run_id: str, reason: str) -> None:
        """Hand the case to people, with what is known at this moment."""
        case = self._journal.case(run_id)
        self.explain(run_id, "escalated")
        if self._end(case.run, State.ESCALATED, reason):
            log.error("%s: %s for %s escalated: %s", run_id, case.run.alertname, case.run.service, reason)

    def finish(self, run_id: str, state: str, outcome: str) -> None:
        run = self._store.run(run_id)
        ended = self._end(run, State(state), outcome)
        if ended and state == State.FAILED:
            log.error("%s: %s for %s failed: %s", run_id, run.alertname, run.service, outcome)

    def _end(self, run: Run, state: State, outcome: str) -> bool:
        at_unix_ms = now_unix_ms()
        if not self._store.finish(run.id, state, outcome, at_unix_ms):
            return False
        self._metrics.runs.labels(run.policy, state.value).inc()
        self._metrics.run_seconds.labels(state.value).observe((at_unix_ms - run.started_at_unix_ms) / 1000)
        return True


def _no_plan(verdict: str, reason: str) -> Plan:
    return Plan(verdict=verdict, before=0, to=0, minimum=0, reason=reason)
