"""
A run waits for its database as long as that helps: while somebody else holds it, while it is away or has no room, or
when it chose this transaction to end a deadlock. What does not pass by itself ends the worker.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DatabaseError, DBAPIError, InternalError, OperationalError

from remediation.departure import STORE_BROKEN, end_at_once
from remediation.workflow.journal import log

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0  # and so the log has no more than a line in so long

# By SQLite's primary result code (sqlite.org/rescode.html).
_SQLITE = {
    sqlite3.SQLITE_BUSY: "to be let go by another process",
    sqlite3.SQLITE_LOCKED: "to be let go by another transaction",
    sqlite3.SQLITE_FULL: "to have room on its disk",
}
# By the beginning of PostgreSQL's SQLSTATE (postgresql.org/docs/current/errcodes-appendix.html). Not 57P04: the
# database was dropped; not 57014: somebody cancelled this very statement.
_POSTGRES = {
    "08": "to answer",
    "53100": "to have room on its disk",
    "53": "to have memory and connections to spare",
    "57P01": "to be started again",
    "57P02": "to be started again",
    "57P03": "to be ready",
    "57P05": "to take a new connection",
    "25P03": "to take a new connection",
    "40001": "to let it have its turn",
    "40P01": "to let it have its turn",
}
# A connection that was refused by a server has no SQLSTATE; these are what a server says that is about to be there.
_COMING = ("starting up", "shutting down", "in recovery", "not yet accepting", "too many clients", "are reserved")
_MISSING = ("42P01", "42703")  # PostgreSQL: no such table, no such column

P = ParamSpec("P")
R = TypeVar("R")


def patiently(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """
    Call it, from its beginning again as often as the database is to be waited for. It must bear repetition.

    A database that is broken (no such table, read-only, malformed, gone) ends the worker: whatever the next steps did
    would not be remembered, and a run that failed for it could not even be told of. When it is mended, the next worker
    goes on with every run where it stood.

    Raises:
        sqlalchemy.exc.DBAPIError: what is wrong with this statement, not with the database.
    """
    wait_s, began_s = FIRST_WAIT_S, time.monotonic()
    name = getattr(call, "__name__", "a step")
    while True:
        try:
            return call(*args, **kwargs)
        except DBAPIError as error:
            what = awaited(error)
            if what is None:
                end_if_broken(error, name)
                raise
            so_far_s = time.monotonic() - began_s
            log.warning("%s waits for the database %s, for %.1f s so far: %s", name, what, so_far_s, error.orig)
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def awaited(error: DBAPIError) -> str | None:
    """What the database is to do before it is asked again; None if that would not help."""
    driver = error.orig
    if isinstance(driver, sqlite3.Error):
        return _SQLITE.get(getattr(driver, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF)
    state = getattr(driver, "sqlstate", None)
    if state is not None:
        return next((what for beginning, what in _POSTGRES.items() if state.startswith(beginning)), None)
    if not isinstance(error, OperationalError):
        return None
    told = str(driver)
    if "FATAL:" in told and not any(words in told for words in _COMING):
        return None  # it answered, and will answer the same the next time
    return "to answer"


def end_if_broken(error: DBAPIError, what: str) -> None:
    """Ends this process if no other statement would fare better; does nothing for a statement's own fault."""
    whole = isinstance(error, OperationalError | InternalError) or type(error) is DatabaseError
    if whole or getattr(error.orig, "sqlstate", None) in _MISSING:
        end_at_once(f"{what}: the database cannot be used, and waiting mends nothing: {error.orig}", STORE_BROKEN)
