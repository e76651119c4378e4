"""
What arrives from alerting, and what becomes of it: a whole notification in one transaction.

Notifications come again, come twice and come in the wrong order. One alert is its fingerprint and its start; whatever
is said of it again changes nothing, and a firing that arrives after its own end, or after the end of a later start, is
late and begins nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from remediation.store.database import Transaction
from remediation.store.record import Arrival, Firing, Intake, NewRun, Note, Outcome, Resolved, State, Unanswered
from remediation.store.tables import alerts, runs, scalings

CHUNK = 400  # rows asked for at once: two parameters each, far below SQLite's limit of 32,766
NOBODY = ""  # the run of an alert that was over before anybody had heard that it fires


@dataclass(slots=True)
class _Row:
    run_id: str
    resolved_at_unix_ms: int | None
    run_is_over: bool
    changed: bool = False
    waiting_json: str | None = None  # the alert, if it waits for the end of a run that it has joined now


@dataclass(frozen=True, slots=True)
class _AtWork:
    run_id: str
    alertname: str
    policy: str


class Arrivals:
    """Decides on one notification after another against what the store knows; `write` makes it durable."""

    def __init__(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> None:
        self._rows: dict[tuple[str, int], _Row] = {}
        self._ended: dict[str, int] = {}  # fingerprint → the latest start that is known to be over
        self._active: dict[str, _AtWork] = {}  # service → its unfinished run
        self._scaling: dict[str, str] = {}  # service → its autoscaler's unfinished run, which gives way
        self._overtaken: list[tuple[str, Note, int]] = []
        self._begun: list[NewRun] = []
        self._notes: list[tuple[str, Note, int]] = []
        self._remarks: list[tuple[str, Note, int]] = []  # which may have been written before
        self._load(connection, arrivals)

    def _load(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> None:
        told = [one for one in arrivals if not isinstance(one, Unanswered)]
        keys = sorted({(one.fingerprint, one.starts_at_unix_ms) for one in told})
        known = sa.select(alerts, runs.c.finished_at_unix_ms).outerjoin(runs, runs.c.id == alerts.c.run_id)
        for chunk in _chunks(keys):
            wanted = sa.tuple_(alerts.c.fingerprint, alerts.c.starts_at_unix_ms).in_(chunk)
            self._keep(connection, known.where(wanted))
        ended = sa.select(alerts.c.fingerprint, sa.func.max(alerts.c.starts_at_unix_ms))
        for chunk in _chunks(sorted({fingerprint for fingerprint, _ in keys})):
            open_ = alerts.c.fingerprint.in_(chunk) & alerts.c.resolved_at_unix_ms.is_(None)
            self._keep(connection, known.where(open_))
            over = alerts.c.fingerprint.in_(chunk) & alerts.c.resolved_at_unix_ms.is_not(None)
            found = connection.execute(ended.where(over).group_by(alerts.c.fingerprint))
            self._ended |= {str(row[0]): int(row[1]) for row in found}
        services = sorted({one.service for one in arrivals if not isinstance(one, Resolved)})
        for chunk in _chunks(services):
            active = runs.c.service.in_(chunk) & runs.c.finished_at_unix_ms.is_(None)
            unfinished = sa.select(runs, scalings.c.run_id.label("scaling")).where(active)
            for row in connection.execute(unfinished.outerjoin_from(runs, scalings, scalings.c.run_id == runs.c.id)):
                if row.scaling is None:
                    self._active[row.service] = _AtWork(row.id, row.alertname, row.policy)
                else:
                    self._scaling[row.service] = row.id

    def _keep(self, connection: sa.Connection, query: sa.Select[Any]) -> None:
        for row in connection.execute(query):
            key = (row.fingerprint, row.starts_at_unix_ms)
            self._rows[key] = _Row(row.run_id, row.resolved_at_unix_ms, row.finished_at_unix_ms is not None)

    def decide(self, arrival: Arrival) -> Outcome:
        match arrival:
            case Firing():
                return self._fires(arrival.new, waits=arrival.waits)
            case Resolved():
                return self._is_over(arrival)
            case Unanswered():
                at_work = self._active.get(arrival.service)
                if at_work is not None:
                    self._remarks.append((at_work.run_id, arrival.note, arrival.at_unix_ms))
                return Outcome(Intake.UNMATCHED, None)

    def _fires(self, new: NewRun, *, waits: bool) -> Outcome:
        key = (new.fingerprint, new.starts_at_unix_ms)
        row = self._rows.get(key)
        if row is not None and row.run_id != NOBODY and (row.run_id == new.id or not row.run_is_over):
            return Outcome(Intake.DUPLICATE, row.run_id)
        if row is not None and row.resolved_at_unix_ms is not None:
            return Outcome(Intake.LATE, None)
        if row is None and self._ended.get(new.fingerprint, -1) > new.starts_at_unix_ms:
            return Outcome(Intake.LATE, None)
        own = _AtWork(new.id, new.alertname, new.policy)
        at_work = self._active.setdefault(new.service, own)
        run_id = at_work.run_id
        waits = waits and (at_work.alertname, at_work.policy) != (new.alertname, new.policy)
        self._rows[key] = _Row(run_id, None, run_is_over=False, changed=True)
        self._rows[key].waiting_json = new.alert_json if waits else None
        what = f"{new.alertname} ({new.fingerprint})"
        if at_work is own:
            self._begun.append(new)
            if (scaling := self._scaling.pop(new.service, None)) is not None:
                outcome = f"{what} has begun a run of its own, which takes the service over"
                self._overtaken.append((scaling, Note("overtaken", "overtaken", outcome), new.at_unix_ms))
            self._tell(run_id, f"alert:{new.id}", "accepted", f"{what} {new.because}", new.at_unix_ms)
            return Outcome(Intake.STARTED, run_id)
        self._tell(run_id, f"alert:{new.id}", "joined", f"{what} fires for the target", new.at_unix_ms)
        return Outcome(Intake.JOINED, run_id)

    def _is_over(self, over: Resolved) -> Outcome:
        key = (over.fingerprint, over.starts_at_unix_ms)
        keys = [key]
        if over.earlier_too:
            keys += [one for one in self._rows if one[0] == over.fingerprint and one[1] < over.starts_at_unix_ms]
        told: str | None = None
        for one in keys:
            row = self._rows.get(one)
            if row is None:
                self._rows[one] = _Row(NOBODY, over.at_unix_ms, run_is_over=True, changed=True)
            elif row.resolved_at_unix_ms is None:
                row.resolved_at_unix_ms, row.changed, told = over.at_unix_ms, True, row.run_id
                detail = f"{over.fingerprint} is over"
                self._tell(told, f"resolved:{one[0]}:{one[1]}", "alert_resolved", detail, over.at_unix_ms)
        self._ended[over.fingerprint] = max(self._ended.get(over.fingerprint, -1), over.starts_at_unix_ms)
        return Outcome(Intake.RESOLVED if told else Intake.RESOLVED_UNKNOWN, told)

    def _tell(self, run_id: str, key: str, event: str, detail: str, at_unix_ms: int) -> None:
        self._notes.append((run_id, Note(key, event, detail), at_unix_ms))

    def write(self, transaction: Transaction) -> None:
        for run_id, note, at_unix_ms in self._overtaken:
            ended = {"state": State.RESOLVED.value, "outcome": note.detail, "finished_at_unix_ms": at_unix_ms}
            transaction.connection.execute(sa.update(runs).where(runs.c.id == run_id).values(ended))
            transaction.note(run_id, note, at_unix_ms)
        if self._begun:
            transaction.connection.execute(sa.insert(runs), [_run_row(new) for new in self._begun])
        links = [
            {
                "fingerprint": fingerprint,
                "starts_at_unix_ms": starts,
                "run_id": row.run_id,
                "resolved_at_unix_ms": row.resolved_at_unix_ms,
                "waiting_json": row.waiting_json,
            }
            for (fingerprint, starts), row in self._rows.items()
            if row.changed
        ]
        if links:
            insert = transaction.insert(alerts)
            update = {name: insert.excluded[name] for name in ("run_id", "resolved_at_unix_ms", "waiting_json")}
            key = ["fingerprint", "starts_at_unix_ms"]
            transaction.connection.execute(insert.on_conflict_do_update(index_elements=key, set_=update), links)
        transaction.new_notes(self._notes)
        for run_id, note, at_unix_ms in self._remarks:
            transaction.note(run_id, note, at_unix_ms)


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def _run_row(new: NewRun) -> dict[str, Any]:
    names = ("id", "service", "alertname", "fingerprint", "policy", "policy_json", "alert_json", "waited_for")
    started = {"state": State.PLANNING.value, "started_at_unix_ms": new.at_unix_ms}
    return {name: getattr(new, name) for name in names} | started
