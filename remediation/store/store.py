"""The store: every write is one transaction, and every write that a resumed workflow may repeat is keyed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from remediation.store import audit, reports
from remediation.store.arrivals import Arrivals
from remediation.store.audit import Head
from remediation.store.database import Database, Lock
from remediation.store.history import DAY_MS, HOUR_MS, fleet_history, replaced_since, switched_off, target_history
from remediation.store.record import (
    FINISHED,
    Action,
    Arrival,
    Denied,
    Finding,
    FleetHistory,
    KillSwitch,
    Note,
    Outcome,
    Question,
    Run,
    State,
    TargetHistory,
    Waiting,
)
from remediation.store.scalings import under_way
from remediation.store.tables import actions, alerts, approvals, evidence, kill_switch, runs, scalings, timeline

OF_AN_ALERT = ~sa.exists().where(scalings.c.run_id == runs.c.id)


class Store:
    """Thread-safe. Every method raises sqlalchemy.exc.SQLAlchemyError when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def in_file(cls, path: Path) -> Self:
        return cls(Database.in_file(path))

    @classmethod
    def at_url(cls, url: str) -> Self:
        return cls(Database.at_url(url))

    def close(self) -> None:
        self.database.close()

    # Alerts come in

    def take(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """What becomes of each, in their order; all of it is durable when this returns."""
        with self.database.writing(Lock.INTAKE) as transaction:
            decider = Arrivals(transaction.connection, arrivals)
            outcomes = [decider.decide(arrival) for arrival in arrivals]
            decider.write(transaction)
        return outcomes

    def alert_is_active(self, run_id: str) -> bool:
        """Whether the alert that began the run still fires, by the latest startsAt that its sender told us of."""
        with self.database.reading() as connection:
            fingerprint = sa.select(runs.c.fingerprint).where(runs.c.id == run_id).scalar_subquery()
            resolved = connection.execute(
                sa.select(alerts.c.resolved_at_unix_ms)
                .where(alerts.c.run_id == run_id, alerts.c.fingerprint == fingerprint)
                .order_by(alerts.c.starts_at_unix_ms.desc())
                .limit(1)
            ).first()
        return resolved is not None and resolved[0] is None

    def waiting(self) -> list[Waiting]:
        """Alerts whose turn has come, in the order in which they began to fire."""
        over = runs.c.finished_at_unix_ms.is_not(None)
        query = (
            sa.select(alerts)
            .join_from(alerts, runs, runs.c.id == alerts.c.run_id)
            .where(alerts.c.waiting_json.is_not(None), alerts.c.resolved_at_unix_ms.is_(None), over)
            .order_by(alerts.c.starts_at_unix_ms, alerts.c.fingerprint)
        )
        names = ("fingerprint", "starts_at_unix_ms", "run_id")
        with self.database.reading() as connection:
            return [
                Waiting(alert_json=row["waiting_json"], **{name: row[name] for name in names})
                for row in connection.execute(query).mappings()
            ]

    def wait_no_more(self, waiting: Waiting) -> None:
        """There is nothing that would answer it. If it has joined another run since, it goes on waiting."""
        same = (alerts.c.fingerprint == waiting.fingerprint) & (alerts.c.run_id == waiting.run_id)
        same &= alerts.c.starts_at_unix_ms == waiting.starts_at_unix_ms
        with self.database.writing(Lock.INTAKE) as transaction:
            transaction.connection.execute(sa.update(alerts).where(same).values(waiting_json=None))

    # A run goes on

    def run(self, run_id: str) -> Run:
        """
        Raises:
            KeyError: no such run.
        """
        with self.database.reading() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).mappings().first()
        if row is None:
            raise KeyError(run_id)
        return _run(row)

    def active_run(self, service: str) -> str | None:
        """The run that is at work on this service; an autoscaler's, which gives way, is none."""
        active = sa.select(runs.c.id).where(
            runs.c.service == service, runs.c.finished_at_unix_ms.is_(None), OF_AN_ALERT
        )
        with self.database.reading() as connection:
            found: str | None = connection.execute(active).scalar_one_or_none()
            return found

    def unfinished(self) -> list[Run]:
        """Those that a workflow is to end: not the autoscalers'."""
        query = sa.select(runs).where(runs.c.finished_at_unix_ms.is_(None), OF_AN_ALERT)
        with self.database.reading() as connection:
            rows = connection.execute(query).mappings().all()
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
        with self.database.writing() as transaction:
            if state is not None:
                self._enter(transaction.connection, run_id, state)
            for note in notes:
                transaction.note(run_id, note, at_unix_ms)
            for found in findings:
                row = {
                    "run_id": run_id,
                    "key": found.key,
                    "at_unix_ms": at_unix_ms,
                    "name": found.name,
                    "query": found.query,
                    "value_json": json.dumps(found.value, allow_nan=False),
                }
                transaction.connection.execute(transaction.insert(evidence).values(row).on_conflict_do_nothing())

    def noted(self, run_id: str, keys: Sequence[str]) -> bool:
        """Whether the run's timeline has a line under one of these keys."""
        query = sa.select(timeline.c.sequence).where(timeline.c.run_id == run_id, timeline.c.key.in_(keys)).limit(1)
        with self.database.reading() as connection:
            return connection.execute(query).first() is not None

    def _enter(self, connection: sa.Connection, run_id: str, state: State) -> None:
        unfinished = (runs.c.id == run_id) & runs.c.finished_at_unix_ms.is_(None)
        connection.execute(sa.update(runs).where(unfinished).values(state=state.value))

    def finish(self, run_id: str, state: State, outcome: str, at_unix_ms: int) -> bool:
        """Whether this call ended the run; False if it had ended before."""
        if state not in FINISHED:
            raise ValueError(f"{state} does not end a run")
        with self.database.writing() as transaction:
            unfinished = (runs.c.id == run_id) & runs.c.finished_at_unix_ms.is_(None)
            values = {"state": state.value, "outcome": outcome, "finished_at_unix_ms": at_unix_ms}
            ended = transaction.connection.execute(sa.update(runs).where(unfinished).values(values)).rowcount == 1
            if ended:
                transaction.note(run_id, Note("finished", state.value, outcome), at_unix_ms)
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
        Enter `state` and write the action down before it is done. A repetition returns what was written first; one of
        which it is known what became of it is not asked about again.

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
            "before": action.before,
            "after": action.after,
        }
        where = (actions.c.run_id == run_id) & (actions.c.key == action.key)
        with self.database.writing(Lock.ACTING) as transaction:
            connection = transaction.connection
            policy = connection.execute(sa.select(runs.c.policy).where(runs.c.id == run_id)).scalar_one()
            known = connection.execute(sa.select(actions).where(where)).mappings().first()
            if known is not None and known["status"] != "intended":
                return _action(known)
            fleet = fleet_history(connection, run_id, policy, action.at_unix_ms, radius_ms)
            told = {name: row[name] for name in ("key", "action", "target", "from_replicas", "to_replicas", "reason")}
            if action.after is not None:
                told |= {"before": action.before, "after": action.after}
            if (reason := admit(fleet, known is not None)) is not None:
                transaction.audit("denied", action.at_unix_ms, run_id, told | {"denied": reason})
                return Denied(reason, again=known is not None)
            self._enter(connection, run_id, state)
            if known is not None:
                return _action(known)
            connection.execute(transaction.insert(actions).values(row))
            transaction.audit("intended", action.at_unix_ms, run_id, told)
            return action

    def conclude(self, run_id: str, key: str, status: str, note: Note, at_unix_ms: int) -> None:
        """What became of an intended action."""
        with self.database.writing() as transaction:
            where = (actions.c.run_id == run_id) & (actions.c.key == key)
            transaction.connection.execute(sa.update(actions).where(where).values(status=status))
            transaction.note(run_id, note, at_unix_ms)

    def history(self, service: str, run_id: str, now_unix_ms: int, *, looking_back_ms: float = DAY_MS) -> TargetHistory:
        """What was done to `service` of late; `run_id` is the run that asks."""
        with self.database.reading() as connection:
            return target_history(connection, service, run_id, now_unix_ms, looking_back_ms)

    def replaced(self, service: str, since_unix_ms: float) -> int:
        """How many of its replicas were replaced one by one since then."""
        with self.database.reading() as connection:
            return replaced_since(connection, service, since_unix_ms)

    def fleet(self, run_id: str, policy: str, now_unix_ms: int, radius_ms: float) -> FleetHistory:
        """What is done elsewhere, as far as limits over everything count it."""
        with self.database.reading() as connection:
            return fleet_history(connection, run_id, policy, now_unix_ms, radius_ms)

    def scaling_is_under_way(self, service: str, now_unix_ms: int) -> bool:
        """Whether an autoscaler's change of this service was intended of late, and is not over."""
        with self.database.reading() as connection:
            return under_way(connection, service, now_unix_ms - HOUR_MS)

    # The kill switch

    def kill_switch(self) -> KillSwitch | None:
        with self.database.reading() as connection:
            return switched_off(connection)

    def stop_all(self, switch: KillSwitch) -> KillSwitch:
        """
        Forbid every automatic action, of every worker, from now on: when this returns, none is let in any more. Who
        stopped it first is kept.
        """
        row = {"id": 1, "reason": switch.reason, "by": switch.by, "at_unix_ms": switch.at_unix_ms}
        with self.database.writing(Lock.ACTING) as transaction:
            transaction.connection.execute(transaction.insert(kill_switch).values(row).on_conflict_do_nothing())
            told = {"on": True, "by": switch.by, "reason": switch.reason}
            transaction.audit("kill_switch", switch.at_unix_ms, "", told)
            return switched_off(transaction.connection) or switch

    def allow_all(self, *, by: str, reason: str, at_unix_ms: int) -> None:
        with self.database.writing(Lock.ACTING) as transaction:
            transaction.connection.execute(sa.delete(kill_switch))
            transaction.audit("kill_switch", at_unix_ms, "", {"on": False, "by": by, "reason": reason})

    # People are asked

    def ask(self, run_id: str, key: str, question: str, at_unix_ms: int, expires_at_unix_ms: int) -> None:
        row = {
            "run_id": run_id,
            "key": key,
            "question": question,
            "asked_at_unix_ms": at_unix_ms,
            "expires_at_unix_ms": expires_at_unix_ms,
        }
        with self.database.writing() as transaction:
            transaction.connection.execute(transaction.insert(approvals).values(row).on_conflict_do_nothing())

    def approval(self, run_id: str, key: str) -> Question | None:
        where = (approvals.c.run_id == run_id) & (approvals.c.key == key)
        with self.database.reading() as connection:
            row = connection.execute(sa.select(approvals).where(where)).mappings().first()
        return None if row is None else _question(row)

    def answer(self, run_id: str, verdict: str, *, by: str, reason: str, at_unix_ms: int) -> bool:
        """Answer the run's open question; False if it has none, or its time is over."""
        where = (approvals.c.run_id == run_id) & approvals.c.verdict.is_(None)
        where &= approvals.c.expires_at_unix_ms > at_unix_ms
        told = {"verdict": verdict, "by": by, "reason": reason}
        with self.database.writing() as transaction:
            if transaction.connection.execute(sa.update(approvals).where(where).values(told)).rowcount == 0:
                return False
            transaction.audit("answered", at_unix_ms, run_id, told)
        return True

    def withdraw(self, run_id: str, key: str) -> None:
        """Nobody needs to answer any more."""
        where = (approvals.c.run_id == run_id) & (approvals.c.key == key) & approvals.c.verdict.is_(None)
        with self.database.writing() as transaction:
            transaction.connection.execute(sa.update(approvals).where(where).values(verdict="withdrawn"))

    # Records go out

    def records(
        self, *, state: str | None, service: str | None, limit: int, before: int | None = None
    ) -> list[dict[str, Any]]:
        """Newest first; full records. `before`: only runs that started before this moment, Unix milliseconds."""
        with self.database.reading() as connection:
            return reports.newest(connection, state=state, service=service, limit=limit, before=before)

    def record(self, run_id: str) -> dict[str, Any] | None:
        with self.database.reading() as connection:
            return reports.one(connection, run_id)

    def audit_log(self, *, after: int, limit: int, run_id: str | None = None) -> tuple[list[dict[str, Any]], Head]:
        """Entries of the audit log above `after`, in order, and what the last of all is."""
        with self.database.reading() as connection:
            last = audit.head(connection)
            return [
                one for one in audit.page(connection, after, limit, run_id) if one["sequence"] <= last.sequence
            ], last


def _run(row: sa.RowMapping) -> Run:
    told = ("id", "service", "alertname", "fingerprint", "policy", "policy_json", "alert_json")
    names = (*told, "started_at_unix_ms", "waited_for")
    return Run(state=State(row["state"]), **{name: row[name] for name in names})


def _action(row: sa.RowMapping) -> Action:
    counted = ("key", "action", "target", "from_replicas", "to_replicas", "reason", "at_unix_ms", "status")
    names = (*counted, "before", "after")
    return Action(**{name: row[name] for name in names})


def _question(row: sa.RowMapping) -> Question:
    names = ("key", "question", "asked_at_unix_ms", "expires_at_unix_ms", "verdict", "by", "reason")
    return Question(**{name: row[name] for name in names})
