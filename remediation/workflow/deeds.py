"""
The steps beside scaling: restart, run, call, ask, tell. One method for each durable step, as in `Steps`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypedDict

from remediation.actions.call import make_call
from remediation.actions.command import run_command
from remediation.actions.notify import notify
from remediation.actions.outcome import Outcome
from remediation.errors import ScalerError, TemplateError
from remediation.policy.actions import AllowedCommand, Approval, Call, Notifier, Run
from remediation.policy.policy import Step
from remediation.scalers.scaler import Scaler
from remediation.store.record import Action, State
from remediation.store.store import Store
from remediation.workflow.acting import Acting, Deed
from remediation.workflow.case import Case
from remediation.workflow.gate import Admitted
from remediation.workflow.journal import Journal, now_unix_ms

POLL_S = 0.5  # how soon a person's answer is seen
TOLD = {"done": "notified", "failed": "notify_failed"}  # status → event


class Answer(TypedDict):
    verdict: str  # approved, refused, resolved
    reason: str


class Deeds:
    def __init__(
        self,
        store: Store,
        scaler: Scaler,
        *,
        journal: Journal,
        acting: Acting,
        commands: Mapping[str, AllowedCommand],
        notifiers: Mapping[str, Notifier],
    ) -> None:
        self._store = store
        self._scaler = scaler
        self._journal = journal
        self._acting = acting
        self._commands = commands
        self._notifiers = notifiers

    def perform(self, run_id: str, key: str, index: int) -> Deed:
        """Do what step `index` says, unless a limit forbids it. The intention is durable before."""
        case = self._journal.case(run_id)
        step = case.policy.steps[index]
        intention = Action(
            key=key,
            action=step.kind,
            target=case.run.service,
            from_replicas=0,
            to_replicas=0,
            reason=step.name,
            at_unix_ms=now_unix_ms(),
        )
        return self._acting.carry_out(
            case, step.name, intention, lambda admitted: self._done(case, step, f"{run_id}:{key}", admitted)
        )

    def _done(self, case: Case, step: Step, key: str, admitted: Admitted) -> Outcome:
        try:
            if step.restart is not None:
                return self._restart(case.run.service, admitted.action.at_unix_ms)
            if step.run is not None:
                return self._run(case, step.run, key, again=admitted.again)
            if step.call is not None:
                return self._call(case, step.call, key)
        except TemplateError as error:
            return Outcome("failed", str(error))
        raise ValueError(f"{step.kind} is not done here")

    def _restart(self, service: str, before_unix_ms: int) -> Outcome:
        try:
            self._scaler.restart(service, before_unix_ms)
        except ScalerError as error:
            return Outcome("failed", str(error))
        return Outcome("done", f"every replica of {service} that started before is replaced in turn")

    def _run(self, case: Case, run: Run, key: str, *, again: bool) -> Outcome:
        command = self._commands.get(run.command)
        if command is None:  # the policy files have changed since the run began
            return Outcome("failed", f"no command {run.command!r} is allowed any more")
        if again and not command.repeatable:
            return Outcome(
                "unknown", f"the worker died while {run.command} ran: nobody knows whether it had its effect"
            )
        try:
            line = command.line({name: case.told(value) for name, value in run.arguments.items()})
        except ValueError as error:
            return Outcome("failed", f"{run.command}: {error}")
        return run_command(line, key=key, timeout_s=command.timeout)

    def _call(self, case: Case, call: Call, key: str) -> Outcome:
        return make_call(call, None if call.body is None else case.told(call.body), key=key)

    # People

    def tell_people(self, run_id: str, key: str, index: int) -> None:
        """
        Whom the step names is told; who cannot be told is in the record, and holds nothing up. Nobody who is known to
        have been told is told again; a worker that died in between tells twice, since a page that comes twice is better
        than one that is lost. Both name the run.
        """
        case = self._journal.case(run_id)
        step = case.policy.steps[index].notify
        if step is None:
            raise ValueError(f"step {index} tells nobody")
        for name in step.to:
            if self._store.noted(run_id, [f"{key}:{name}:{event}" for event in TOLD.values()]):
                continue
            outcome = self._told(case, name, step.title, step.body)
            self._journal.tell(run_id, f"{key}:{name}", TOLD[outcome.status], outcome.detail)

    def _told(self, case: Case, name: str, title: str, body: str) -> Outcome:
        notifier = self._notifiers.get(name)
        if notifier is None:
            return Outcome("failed", f"there is no notifier {name!r} any more")
        try:
            return notify(
                name,
                notifier.url_file,
                title=case.told(title),
                body=f"{case.told(body)}\n\nsteersman remediation show {case.run.id}",
            )
        except TemplateError as error:
            return Outcome("failed", str(error))

    def ask(self, run_id: str, key: str, index: int, wait: Callable[[float], None] = time.sleep) -> Answer:
        """Until a person answers, or the time is over, which goes on while no worker runs, or the alert is."""
        case = self._journal.case(run_id)
        step = case.policy.steps[index].approval
        if step is None:
            raise ValueError(f"step {index} asks nobody")
        expires = self._question(case, key, step)
        while True:
            asked = self._store.approval(run_id, key)
            if asked is not None and asked.verdict is not None:
                reason = f"{asked.verdict} by {asked.by}: {asked.reason}"
                self._journal.tell(run_id, key, asked.verdict, reason)
                return Answer(verdict=asked.verdict, reason=reason)
            if not self._store.alert_is_active(run_id):
                self._store.withdraw(run_id, key)
                return Answer(verdict="resolved", reason="the alert was over before anybody had answered")
            if now_unix_ms() >= expires:
                verdict = "approved" if step.otherwise == "approve" else "refused"
                self._store.withdraw(run_id, key)
                reason = f"nobody answered within {step.within:g} s, so it is {verdict}"
                self._journal.tell(run_id, key, verdict, reason)
                return Answer(verdict=verdict, reason=reason)
            wait(POLL_S)

    def _question(self, case: Case, key: str, step: Approval) -> int:
        """Ask, once; Unix milliseconds at which the question expires."""
        asked = self._store.approval(case.run.id, key)
        if asked is not None:
            return asked.expires_at_unix_ms
        now = now_unix_ms()
        expires = now + round(step.within * 1000)
        question = case.told(step.question)
        self._store.ask(case.run.id, key, question, now, expires)
        self._journal.tell(case.run.id, key, "asked", question, state=State.AWAITING_APPROVAL)
        return expires
