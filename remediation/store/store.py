"""The store: every write is one transaction, and every write that a resumed workflow may repeat is keyed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from remediation.store.history import fleet_history, switched_off, target_history
from remediation.store.record import (
    FINISHED,
    Action,
    Denied,
    Finding,
    FleetHistory,
    Intake,
    KillSwitch,
    NewRun,
    Note,
    Question,
    Run,
    State,
    TargetHistory,
)
from remediation.store.tables import actions, alerts, approvals, evidence, kill_switch, metadata, runs, timeline

_INTEND_LOCK = 7_394_021  # any number, the same in every worker
CACHE_KIB = 256  # a connection's pages: a run's rows are a few KiB, and SQLite's own default is eight times as much
BUSY_TIMEOUT_MS = 10_000  # longer than any transaction of ours; beyond it the sender is told to come again


class Store:
    """Thread-safe. Every method raises sqlalchemy.exc.SQLAlchemyError when the database does not answer."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        metadata.create_all(engine)

    @classmethod
    def in_file(cls, path: Path) -> Self:
        engine = sa.create_engine(f"sqlite:///{path}")
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return cls(engine)

    @classmethod
    def at_url(cls, url: str) -> Self:
        return cls(sa.create_engine(url, pool_size=5, max_overflow=5, pool_pre_ping=True))

    def close(self) -> None:
        self._engine.dispose()

    # Alerts come in

    def accept(self, new: NewRun) -> tuple[Intake, str]:
        """Begin a run, or say which run answers this alert already. The alert is durable when this returns."""
        with self._engine.begin() as connection:
            known = self._answering_run(connection, new)
            if known is not None:
                return Intake.DUPLICATE, known
            row = {
                "id": new.id,
                "service": new.service,
                "alertname": new.alertname,
                "fingerprint": new.fingerprint,
                "policy": new.policy,
                "policy_json": new.policy_json,
                "alert_json": new.alert_json,
                "state": State.PLANNING.value,
                "started_at_unix_ms": new.at_unix_ms,
            }
            # The index on unfinished runs decides, also between two workers.
            started = connection.execute(self._insert(runs).values(row).on_conflict_do_nothing()).rowcount == 1
            run_id = new.id if started else self._active_run(connection, new)
            link = {"fingerprint": new.fingerprint, "starts_at_unix_ms": new.starts_at_unix_ms, "run_id": run_id}
            linked = self._insert(alerts).values(link)
            connection.execute(
                linked.on_conflict_do_update(
                    index_elements=["fingerprint", "starts_at_unix_ms"], set_={"run_id": run_id}
                )
            )
            event = "accepted" if started else "joined"
            detail = f"{new.alertname} ({new.fingerprint}) " + ("began this run" if started else "fires for the target")
            self._note(connection, run_id, f"alert:{new.id}", event, detail, new.at_unix_ms)
        return (Intake.STARTED if started else Intake.JOINED), run_id

    def _answering_run(self, connection: sa.Connection, new: NewRun) -> str | None:
        """The run that this alert began, or joined and that is still at work; one it joined and outlived is none."""
        known = connection.execute(
            sa.select(alerts.c.run_id, runs.c.finished_at_unix_ms)
            .join(runs, runs.c.id == alerts.c.run_id)
            .where(alerts.c.fingerprint == new.fingerprint, alerts.c.starts_at_unix_ms == new.starts_at_unix_ms)
        ).first()
        if known is None or (known[0] != new.id and known[1] is not None):
            return None
        return str(known[0])

    def _active_run(self, connection: sa.Connection, new: NewRun) -> str:
        active = sa.select(runs.c.id).where(runs.c.service == new.service, runs.c.finished_at_unix_ms.is_(None))
        return connection.execute(active).scalar_one_or_none() or new.id

    def resolve(self, fingerprint: str, starts_at_unix_ms: int, at_unix_ms: int) -> str | None:
        """The run that answered this alert, now told that it is over; None if it is unknown or was over before."""
        with self._engine.begin() as connection:
            where = (alerts.c.fingerprint == fingerprint) & (alerts.c.starts_at_unix_ms == starts_at_unix_ms)
            run_id: str | None = connection.execute(
                sa.select(alerts.c.run_id).where(where, alerts.c.resolved_at_unix_ms.is_(None))
            ).scalar_one_or_none()
            if run_id is None:
                return None
            connection.execute(sa.update(alerts).where(where).values(resolved_at_unix_ms=at_unix_ms))
            key = f"resolved:{fingerprint}:{starts_at_unix_ms}"
            self._note(connection, run_id, key, "alert_resolved", f"{fingerprint} is over", at_unix_ms)
        return run_id

    def remark(self, service: str, key: str, event: str, detail: str, at_unix_ms: int) -> None:
        """A line in the timeline of the run at work on `service`, if there is one."""
        with self._engine.begin() as connection:
            active = sa.select(runs.c.id).where(runs.c.service == service, runs.c.finished_at_unix_ms.is_(None))
            run_id = connection.execute(active).scalar_one_or_none()
            if run_id is not None:
                self._note(connection, run_id, key, event, detail, at_unix_ms)

    def alert_is_active(self, run_id: str) -> bool:
        """Whether the alert that began the run still fires, by the latest startsAt that its sender told us of."""
        with self._engine.connect() as connection:
            fingerprint = sa.select(runs.c.fingerprint).where(runs.c.id == run_id).scalar_subquery()
            resolved = connection.execute(
                sa.select(alerts.c.resolved_at_unix_ms)
                .where(alerts.c.run_id == run_id, alerts.c.fingerprint == fingerprint)
                .order_by(alerts.c.starts_at_unix_ms.desc())
                .limit(1)
            ).first()
        return resolved is not None and resolved[0] is None

    # A run goes on

    def run(self, run_id: str) -> Run:
        """
        Raises:
            KeyError: no such run.
        """
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).mappings().first()
        if row is None:
            raise KeyError(run_id)
        return _run(row)

    def unfinished(self) -> list[Run]:
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(runs).where(runs.c.finished_at_unix_ms.is_(None))).mappings().all()
        return [_run(row) for row in rows]

    def progress(
        self,
        run_id: str,
        at_unix_ms: int,
        *,
        state: State | None = None,
        notes: Sequence[Note] = (),
        findings: Sequence[Finding] = (),
    ) -> None:
        """What has become of a run, in one transaction. `state` is an unfinished one; a finished run keeps its own."""
        with self._engine.begin() as connection:
            if state is not None:
                self._enter(connection, run_id, state)
            for note in notes:
                self._note(connection, run_id, note.key, note.event, note.detail, at_unix_ms)
            for found in findings:
                row = {
                    "run_id": run_id,
                    "key": found.key,
                    "at_unix_ms": at_unix_ms,
                    "name": found.name,
                    "query": found.query,
                    "value_json": json.dumps(found.value, allow_nan=False),
                }
                connection.execute(self._insert(evidence).values(row).on_conflict_do_nothing())

    def _enter(self, connection: sa.Connection, run_id: str, state: State) -> None:
        unfinished = (runs.c.id == run_id) & runs.c.finished_at_unix_ms.is_(None)
        connection.execute(sa.update(runs).where(unfinished).values(state=state.value))

    def finish(self, run_id: str, state: State, outcome: str, at_unix_ms: int) -> bool:
        """Whether this call ended the run; False if it had ended before."""
        if state not in FINISHED:
            raise ValueError(f"{state} does not end a run")
        with self._engine.begin() as connection:
            unfinished = (runs.c.id == run_id) & runs.c.finished_at_unix_ms.is_(None)
            values = {"state": state.value, "outcome": outcome, "finished_at_unix_ms": at_unix_ms}
            ended = connection.execute(sa.update(runs).where(unfinished).values(values)).rowcount == 1
            if ended:
                self._note(connection, run_id, "finished", state.value, outcome, at_unix_ms)
        return ended

    def intend(
        self,
        run_id: str,
        state: State,
        action: Action,
        *,
        radius_ms: float,
        admit: Callable[[FleetHistory, bool], str | None],
    ) -> Action | Denied:
        """
        Enter `state` and write the action down before it is done. A repetition returns what was written first.

        Args:
            admit: Given what is done elsewhere, and whether this action was written before, why it must not be done.
                It decides within the transaction, so that two workers cannot both take the last place of a limit.
        """
        row = {
            "run_id": run_id,
            "key": action.key,
            "action": action.action,
            "target": action.target,
            "from_replicas": action.from_replicas,
            "to_replicas": action.to_replicas,
            "reason": action.reason,
            "at_unix_ms": action.at_unix_ms,
            "status": action.status,
        }
        where = (actions.c.run_id == run_id) & (actions.c.key == action.key)
        with self._engine.begin() as connection:
            self._one_at_a_time(connection)
            policy = connection.execute(sa.select(runs.c.policy).where(runs.c.id == run_id)).scalar_one()
            known = connection.execute(sa.select(actions).where(where)).mappings().first()
            fleet = fleet_history(connection, run_id, policy, action.at_unix_ms, radius_ms)
            if (reason := admit(fleet, known is not None)) is not None:
                return Denied(reason)
            self._enter(connection, run_id, state)
            if known is not None:
                return _action(known)
            connection.execute(self._insert(actions).values(row))
            return action

    def _one_at_a_time(self, connection: sa.Connection) -> None:
        """Until the end of the transaction. SQLite's BEGIN IMMEDIATE has done so already."""
        if self._engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_INTEND_LOCK)))

    def conclude(self, run_id: str, key: str, status: str, note: Note, at_unix_ms: int) -> None:
        """What became of an intended action."""
        with self._engine.begin() as connection:
            where = (actions.c.run_id == run_id) & (actions.c.key == key)
            connection.execute(sa.update(actions).where(where).values(status=status))
            self._note(connection, run_id, note.key, note.event, note.detail, at_unix_ms)

    def history(self, service: str, run_id: str, now_unix_ms: int) -> TargetHistory:
        """What was done to `service` before; `run_id` is the run that asks."""
        with self._engine.connect() as connection:
            return target_history(connection, service, run_id, now_unix_ms)

    def fleet(self, run_id: str, policy: str, now_unix_ms: int, radius_ms: float) -> FleetHistory:
        """What is done elsewhere, as far as limits over everything count it."""
        with self._engine.connect() as connection:
            return fleet_history(connection, run_id, policy, now_unix_ms, radius_ms)

    # The kill switch

    def kill_switch(self) -> KillSwitch | None:
        with self._engine.connect() as connection:
            return switched_off(connection)

    def stop_all(self, switch: KillSwitch) -> KillSwitch:
        """Forbid every automatic action, of every worker, from now on. Who stopped it first is kept."""
        row = {"id": 1, "reason": switch.reason, "by": switch.by, "at_unix_ms": switch.at_unix_ms}
        with self._engine.begin() as connection:
            connection.execute(self._insert(kill_switch).values(row).on_conflict_do_nothing())
            return switched_off(connection) or switch

    def allow_all(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.delete(kill_switch))

    # People are asked

    def ask(self, run_id: str, key: str, question: str, at_unix_ms: int, expires_at_unix_ms: int) -> None:
        row = {
            "run_id": run_id,
            "key": key,
            "question": question,
            "asked_at_unix_ms": at_unix_ms,
            "expires_at_unix_ms": expires_at_unix_ms,
        }
        with self._engine.begin() as connection:
            connection.execute(self._insert(approvals).values(row).on_conflict_do_nothing())

    def approval(self, run_id: str, key: str) -> Question | None:
        where = (approvals.c.run_id == run_id) & (approvals.c.key == key)
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(approvals).where(where)).mappings().first()
        return None if row is None else _question(row)

    def answer(self, run_id: str, verdict: str, *, by: str, reason: str, at_unix_ms: int) -> bool:
        """Answer the run's open question; False if it has none, or its time is over."""
        return self._close(approvals.c.expires_at_unix_ms > at_unix_ms, run_id, verdict=verdict, by=by, reason=reason)

    def withdraw(self, run_id: str, key: str) -> None:
        """Nobody needs to answer any more."""
        self._close(approvals.c.key == key, run_id, verdict="withdrawn", by=None, reason=None)

    def _close(self, where: sa.ColumnElement[bool], run_id: str, **values: str | None) -> bool:
        where &= (approvals.c.run_id == run_id) & approvals.c.verdict.is_(None)
        with self._engine.begin() as connection:
            return connection.execute(sa.update(approvals).where(where).values(values)).rowcount > 0

    # Records go out

    def records(self, *, state: str | None, service: str | None, limit: int) -> list[dict[str, Any]]:
        """Newest first; full records, as docs/architecture.md gives their shape."""
        query = sa.select(runs).order_by(runs.c.started_at_unix_ms.desc(), runs.c.id).limit(limit)
        if state is not None:
            query = query.where(runs.c.state == state)
        if service is not None:
            query = query.where(runs.c.service == service)
        with self._engine.connect() as connection:
            return self._described(connection, connection.execute(query).mappings().all())

    def record(self, run_id: str) -> dict[str, Any] | None:
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(runs).where(runs.c.id == run_id)).mappings().all()
            return next(iter(self._described(connection, rows)), None)

    def _described(self, connection: sa.Connection, found: Sequence[sa.RowMapping]) -> list[dict[str, Any]]:
        """Full records in the order of `found`: one query for each table, however many runs."""
        ids = [row["id"] for row in found]

        def parts(table: sa.Table, shape: Callable[[sa.RowMapping], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
            by_run: dict[str, list[dict[str, Any]]] = {run_id: [] for run_id in ids}
            query = sa.select(table).where(table.c.run_id.in_(ids)).order_by(table.c.sequence)
            for row in connection.execute(query).mappings():
                by_run[row["run_id"]].append(shape(row))
            return by_run

        done, told, known = parts(actions, _action_json), parts(timeline, _note_json), parts(evidence, _finding_json)
        asked = parts(approvals, _question_json)
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

    def _note(self, connection: sa.Connection, run_id: str, key: str, event: str, detail: str, at_ms: int) -> None:
        row = {"run_id": run_id, "key": key, "event": event, "detail": detail, "at_unix_ms": at_ms}
        connection.execute(self._insert(timeline).values(row).on_conflict_do_nothing())

    def _insert(self, table: sa.Table) -> Any:
        """An INSERT that has ON CONFLICT DO NOTHING, which SQLAlchemy spells once for each database."""
        return (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert(table)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by our own BEGIN IMMEDIATE
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute("PRAGMA synchronous=FULL")  # a commit is on disk when it returns: accepted alerts are durable


def _run(row: sa.RowMapping) -> Run:
    names = ("id", "service", "alertname", "fingerprint", "policy", "policy_json", "alert_json", "started_at_unix_ms")
    return Run(state=State(row["state"]), **{name: row[name] for name in names})


def _action(row: sa.RowMapping) -> Action:
    names = ("key", "action", "target", "from_replicas", "to_replicas", "reason", "at_unix_ms", "status")
    return Action(**{name: row[name] for name in names})


def _question(row: sa.RowMapping) -> Question:
    names = ("key", "question", "asked_at_unix_ms", "expires_at_unix_ms", "verdict", "by", "reason")
    return Question(**{name: row[name] for name in names})


def _question_json(row: sa.RowMapping) -> dict[str, Any]:
    names = ("question", "asked_at_unix_ms", "expires_at_unix_ms", "verdict", "by", "reason")
    return {name: row[name] for name in names}


def _action_json(row: sa.RowMapping) -> dict[str, Any]:
    counts = row["action"] in ("scale_out", "scale_in", "undo")
    return {
        "action": row["action"],
        "target": row["target"],
        "from": row["from_replicas"] if counts else None,
        "to": row["to_replicas"] if counts else None,
        "at_unix_ms": row["at_unix_ms"],
        "reason": row["reason"],
        "status": row["status"],
    }


def _note_json(row: sa.RowMapping) -> dict[str, Any]:
    return {"at_unix_ms": row["at_unix_ms"], "event": row["event"], "detail": row["detail"]}


def _finding_json(row: sa.RowMapping) -> dict[str, Any]:
    value = json.loads(row["value_json"])
    return {"name": row["name"], "query": row["query"], "value": value, "at_unix_ms": row["at_unix_ms"]}
