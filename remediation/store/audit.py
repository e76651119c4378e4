"""
The audit log: append-only, each entry bound to the one before by SHA-256.

An entry's hash covers the former hash and all of the entry, so an edit, a removal or another order breaks the chain
there; the head says how long the chain is, so that a cut end is found too. Who may write the whole database could
make a new chain: keep a head elsewhere (`steersman audit verify` prints it) and compare.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from remediation.store.tables import audit, audit_head

GENESIS = "0" * 64  # the hash before the first entry


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened; `detail` is anything JSON can say, `run_id` empty where no run is meant."""

    at_unix_ms: int
    kind: str
    run_id: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    sequence: int  # of the last entry; 0 if there is none
    hash: str


def chained(head: Head, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The rows that follow `head`, in order."""
    rows: list[dict[str, Any]] = []
    sequence, previous = head.sequence, head.hash
    for entry in entries:
        sequence += 1
        row = {
            "sequence": sequence,
            "at_unix_ms": entry.at_unix_ms,
            "kind": entry.kind,
            "run_id": entry.run_id,
            "detail_json": json.dumps(entry.detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
            "previous_hash": previous,
        }
        previous = entry_hash(row)
        rows.append(row | {"hash": previous})
    return rows


def entry_hash(row: dict[str, Any]) -> str:
    """Of a row as `GET /api/v1/audit` gives it, whatever its own `hash` says."""
    names = ("at_unix_ms", "detail_json", "kind", "previous_hash", "run_id", "sequence")
    told = json.dumps([row[name] for name in names], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()


class Verifier:
    """Fed with rows in the order of their sequence; the first fault is kept."""

    def __init__(self) -> None:
        self.head = Head(0, GENESIS)
        self.fault: str | None = None

    def feed(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            if self.fault is None:
                self._check(row)

    def _check(self, row: dict[str, Any]) -> None:
        expected = self.head.sequence + 1
        try:
            found = entry_hash(row)
            if row["sequence"] != expected:
                self.fault = f"entry {expected} is missing or out of order: {row['sequence']} follows"
            elif row["previous_hash"] != self.head.hash:
                self.fault = f"entry {expected} does not follow the one before it"
            elif row["hash"] != found:
                self.fault = f"entry {expected} has been edited"
        except (KeyError, TypeError) as error:
            self.fault = f"entry {expected} is no entry: {error!r}"
            return
        self.head = Head(expected, found)

    def end(self, head: Head) -> str | None:
        """The first fault, or None; `head` is what the store says the last entry is."""
        if self.fault is None and head != self.head:
            self.fault = (
                f"the chain ends at entry {self.head.sequence} ({self.head.hash[:12]}…), "
                f"its head says {head.sequence} ({head.hash[:12]}…)"
            )
        return self.fault


def append(connection: sa.Connection, entries: Sequence[Entry]) -> None:
    """Within the caller's transaction. The head's row is the lock that keeps two workers from forking the chain."""
    found = connection.execute(sa.select(audit_head.c.sequence, audit_head.c.hash).with_for_update()).one()
    rows = chained(Head(found[0], found[1]), entries)
    connection.execute(sa.insert(audit), rows)
    connection.execute(sa.update(audit_head).values(sequence=rows[-1]["sequence"], hash=rows[-1]["hash"]))


def page(connection: sa.Connection, after: int, limit: int, run_id: str | None) -> list[dict[str, Any]]:
    """Entries with a sequence above `after`, in order."""
    query = sa.select(audit).where(audit.c.sequence > after).order_by(audit.c.sequence).limit(limit)
    if run_id is not None:
        query = query.where(audit.c.run_id == run_id)
    return [dict(row) for row in connection.execute(query).mappings()]


def head(connection: sa.Connection) -> Head:
    found = connection.execute(sa.select(audit_head.c.sequence, audit_head.c.hash)).one()
    return Head(found[0], found[1])
