"""`GET /api/v1/audit`: the audit log, page by page, so that whoever asks can verify the chain without trusting us."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query

from remediation.worker import Worker

MAX_ENTRIES = 5000  # a page: some 2 MB


def install_audit(app: FastAPI, worker: Worker) -> None:
    @app.get("/api/v1/audit")
    def audit(
        after: Annotated[int, Query(ge=0, le=1 << 62)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 1000,
        run: Annotated[str | None, Query(max_length=128)] = None,
    ) -> dict[str, Any]:
        """Entries with a sequence above `after`, oldest first; `head` is the last entry of all."""
        rows, head = worker.store.audit_log(after=after, limit=limit, run_id=run)
        return {"entries": rows, "head": {"sequence": head.sequence, "hash": head.hash}}
