"""The durable step after it helped: wait until something is to be done about the replicas that were added."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from typing import TypedDict

from remediation import wording
from remediation.errors import TelemetryError
from remediation.store.record import State
from remediation.store.store import Store
from remediation.watch import Decision, Observation, ScaleInWatch
from remediation.workflow.case import Case
from remediation.workflow.journal import Journal, now_unix_ms

WATCH_EVERY_S = 1.0  # where the policy says nothing
WATCH_SLOWLY_AFTER_S = 300.0
WATCH_SLOWLY_EVERY_S = 5.0


class Next(TypedDict):
    do: str  # scale_in, scale_out, go_back, finish
    to: int
    reason: str


class Homecoming:
    def __init__(self, store: Store, *, journal: Journal, autoscaled: Collection[str] = ()) -> None:
        """Args: autoscaled: services that have an autoscaler, which brings them home once an alert is over."""
        self._store = store
        self._journal = journal
        self._autoscaled = frozenset(autoscaled)

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
        detail = f"{wording.replicas(decision.to)}: {decision.reason}"
        self._journal.tell(case.run.id, key, f"decided_{decision.kind}", detail, findings=case.findings(key))
        return Next(do=decision.kind, to=decision.to, reason=decision.reason)
