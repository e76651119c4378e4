"""Records as the API gives them; docs/architecture.md has their shape. Read within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from remediation.store.record import AUTOSCALING
from remediation.store.tables import actions, approvals, evidence, runs, timeline

COUNTING_REPLICAS = frozenset({"scale_out", "scale_in", "undo"}) | AUTOSCALING


def newest(
    connection: sa.Connection, *, state: str | None, service: str | None, limit: int, before: int | None = None
) -> list[dict[str, Any]]:
    """
    Newest first.

    Args:
        before: Only runs that started before this moment, Unix milliseconds.
    """
    query = sa.select(runs).order_by(runs.c.started_at_unix_ms.desc(), runs.c.id).limit(limit)
    if state is not None:
        query = query.where(runs.c.state == state)
    if service is not None:
        query = query.where(runs.c.service == service)
    if before is not None:
        query = query.where(runs.c.started_at_unix_ms < before)
    return described(connection, connection.execute(query).mappings().all())


def one(connection: sa.Connection, run_id: str) -> dict[str, Any] | None:
    rows = connection.execute(sa.select(runs).where(runs.c.id == run_id)).mappings().all()
    return next(iter(described(connection, rows)), None)


def described(connection: sa.Connection, found: Sequence[sa.RowMapping]) -> list[dict[str, Any]]:
    """Full records in the order of `found`: one query for each table, however many runs."""
    ids = [row["id"] for row in found]

    def parts(table: sa.Table, shape: Callable[[sa.RowMapping], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        by_run: dict[str, list[dict[str, Any]]] = {run_id: [] for run_id in ids}
        query = sa.select(table).where(table.c.run_id.in_(ids)).order_by(table.c.sequence)
        for row in connection.execute(query).mappings():
            by_run[row["run_id"]].append(shape(row))
        return by_run

    done, told, known = parts(actions, _action), parts(timeline, _note), parts(evidence, _finding)
    asked = parts(approvals, _question)
    return [
        {
            "id": row["id"],
            "service": row["service"],
            "alertname": row["alertname"],
            "state": row["state"],
            "started_at_unix_ms": row["started_at_unix_ms"],
            "finished_at_unix_ms": row["finished_at_unix_ms"],
            "policy": row["policy"],
            "alert": json.loads(row["alert_json"]),
            "actions": done[row["id"]],
            "timeline": told[row["id"]],
            "evidence": known[row["id"]],
            "approvals": asked[row["id"]],
            "outcome": row["outcome"],
        }
        for row in found
    ]


def _question(row: sa.RowMapping) -> dict[str, Any]:
    names = ("question", "asked_at_unix_ms", "expires_at_unix_ms", "verdict", "by", "reason")
    return {name: row[name] for name in names}


def _action(row: sa.RowMapping) -> dict[str, Any]:
    lever = row["after"] is not None
    counts = row["action"] in COUNTING_REPLICAS and not lever
    return {
        "action": row["action"],
        "target": row["target"],
        "from": row["from_replicas"] if counts else row["before"],
        "to": row["to_replicas"] if counts else row["after"],
        "at_unix_ms": row["at_unix_ms"],
        "reason": row["reason"],
        "status": row["status"],
    }


def _note(row: sa.RowMapping) -> dict[str, Any]:
    return {"at_unix_ms": row["at_unix_ms"], "event": row["event"], "detail": row["detail"]}


def _finding(row: sa.RowMapping) -> dict[str, Any]:
    value = json.loads(row["value_json"])
    return {"name": row["name"], "query": row["query"], "value": value, "at_unix_ms": row["at_unix_ms"]}
