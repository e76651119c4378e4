"""
What the dispatcher must not forget: the alerts it took, what each receiver was told, and the silences. In SQLite.

A write costs what has changed, not what is there, so that a storm of alerts stays cheap.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from collector.alerts.notification import Notified
from collector.alerts.silence import Silence
from collector.alerts.taken import Taken
from collector.errors import TemporaryError
from collector.model.alert import Alert
from collector.model.series import Labels, Matcher, MatchOp, labels_of

logger = logging.getLogger(__name__)

LogKey = tuple[str, str]  # group key, integration (receiver/webhook/0)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (labels TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notified (
    group_key TEXT, integration TEXT, body TEXT NOT NULL, PRIMARY KEY (group_key, integration)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS silences (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_BUSY_S = 5.0  # somebody looks into the file with another program


@dataclass(slots=True)
class Remembered:
    alerts: dict[Labels, Taken] = field(default_factory=dict)
    notified: dict[LogKey, Notified] = field(default_factory=dict)
    silences: list[Silence] = field(default_factory=list)
    saved_at_ms: int = 0  # when something was last written: an alert that had not ended then was firing


@dataclass(slots=True)
class Changes:
    """What to write in one transaction; None: to be forgotten."""

    alerts: dict[Labels, Taken | None] = field(default_factory=dict)
    notified: dict[LogKey, Notified | None] = field(default_factory=dict)
    silences: dict[str, Silence | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.alerts or self.notified or self.silences)

    def under(self, newer: Changes) -> Changes:
        """These, and `newer` where both speak of the same."""
        return Changes(self.alerts | newer.alerts, self.notified | newer.notified, self.silences | newer.silences)


class Journal:
    """One file of one process. `write` may be called in another thread than the others."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> tuple[Self, Remembered]:
        """
        The file and what it holds; an unreadable one is logged, set aside as `NAME.bad` and counts as empty.

        Raises:
            TemporaryError: it can be neither read nor made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return cls._opened(path)
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, sqlite3.OperationalError) and not path.is_file():
                raise TemporaryError(f"alert state {path} cannot be opened: {error}") from error
            logger.error("the alert state file %s is left aside: %r", path, error)
            for suffix in ("", "-wal", "-shm"):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.replace(path.with_name(f"{path.name}.bad{suffix}"))
        try:
            return cls._opened(path)
        except sqlite3.Error as error:
            raise TemporaryError(f"alert state {path} cannot be opened: {error}") from error

    @classmethod
    def _opened(cls, path: Path) -> tuple[Self, Remembered]:
        connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a commit is on disk when it returns
            connection.executescript(_SCHEMA)
            return cls(path, connection), _load(connection)
        except BaseException:
            connection.close()
            raise

    def write(self, changes: Changes, now_ms: int) -> None:
        """
        All of it or nothing; on disk when this returns.

        Raises:
            TemporaryError: the disk refused.
        """
        try:
            with self._lock:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    self._write(changes, now_ms)
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise TemporaryError(f"alert state {self.path} was not written: {error}") from error

    def _write(self, changes: Changes, now_ms: int) -> None:
        run = self._connection.executemany
        run("DELETE FROM alerts WHERE labels = ?", [(_key(one),) for one, taken in changes.alerts.items() if not taken])
        run("DELETE FROM notified WHERE group_key = ? AND integration = ?", _gone(changes.notified))
        run("DELETE FROM silences WHERE id = ?", [(one,) for one, silence in changes.silences.items() if not silence])
        run(
            "INSERT OR REPLACE INTO alerts VALUES (?, ?)",
            [(_key(labels), _of_taken(taken)) for labels, taken in changes.alerts.items() if taken],
        )
        run(
            "INSERT OR REPLACE INTO notified VALUES (?, ?, ?)",
            [(*key, _of_notified(entry)) for key, entry in changes.notified.items() if entry],
        )
        run(
            "INSERT OR REPLACE INTO silences VALUES (?, ?)",
            [(one, _of_silence(silence)) for one, silence in changes.silences.items() if silence],
        )
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES ('saved_at_ms', ?)", (now_ms,))

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _gone(notified: dict[LogKey, Notified | None]) -> Iterable[LogKey]:
    return [key for key, entry in notified.items() if entry is None]


def _load(connection: sqlite3.Connection) -> Remembered:
    remembered = Remembered()
    for (body,) in connection.execute("SELECT body FROM alerts"):
        taken = _taken(json.loads(body))
        remembered.alerts[taken.alert.labels] = taken
    for group_key, integration, body in connection.execute("SELECT group_key, integration, body FROM notified"):
        item = json.loads(body)
        firing = {str(name): int(at_ms) for name, at_ms in item["firing"].items()}
        remembered.notified[group_key, integration] = Notified(int(item["at_ms"]), firing, frozenset(item["resolved"]))
    for (body,) in connection.execute("SELECT body FROM silences"):
        remembered.silences.append(_silence(json.loads(body)))
    row = connection.execute("SELECT value FROM facts WHERE name = 'saved_at_ms'").fetchone()
    remembered.saved_at_ms = int(row[0]) if row else 0
    return remembered


def _key(labels: Labels) -> str:
    return json.dumps(labels, ensure_ascii=False)


def _of_taken(taken: Taken) -> str:
    alert = taken.alert
    return json.dumps({
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at_ms": alert.starts_at_ms,
        "ends_at_ms": alert.ends_at_ms,
        "generator_url": alert.generator_url,
        "updated_at_ms": taken.updated_at_ms,
        "is_timeout": taken.is_timeout,
    })  # fmt: skip


def _taken(item: dict[str, object]) -> Taken:
    alert = Alert(
        labels_of(_pairs(item["labels"])),
        tuple(_pairs(item["annotations"]).items()),
        _int(item["starts_at_ms"]),
        _int(item["ends_at_ms"]),
        str(item["generator_url"]),
    )
    return Taken(alert, _int(item["updated_at_ms"]), bool(item["is_timeout"]))


def _of_notified(entry: Notified) -> str:
    return json.dumps({"at_ms": entry.at_ms, "firing": dict(entry.firing), "resolved": sorted(entry.resolved)})


def _of_silence(silence: Silence) -> str:
    return json.dumps({
        "id": silence.id,
        "matchers": [(matcher.name, matcher.op.value, matcher.value) for matcher in silence.matchers],
        "starts_at_ms": silence.starts_at_ms,
        "ends_at_ms": silence.ends_at_ms,
        "created_by": silence.created_by,
        "comment": silence.comment,
        "updated_at_ms": silence.updated_at_ms,
    })  # fmt: skip


def _silence(item: dict[str, object]) -> Silence:
    matchers = item["matchers"]
    if not isinstance(matchers, list):
        raise TypeError(f"{matchers!r} is not a list")
    return Silence(
        id=str(item["id"]),
        matchers=tuple(Matcher(str(name), MatchOp(op), str(value)) for name, op, value in matchers),
        starts_at_ms=_int(item["starts_at_ms"]),
        ends_at_ms=_int(item["ends_at_ms"]),
        created_by=str(item["created_by"]),
        comment=str(item["comment"]),
        updated_at_ms=_int(item["updated_at_ms"]),
    )


def _pairs(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not a mapping")
    return {str(name): str(text) for name, text in value.items()}


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value
