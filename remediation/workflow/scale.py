"""The durable step that sets the number of a service's replicas."""

from __future__ import annotations

from remediation.actions.outcome import Outcome
from remediation.metrics import Metrics
from remediation.scalers.change import change_replicas
from remediation.scalers.scaler import Scaler
from remediation.store.record import Action, State
from remediation.workflow.acting import Acting, Deed
from remediation.workflow.journal import Journal, now_unix_ms

FIRST = "0.0"  # the key of a run's first scaling


class Scaling:
    def __init__(self, scaler: Scaler, metrics: Metrics, *, journal: Journal, acting: Acting) -> None:
        self._scaler = scaler
        self._metrics = metrics
        self._journal = journal
        self._acting = acting

    def act(self, run_id: str, key: str, kind: str, before: int, to: int, reason: str) -> Deed:
        """
        Set the desired replicas to `to`, unless somebody else has changed them from `before` in the meantime.

        The intention is durable before the change, so that a crash in between loses neither `before` nor the fact.
        """
        case = self._journal.case(run_id)
        service, patience_s = case.run.service, case.policy.guards.patience
        intention = Action(
            key=key,
            action=kind,
            target=service,
            from_replicas=before,
            to_replicas=to,
            reason=reason,
            at_unix_ms=now_unix_ms(),
        )

        def change() -> Outcome:
            status, detail = change_replicas(self._scaler, service, before, to, patience_s=patience_s)
            if key == FIRST:
                self._metrics.act_seconds.observe((now_unix_ms() - case.run.started_at_unix_ms) / 1000)
            return Outcome(status, detail or reason)

        state = State.SCALING_IN if kind == "scale_in" else State.ACTING
        return self._acting.carry_out(case, f"{before} → {to}", intention, lambda _: change(), state)
