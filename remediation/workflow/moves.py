"""The durable steps of a lever: aim, then move; and move back. What is aimed at is stored before anything is moved."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, TypedDict

from remediation.actions.outcome import Outcome
from remediation.errors import (
    ConflictError,
    ScalerError,
    TelemetryError,
    TemplateError,
    TemporaryScalerError,
)
from remediation.guards import Refusal
from remediation.levers.lever import Lever, Move
from remediation.metrics import Metrics
from remediation.policy.policy import Step
from remediation.store.record import Action
from remediation.workflow.acting import Acting, Deed
from remediation.workflow.case import Case
from remediation.workflow.gate import Admitted
from remediation.workflow.journal import Journal, now_unix_ms

RETRY_S = 0.25


class Aim(TypedDict):
    verdict: str  # act, refused, failed
    reason: str
    before: Any
    after: Any
    was: str
    becomes: str
    thing: str


def look(lever: Lever | None, case: Case, step: Step, now: int) -> Move | Refusal:
    """What the lever would do now; what cannot be found out is a refusal too. Changes nothing."""
    if lever is None:
        return Refusal("scaler", f"this worker has nothing that could {step.kind.replace('_', ' ')}; see its settings")
    try:
        return lever.aim(case, step, now)
    except (TelemetryError, TemplateError) as error:
        return Refusal("telemetry", str(error))
    except TemporaryScalerError as error:
        return Refusal("unreachable", str(error))
    except ScalerError as error:
        return Refusal("scaler", str(error))


class Moves:
    def __init__(self, levers: Mapping[str, Lever], metrics: Metrics, *, journal: Journal, acting: Acting) -> None:
        """`levers` by the kind of step; where one is missing, its steps fail."""
        self._levers = levers
        self._metrics = metrics
        self._journal = journal
        self._acting = acting

    def aim(self, run_id: str, key: str, index: int) -> Aim:
        """What step `index` is to set, and what is there now."""
        case = self._journal.case(run_id)
        step = case.policy.steps[index]
        end_s = time.monotonic() + case.policy.guards.patience
        while True:
            found = look(self._levers.get(step.kind), case, step, now_unix_ms())
            passing = isinstance(found, Refusal) and found.guard in ("telemetry", "unreachable")
            if not passing or time.monotonic() >= end_s:
                break
            time.sleep(RETRY_S)
        if isinstance(found, Refusal):
            self._metrics.refusals.labels(found.guard).inc()
            reason = f"{found.guard}: {found.reason}"
            self._journal.tell(run_id, key, "refused", f"{step.name}: {reason}", findings=case.findings(key))
            verdict = "failed" if found.guard in ("scaler", "unreachable") else "refused"
            return Aim(verdict=verdict, reason=reason, before=None, after=None, was="", becomes="", thing="")
        self._journal.tell(run_id, key, "aimed", f"{step.name}: {found.was} → {found.becomes}: {found.reason}")
        return Aim(
            verdict="act",
            reason=found.reason,
            before=found.before,
            after=found.after,
            was=found.was,
            becomes=found.becomes,
            thing=found.thing,
        )

    def move(self, run_id: str, key: str, index: int, aim: Aim, back_because: str = "") -> Deed:
        """Set what was aimed at; with `back_because`, what was there before."""
        case = self._journal.case(run_id)
        step = case.policy.steps[index]
        move = Move(**{name: aim[name] for name in ("before", "after", "was", "becomes", "reason", "thing")})
        move = move.reversed(back_because) if back_because else move
        intention = Action(
            key=key,
            action="undo" if back_because else step.kind,
            target=case.run.service,
            from_replicas=0,
            to_replicas=0,
            before=move.was,
            after=move.becomes,
            reason=move.reason,
            at_unix_ms=now_unix_ms(),
        )
        return self._acting.carry_out(
            case, step.name, intention, lambda admitted: self._pull(case, step, move, admitted)
        )

    def undoable(self, step: Step) -> bool:
        lever = self._levers.get(step.kind)
        return lever is not None and lever.reversible and step.on_failure == "undo"

    def _pull(self, case: Case, step: Step, move: Move, admitted: Admitted) -> Outcome:
        lever, service = self._levers[step.kind], case.run.service
        end_s = time.monotonic() + case.policy.guards.patience
        while True:
            try:
                lever.pull(service, move, admitted.action.at_unix_ms)
                return Outcome("done", f"{move.was} → {move.becomes}: {move.reason}")
            except ConflictError as error:
                return Outcome("conflict", str(error))
            except TemporaryScalerError as error:
                if time.monotonic() >= end_s:
                    return Outcome("failed", str(error))
                time.sleep(RETRY_S)
            except ScalerError as error:
                return Outcome("failed", str(error))
