"""What the viewer keeps in Grafana's terms beside dashboards: data sources, folders, annotations. One SQLite file."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MAX_ANNOTATIONS = 100_000  # at some 300 bytes each; the oldest go first
_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, uid TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, uid));
CREATE TABLE IF NOT EXISTS placed (
  uid TEXT PRIMARY KEY, folder TEXT NOT NULL, version INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS annotations (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL, text TEXT NOT NULL,
  tags TEXT NOT NULL, dashboard TEXT NOT NULL, panel INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS annotations_by_time ON annotations (time_ms);
"""


class GrafanaStore:
    """Thread-safe; each write is one transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(f"PRAGMA journal_mode=WAL;{_SCHEMA}")

    def close(self) -> None:
        self._connection.close()

    # Data sources and folders

    def documents(self, kind: str) -> list[dict[str, Any]]:
        return [_document(row) for row in self._all("SELECT * FROM documents WHERE kind = ? ORDER BY id", kind)]

    def document(self, kind: str, uid: str) -> dict[str, Any] | None:
        rows = self._all("SELECT * FROM documents WHERE kind = ? AND uid = ?", kind, uid)
        return _document(rows[0]) if rows else None

    def document_by_id(self, kind: str, number: int) -> dict[str, Any] | None:
        rows = self._all("SELECT * FROM documents WHERE kind = ? AND id = ?", kind, number)
        return _document(rows[0]) if rows else None

    def put(self, kind: str, uid: str, body: dict[str, Any]) -> dict[str, Any]:
        """Keep it, in the place of one with that uid; the number stays."""
        self._do(
            "INSERT INTO documents (kind, uid, body) VALUES (?, ?, ?) "
            "ON CONFLICT (kind, uid) DO UPDATE SET body = excluded.body",
            kind,
            uid,
            json.dumps(body),
        )
        return self.document(kind, uid) or {}

    def remove(self, kind: str, uid: str) -> bool:
        return self._do("DELETE FROM documents WHERE kind = ? AND uid = ?", kind, uid) > 0

    # Where dashboards stand

    def place(self, uid: str, folder: str) -> int:
        """Put a dashboard that has just been saved into a folder; returns its version, counted from 1."""
        self._do(
            "INSERT INTO placed (uid, folder, version, updated_ms) VALUES (?, ?, 1, ?) ON CONFLICT (uid) DO UPDATE SET "
            "folder = excluded.folder, version = version + 1, updated_ms = excluded.updated_ms",
            uid,
            folder,
            int(time.time() * 1000),
        )
        return self.placed(uid)[1]

    def placed(self, uid: str) -> tuple[str, int]:
        """(folder's uid, version); ("", 0) of one that was never saved here."""
        rows = self._all("SELECT folder, version FROM placed WHERE uid = ?", uid)
        return (rows[0]["folder"], rows[0]["version"]) if rows else ("", 0)

    # Annotations

    def annotate(
        self, *, time_ms: int, end_ms: int, text: str, tags: Sequence[str], dashboard: str = "", panel: int = 0
    ) -> int:
        with self._lock, self._connection:
            row = (time_ms, end_ms, text, json.dumps(list(tags)), dashboard, panel)
            insert = "INSERT INTO annotations (time_ms, end_ms, text, tags, dashboard, panel) VALUES (?, ?, ?, ?, ?, ?)"
            number = int(self._connection.execute(insert, row).lastrowid or 0)
            self._connection.execute("DELETE FROM annotations WHERE id <= ?", (number - MAX_ANNOTATIONS,))
        return number

    def annotations(
        self,
        start_ms: int,
        end_ms: int,
        *,
        tags: Sequence[str] = (),
        dashboard: str | None = None,
        panel: int | None = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Those that touch the range, newest first; with `dashboard` its own and the ones of no dashboard."""
        query = "SELECT * FROM annotations WHERE time_ms <= ? AND end_ms >= ?"
        arguments: list[Any] = [end_ms, start_ms]
        if dashboard is not None:
            query += " AND dashboard IN ('', ?)"
            arguments.append(dashboard)
        if panel is not None:
            query += " AND panel = ?"
            arguments.append(panel)
        found = [_annotation(row) for row in self._all(f"{query} ORDER BY time_ms DESC, id DESC", *arguments)]
        return [each for each in found if set(tags) <= set(each["tags"])][:limit]

    def annotation(self, number: int) -> dict[str, Any] | None:
        rows = self._all("SELECT * FROM annotations WHERE id = ?", number)
        return _annotation(rows[0]) if rows else None

    def change_annotation(self, number: int, *, time_ms: int, end_ms: int, text: str, tags: Sequence[str]) -> bool:
        query = "UPDATE annotations SET time_ms = ?, end_ms = ?, text = ?, tags = ? WHERE id = ?"
        return self._do(query, time_ms, end_ms, text, json.dumps(list(tags)), number) > 0

    def remove_annotation(self, number: int) -> bool:
        return self._do("DELETE FROM annotations WHERE id = ?", number) > 0

    def _all(self, query: str, *arguments: Any) -> list[sqlite3.Row]:
        with self._lock:
            return list(self._connection.execute(query, arguments))

    def _do(self, statement: str, *arguments: Any) -> int:
        with self._lock, self._connection:
            return self._connection.execute(statement, arguments).rowcount


def _document(row: sqlite3.Row) -> dict[str, Any]:
    return {**json.loads(row["body"]), "id": row["id"], "uid": row["uid"]}


def _annotation(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "time": row["time_ms"],
        "timeEnd": row["end_ms"],
        "text": row["text"],
        "tags": json.loads(row["tags"]),
        "dashboardUID": row["dashboard"],
        "panelId": row["panel"],
    }
