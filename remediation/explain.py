"""
A dry run: what would be done about an alert now, by which policy, what each guard says, and the plan. Changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from remediation import wording
from remediation.errors import RemediationError, ScalerError, TelemetryError, TemplateError
from remediation.guards import (
    Passed,
    Refusal,
    Target,
    Verdict,
    first_refusal,
    fleet_verdicts,
    history_verdicts,
    target_replicas,
    undone_lately,
)
from remediation.intake import target_of
from remediation.levers.lever import Lever
from remediation.policy.book import PolicyBook
from remediation.policy.policy import LEVER_KINDS, QUIET_KINDS, Policy, Step
from remediation.prometheus import Prometheus
from remediation.scalers.scaler import Scaler
from remediation.store.record import Run, State
from remediation.store.store import Store
from remediation.workflow.case import Case
from remediation.workflow.journal import now_unix_ms
from remediation.workflow.moves import look

NO_RUN = "dry-run"


class Explainer:
    def __init__(
        self,
        book: PolicyBook,
        store: Store,
        scaler: Scaler,
        prometheus: Prometheus,
        levers: Mapping[str, Lever],
    ) -> None:
        self._book = book
        self._store = store
        self._scaler = scaler
        self._prometheus = prometheus
        self._levers = levers

    def explain(self, labels: dict[str, str], annotations: dict[str, str], now_unix_ms: int) -> dict[str, Any]:
        """
        Returns:
            `policy` and `why` (its matchers), `also_match` (others that would, of lower priority or later in order),
            `target`, `guards` ({"guard", "verdict": "pass" or "refuse", "reason"}), `plan` (one entry a step), and
            `would`: nothing, join, refuse, act or ask.
        """
        policy = self._book.first_match(labels)
        if policy is None:
            return {"would": "nothing", "reason": "no policy matches", "policy": None, "nearest": self._nearest(labels)}
        others = self._book.also_matching(labels)
        told: dict[str, Any] = {
            "policy": policy.name,
            "why": [str(matcher) for matcher in policy.matchers],
            "also_match": [one.name for one in others],
        }
        target = target_of(policy, labels, annotations)
        if target is None:
            reason = f"the policy's target {policy.target!r} is no name of a service for this alert"
            return told | {"would": "nothing", "reason": reason, "target": None}
        case = self._case(policy, target, labels, annotations, now_unix_ms)
        verdicts = list(self._verdicts(case, now_unix_ms))
        refusal = first_refusal(verdicts)
        active = self._store.active_run(target)
        plan = [self._planned(case, step) for step in policy.steps]
        if active is not None:
            would, reason = "join", f"run {active} is at work on {target}"
        elif refusal is not None:
            would, reason = "refuse", f"{refusal.guard}: {refusal.reason}"
        else:
            would = "act" if policy.steps[0].kind not in QUIET_KINDS else policy.steps[0].kind
            reason = plan[0]["detail"]
        guards = [
            {"guard": one.guard, "verdict": "pass" if isinstance(one, Passed) else "refuse", "reason": one.reason}
            for one in verdicts
        ]
        return told | {"would": would, "reason": reason, "target": target, "guards": guards, "plan": plan}

    def _nearest(self, labels: dict[str, str]) -> list[dict[str, str]]:
        """For each policy the first matcher that says no."""
        found = []
        for policy in self._book.policies:
            matcher = next(one for one in policy.matchers if not one.matches(labels))
            got = labels.get(matcher.name, "")
            found.append({"policy": policy.name, "matcher": str(matcher), "got": got})
        return found

    def _case(self, policy: Policy, target: str, labels: dict[str, str], annotations: dict[str, str], now: int) -> Case:
        run = Run(
            id=NO_RUN,
            service=target,
            alertname=labels.get("alertname", ""),
            fingerprint=NO_RUN,
            policy=policy.name,
            policy_json=policy.model_dump_json(),
            alert_json=json.dumps({"labels": labels, "annotations": annotations}),
            state=State.PLANNING,
            started_at_unix_ms=now,
        )
        return Case(run, self._prometheus)

    def _verdicts(self, case: Case, now_unix_ms: int) -> Iterator[Verdict]:
        guards, service, limits = case.policy.guards, case.run.service, self._book.limits
        history = self._store.history(service, NO_RUN, now_unix_ms, looking_back_ms=guards.looking_back_ms)
        yield from history_verdicts(guards, history, service=service, now_unix_ms=now_unix_ms)
        fleet = self._store.fleet(NO_RUN, case.policy.name, now_unix_ms, limits.blast_radius.within * 1000)
        try:
            services = len(self._scaler.services())
        except ScalerError as error:
            yield Refusal("unreachable", str(error))
        else:
            yield from fleet_verdicts(
                limits, guards, fleet, service=service, services=services, now_unix_ms=now_unix_ms
            )
        yield self._telemetry(case)
        step = next((one for one in case.policy.steps if one.kind not in QUIET_KINDS), None)
        if step is not None and step.scale is not None:
            yield self._bounds(case, step)

    def _telemetry(self, case: Case) -> Verdict:
        if case.policy.guards.telemetry is None:
            return Passed("telemetry", "the policy names no query that must return something")
        try:
            if case.telemetry_present():
                return Passed("telemetry", f"telemetry of {case.run.service} is fresh")
        except (TelemetryError, TemplateError) as error:
            return Refusal("telemetry", str(error))
        return Refusal("telemetry", f"telemetry of {case.run.service} is missing or stale")

    def _bounds(self, case: Case, step: Step) -> Verdict:
        decision = self._decided(case, step)
        if isinstance(decision, Refusal):
            return decision
        return Passed("bounds", f"{decision.before} → {wording.replicas(decision.to)} is within them")

    def _decided(self, case: Case, step: Step) -> Target | Refusal:
        try:
            replicas = self._scaler.get(case.run.service)
            wanted = case.wanted(step.scaling, replicas.desired)
        except ScalerError as error:
            return Refusal("scaler", str(error))
        except RemediationError as error:
            return Refusal("telemetry", str(error))
        now, guards = now_unix_ms(), case.policy.guards
        history = self._store.history(case.run.service, NO_RUN, now, looking_back_ms=guards.looking_back_ms)
        undone = undone_lately(guards, history, now)
        return target_replicas(step.scaling, guards, wanted=wanted, replicas=replicas, undone=undone)

    def _planned(self, case: Case, step: Step) -> dict[str, Any]:
        """What a step would do, in words; how it is verified, and what follows if it did not help."""
        told: dict[str, Any] = {"step": step.name, "action": step.kind, "detail": self._in_words(case, step)}
        if step.verify is not None:
            wanted = "the alert's expression is over" if step.verify.alert_over else ""
            wanted = " and ".join(
                part for part in (wanted, step.verify.query and case.rendered(step.verify.query)) if part
            )
            told["verify"] = f"{wanted}, for {step.verify.hold:g} s, within {step.verify.within:g} s"
            undone = step.on_failure == "undo" and (step.scale or (step.kind in LEVER_KINDS and step.kind != "replace"))
            told["on_failure"] = "undo, then the next step, then people" if undone else "the next step, then people"
        return told

    def _in_words(self, case: Case, step: Step) -> str:
        texts: dict[str, Callable[[], str]] = {
            "scale": lambda: self._scaling_in_words(case, step),
            "restart": lambda: f"replace every replica of {case.run.service} in turn",
            "run": lambda: f"run {step.run.command}" if step.run else "",
            "call": lambda: f"{step.call.method} {step.call.url}" if step.call else "",
            "approval": lambda: f"ask a person: {case.told(step.approval.question)}" if step.approval else "",
            "notify": lambda: f"tell {', '.join(step.notify.to)}" if step.notify else "",
            "snapshot": lambda: "write the evidence into the record",
        }
        try:
            if step.kind in LEVER_KINDS:
                return self._lever_in_words(case, step)
            return texts[step.kind]() if step.kind in texts else step.kind
        except TemplateError as error:
            return f"cannot be made from this alert: {error}"

    def _lever_in_words(self, case: Case, step: Step) -> str:
        found = look(self._levers.get(step.kind), case, step, now_unix_ms())
        if isinstance(found, Refusal):
            return f"nothing now: {found.guard}: {found.reason}"
        return f"{step.kind.replace('_', ' ')} {case.run.service} {found.was} → {found.becomes}: {found.reason}"

    def _scaling_in_words(self, case: Case, step: Step) -> str:
        decision = self._decided(case, step)
        if isinstance(decision, Refusal):
            return f"nothing now: {decision.guard}: {decision.reason}"
        return f"scale {case.run.service} {decision.before} → {decision.to}: {decision.reason}"
