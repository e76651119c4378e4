"""
Sessions of who has signed in. The cookie is a signed random number; what it stands for is kept here, and can be ended.

Of the number only a hash is stored: who reads the file cannot take a session over.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from itsdangerous import BadSignature, TimestampSigner

LIFETIME_S = 12 * 3600  # a working day and some
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
  key TEXT PRIMARY KEY, name TEXT NOT NULL, proof TEXT NOT NULL, expires REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Session:
    name: str
    proof: str  # of the credential it was opened with: when that changes, the session is over


class Sessions:
    """Thread-safe. `now` is Unix seconds."""

    def __init__(self, path: Path, secret: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.executescript(f"PRAGMA journal_mode=WAL;{_SCHEMA}")
        self._signer = TimestampSigner(secret, salt="steersman.session", digest_method=hashlib.sha256)

    def close(self) -> None:
        self._connection.close()

    def open(self, session: Session, now: float) -> str:
        """The cookie's value. Sessions that are over are forgotten on the way."""
        number = secrets.token_urlsafe(32)
        row = (_key(number), session.name, session.proof, now + LIFETIME_S)
        with self._lock, self._connection:
            self._connection.execute("DELETE FROM sessions WHERE expires < ?", (now,))
            self._connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", row)
        return self._signer.sign(number).decode()

    def find(self, cookie: str, now: float) -> Session | None:
        """None for a cookie that is not ours, has expired, or whose session was ended."""
        key = self._key_of(cookie)
        if key is None:
            return None
        query = "SELECT name, proof FROM sessions WHERE key = ? AND expires >= ?"
        with self._lock:
            row = self._connection.execute(query, (key, now)).fetchone()
        return Session(*row) if row else None

    def end(self, cookie: str) -> None:
        if (key := self._key_of(cookie)) is not None:
            with self._lock, self._connection:
                self._connection.execute("DELETE FROM sessions WHERE key = ?", (key,))

    def _key_of(self, cookie: str) -> str | None:
        try:
            return _key(self._signer.unsign(cookie, max_age=LIFETIME_S).decode())
        except BadSignature:
            return None


def _key(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()
