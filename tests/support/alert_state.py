"""Looking into the file in which a dispatcher keeps what it must not forget, while the dispatcher runs."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def is_logged(path: Path) -> bool:
    """Whether the notification log has an entry on disk: killed before, a dispatcher rightly tells again."""
    return rows(path, "notified") > 0


def rows(path: Path, table: str) -> int:
    """How many rows a table (alerts, notified, silences) has; 0 for a file that is not there yet."""
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
        try:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
        except sqlite3.OperationalError:  # just being made
            return 0
