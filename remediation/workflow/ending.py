"""The durable steps that explain a run, hand it to people, and end it."""

from __future__ import annotations

import time
from collections.abc import Callable

from remediation.annotations import Annotator
from remediation.metrics import Metrics
from remediation.store.record import Finding, Run, State
from remediation.store.store import Store
from remediation.workflow.case import CRITICAL_PATH
from remediation.workflow.journal import Journal, log, now_unix_ms

CHANGES_BEFORE_MS = 30 * 60_000  # what ails a service has mostly been done to it within half an hour


class Ending:
    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        journal: Journal,
        annotator: Annotator,
        jaeger_url: str,
        ended: Callable[[], None],
    ) -> None:
        """Args: ended: Told after each run, whose target is free then."""
        self._store = store
        self._metrics = metrics
        self._journal = journal
        self._annotator = annotator
        self._jaeger_url = jaeger_url
        self._ended = ended

    def explain(self, run_id: str, key: str) -> None:
        """Write the evidence into the record: values, and the traces behind the alert."""
        case = self._journal.case(run_id)
        traces = case.traces(key, time.time())
        changes = self._changes(key, case.run.started_at_unix_ms)
        self._store.progress(run_id, now_unix_ms(), findings=[*changes, *case.findings(key), *traces])
        if self._jaeger_url:
            for found in traces:
                if found.name == CRITICAL_PATH:
                    continue
                links = " ".join(f"{self._jaeger_url}/trace/{trace_id}" for trace_id in found.value)
                if links:
                    self._journal.tell(run_id, found.key, "traces", f"{found.name}: {links}")

    def _changes(self, key: str, began_unix_ms: int) -> list[Finding]:
        """What was changed before the alert: deploys, drills and scalings, as the dashboards have them marked."""
        marks = self._annotator.recent(began_unix_ms - CHANGES_BEFORE_MS, began_unix_ms)
        return [Finding(f"{key}:changes", "recent changes", "", marks)] if marks else []

    def escalate(self, run_id: str, reason: str) -> None:
        """Hand the case to people, with what is known at this moment."""
        run = self._store.run(run_id)
        self.explain(run_id, "escalated")
        if self._end(run, State.ESCALATED, reason):
            log.error("%s: %s for %s escalated: %s", run_id, run.alertname, run.service, reason)

    def finish(self, run_id: str, state: str, outcome: str) -> None:
        run = self._store.run(run_id)
        ended = self._end(run, State(state), outcome)
        if ended and state == State.FAILED:
            log.error("%s: %s for %s failed: %s", run_id, run.alertname, run.service, outcome)

    def _end(self, run: Run, state: State, outcome: str) -> bool:
        at_unix_ms = now_unix_ms()
        if not self._store.finish(run.id, state, outcome, at_unix_ms):
            return False
        self._ended()
        self._metrics.runs.labels(run.policy, state.value).inc()
        self._metrics.run_seconds.labels(state.value).observe((at_unix_ms - run.started_at_unix_ms) / 1000)
        return True
