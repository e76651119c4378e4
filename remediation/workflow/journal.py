"""What every step does first and last: open the run's case, and write down what has happened."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from remediation.prometheus import Prometheus
from remediation.store.record import Finding, Note, State
from remediation.store.store import Store
from remediation.workflow.case import Case

log = logging.getLogger("remediation")


def now_unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Journal:
    def __init__(self, store: Store, prometheus: Prometheus) -> None:
        self._store = store
        self._prometheus = prometheus

    def case(self, run_id: str) -> Case:
        return Case(self._store.run(run_id), self._prometheus)

    def policy_json(self, run_id: str) -> str:
        """Of the run's policy. It never changes, so reading it is the same at every replay."""
        return self._store.run(run_id).policy_json

    def tell(
        self,
        run_id: str,
        key: str,
        event: str,
        detail: str,
        *,
        state: State | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        note = Note(f"{key}:{event}", event, detail)
        self._store.progress(run_id, now_unix_ms(), state=state, notes=[note], findings=findings)
        log.info("%s: %s: %s", run_id, event, detail)
