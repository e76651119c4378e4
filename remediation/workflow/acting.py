"""One action from its intention to what became of it: the same for everything a step does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from opentelemetry import trace

from remediation.actions.outcome import Outcome
from remediation.annotations import Annotator
from remediation.metrics import Metrics
from remediation.store.record import Action, Denied, Finding, Note, State
from remediation.store.store import Store
from remediation.workflow.case import Case
from remediation.workflow.gate import Admitted, Gate
from remediation.workflow.journal import Journal, log, now_unix_ms

tracer = trace.get_tracer("remediation")


class Deed(TypedDict):
    status: str  # done, failed, refused, conflict, unknown
    detail: str
    at_unix_ms: int


class Acting:
    def __init__(self, store: Store, metrics: Metrics, *, journal: Journal, gate: Gate, annotator: Annotator) -> None:
        self._store = store
        self._metrics = metrics
        self._journal = journal
        self._gate = gate
        self._annotator = annotator

    def carry_out(
        self,
        case: Case,
        name: str,
        intention: Action,
        do: Callable[[Admitted], Outcome],
        state: State = State.ACTING,
    ) -> Deed:
        """
        Do it, unless a limit forbids it. The intention is durable before; what had been concluded when the worker died
        is not done again.

        Args:
            name: What it is called in the timeline.
            do: Called with what was first intended; its effect must bear repetition.
        """
        run_id, key, kind = case.run.id, intention.key, intention.action
        admitted = self._gate.intend(case, intention, state)
        if isinstance(admitted, Denied) and admitted.again:
            outcome = Outcome("unknown", f"{admitted.reason}; whether it was done before the worker died is not known")
            self._conclude(case, name, intention, outcome)
            return Deed(status=outcome.status, detail=outcome.detail, at_unix_ms=now_unix_ms())
        if isinstance(admitted, Denied):
            self._journal.tell(run_id, key, f"{kind}_refused", f"{name}: {admitted.reason}")
            return Deed(status="refused", detail=admitted.reason, at_unix_ms=now_unix_ms())
        at_unix_ms = admitted.action.at_unix_ms
        if admitted.action.status != "intended":
            return Deed(status=admitted.action.status, detail="as before the restart", at_unix_ms=at_unix_ms)
        with tracer.start_as_current_span("remediation.act") as span:
            span.set_attributes({"remediation.action": kind, "remediation.step": name})
            outcome = do(admitted)
            span.set_attribute("remediation.status", outcome.status)
        self._conclude(case, name, intention, outcome)
        told = f"{case.run.service}: {kind}: {name}: {outcome.detail}"
        self._annotator.mark(told, "remediation", case.run.service, start_unix_ms=at_unix_ms, end_unix_ms=now_unix_ms())
        return Deed(status=outcome.status, detail=outcome.detail, at_unix_ms=at_unix_ms)

    def _conclude(self, case: Case, name: str, intention: Action, outcome: Outcome) -> None:
        run_id, key, kind = case.run.id, intention.key, intention.action
        event = kind if outcome.status == "done" else f"{kind}_{outcome.status}"
        note = Note(f"{key}:{event}", event, f"{name}: {outcome.detail}")
        if outcome.output:
            found = Finding(f"{key}:output", f"output of {name}", "", outcome.output)
            self._store.progress(run_id, now_unix_ms(), findings=[found])
        self._store.conclude(run_id, key, outcome.status, note, now_unix_ms())
        log.info("%s: %s: %s", run_id, event, note.detail)
        self._metrics.actions.labels(kind, outcome.status).inc()
