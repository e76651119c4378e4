"""
What autoscalers decide: a run of one action, written before it is done; and who of several workers decides.

Such a run gives way: an alert that comes meanwhile begins its own (`Arrivals`), whose plan waits until this action is
over. The other way round nothing is begun while an alert's run is at work on the service.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from remediation.errors import LeaseLostError
from remediation.store.database import Database, Lock, Transaction
from remediation.store.history import fleet_history, scaling_history, switched_off
from remediation.store.leases import now_by_database
from remediation.store.record import (
    AUTOSCALING,
    Action,
    Denied,
    Finding,
    FleetHistory,
    KillSwitch,
    NewRun,
    Note,
    ScalingHistory,
    State,
)
from remediation.store.tables import actions, autoscaler_status, duties, evidence, runs, scalings

DUTY = "autoscaling"
KEY = "0"  # of the only action of such a run


@dataclass(frozen=True, slots=True)
class Unconcluded:
    """An action that was intended, and of which nobody knows whether it was done."""

    run_id: str
    service: str
    before: int
    to: int
    at_unix_ms: int  # when it was decided
    overtaken: bool  # an alert's run has taken the service over


class Scalings:
    """Thread-safe. Every method raises sqlalchemy.exc.SQLAlchemyError when the database does not answer."""

    def __init__(self, database: Database, holder: str) -> None:
        """Args: holder: this process; no two have the same."""
        self._database = database
        self._holder = holder

    # One worker at a time

    def take_duty(self, seconds: float) -> bool:
        """Whether this worker decides, for so long. A store of one worker asks nobody."""
        if not self._database.shared:
            return True
        free = (duties.c.holder == self._holder) | (duties.c.expires_at_unix_ms < now_by_database())
        row = {"name": DUTY, "holder": self._holder, "expires_at_unix_ms": now_by_database() + round(seconds * 1000)}
        with self._database.writing() as transaction:
            insert = transaction.insert(duties).values(row)
            renewed = insert.on_conflict_do_update(index_elements=["name"], set_=row, where=free)
            return transaction.connection.execute(renewed.returning(duties.c.name)).first() is not None

    def give_duty_back(self) -> None:
        if self._database.shared:
            with self._database.writing() as transaction:
                transaction.connection.execute(sa.delete(duties).where(duties.c.holder == self._holder))

    def _require_duty(self, connection: sa.Connection) -> None:
        if not self._database.shared:
            return
        held = sa.select(duties.c.name).where(duties.c.name == DUTY, duties.c.holder == self._holder)
        if connection.execute(held.with_for_update(read=True)).first() is None:
            raise LeaseLostError(f"another worker than {self._holder} scales by now")

    # A decision

    def history(self, service: str, now_unix_ms: int, radius_ms: float) -> ScalingHistory:
        with self._database.reading() as connection:
            return scaling_history(connection, service, now_unix_ms, radius_ms)

    def kill_switch(self) -> KillSwitch | None:
        with self._database.reading() as connection:
            return switched_off(connection)

    def fleet(self, autoscaler: str, now_unix_ms: int, radius_ms: float) -> FleetHistory:
        with self._database.reading() as connection:
            return fleet_history(connection, "", autoscaler, now_unix_ms, radius_ms)

    def active_run(self, service: str) -> str | None:
        with self._database.reading() as connection:
            return _active_run(connection, service)

    def begin(
        self,
        new: NewRun,
        action: Action,
        findings: Sequence[Finding],
        *,
        radius_ms: float,
        admit: Callable[[FleetHistory, ScalingHistory], str | None],
        replica_radius_ms: float,
    ) -> Denied | None:
        """
        Write the decision down, before it is done; nothing if it may not be.

        Args:
            admit: Why it must not be done. It decides within the transaction, as in `Store.intend`.

        Raises:
            LeaseLostError: another worker has the duty.
            sqlalchemy.exc.IntegrityError: a run of an alert began at the same time.
        """
        with self._database.writing(Lock.ACTING, Lock.INTAKE) as transaction:
            connection = transaction.connection
            self._require_duty(connection)
            if (active := _active_run(connection, new.service)) is not None:
                return Denied(f"run {active} is at work on {new.service}")
            fleet = fleet_history(connection, new.id, new.policy, action.at_unix_ms, radius_ms)
            history = scaling_history(connection, new.service, action.at_unix_ms, replica_radius_ms)
            if (reason := admit(fleet, history)) is not None:
                return Denied(reason)
            self._insert(transaction, new, State.ACTING, None)
            row = {
                "run_id": new.id,
                "key": action.key,
                "action": action.action,
                "target": action.target,
                "from_replicas": action.from_replicas,
                "to_replicas": action.to_replicas,
                "reason": action.reason,
                "at_unix_ms": action.at_unix_ms,
                "status": "intended",
            }
            connection.execute(sa.insert(actions).values(row))
            told = {name: row[name] for name in ("key", "action", "target", "from_replicas", "to_replicas", "reason")}
            transaction.audit("intended", action.at_unix_ms, new.id, told)
            self._evidence(transaction, new, findings)
        return None

    def refused(self, new: NewRun, outcome: str, findings: Sequence[Finding]) -> None:
        """A decision that a guard did not let in, as a run that was refused."""
        with self._database.writing() as transaction:
            self._insert(transaction, new, State.REFUSED, outcome)
            transaction.note(new.id, Note("finished", State.REFUSED.value, outcome), new.at_unix_ms)
            self._evidence(transaction, new, findings)

    def conclude(self, run_id: str, status: str, note: Note, at_unix_ms: int) -> None:
        """What became of the action; the run is over, if it was not before."""
        state = State.RESOLVED if status == "done" else State.FAILED
        with self._database.writing() as transaction:
            connection = transaction.connection
            where = (actions.c.run_id == run_id) & (actions.c.status == "intended")
            if connection.execute(sa.update(actions).where(where).values(status=status)).rowcount == 0:
                return
            transaction.note(run_id, note, at_unix_ms)
            ended = {"state": state.value, "outcome": note.detail, "finished_at_unix_ms": at_unix_ms}
            unfinished = (runs.c.id == run_id) & runs.c.finished_at_unix_ms.is_(None)
            connection.execute(sa.update(runs).where(unfinished).values(ended))

    def unconcluded(self) -> list[Unconcluded]:
        """Left behind by a worker that died, or under way in this one."""
        query = (
            sa.select(actions, runs.c.finished_at_unix_ms)
            .join_from(actions, runs, runs.c.id == actions.c.run_id)
            .where(actions.c.status == "intended", actions.c.action.in_(AUTOSCALING))
        )
        with self._database.reading() as connection:
            found = connection.execute(query).mappings().all()
        return [
            Unconcluded(
                row["run_id"],
                row["target"],
                row["from_replicas"],
                row["to_replicas"],
                row["at_unix_ms"],
                row["finished_at_unix_ms"] is not None,
            )
            for row in found
        ]

    def _insert(self, transaction: Transaction, new: NewRun, state: State, outcome: str | None) -> None:
        names = ("id", "service", "alertname", "fingerprint", "policy", "policy_json", "alert_json")
        row = {name: getattr(new, name) for name in names}
        row |= {"state": state.value, "started_at_unix_ms": new.at_unix_ms, "outcome": outcome}
        row["finished_at_unix_ms"] = None if outcome is None else new.at_unix_ms
        connection = transaction.connection
        connection.execute(sa.insert(runs).values(row))
        own = {"run_id": new.id, "service": new.service, "autoscaler": new.policy}
        connection.execute(sa.insert(scalings).values(own))
        transaction.note(new.id, Note("decided", "decided", new.because), new.at_unix_ms)

    def _evidence(self, transaction: Transaction, new: NewRun, findings: Sequence[Finding]) -> None:
        rows = [
            {
                "run_id": new.id,
                "key": one.key,
                "at_unix_ms": new.at_unix_ms,
                "name": one.name,
                "query": one.query,
                "value_json": json.dumps(one.value, allow_nan=False),
            }
            for one in findings
        ]
        if rows:
            transaction.connection.execute(sa.insert(evidence), rows)

    # What was decided last, doing nothing included

    def tell(self, statuses: Sequence[dict[str, Any]]) -> None:
        """Args: statuses: Each with `service` and `at_unix_ms`; the last of each service is kept."""
        with self._database.writing() as transaction:
            for status in statuses:
                row = {name: status[name] for name in ("service", "at_unix_ms")}
                row["status_json"] = json.dumps(status, allow_nan=False)
                insert = transaction.insert(autoscaler_status).values(row)
                update = insert.on_conflict_do_update(index_elements=["service"], set_=row)
                transaction.connection.execute(update)

    def told(self, service: str | None = None) -> list[dict[str, Any]]:
        """By service, of all or of one."""
        query = sa.select(autoscaler_status.c.status_json).order_by(autoscaler_status.c.service)
        if service is not None:
            query = query.where(autoscaler_status.c.service == service)
        with self._database.reading() as connection:
            return [json.loads(text) for text in connection.execute(query).scalars()]


def under_way(connection: sa.Connection, service: str, since_unix_ms: int) -> bool:
    """Whether an autoscaler's change of this service was intended since then, and is not over."""
    mine = (actions.c.target == service) & (actions.c.at_unix_ms > since_unix_ms)
    mine &= (actions.c.status == "intended") & actions.c.action.in_(AUTOSCALING)
    return connection.execute(sa.select(actions.c.sequence).where(mine).limit(1)).first() is not None


def _active_run(connection: sa.Connection, service: str) -> str | None:
    active = sa.select(runs.c.id).where(runs.c.service == service, runs.c.finished_at_unix_ms.is_(None))
    found: str | None = connection.execute(active).scalar_one_or_none()
    return found
