"""Who works on a shared store: a row for each worker, renewed while it lives; who loses it must not write any more."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import sqlalchemy as sa

from remediation.errors import LeaseLostError
from remediation.store.database import Database, Transaction
from remediation.store.tables import workers


class Lease:
    """
    Of this process, under the worker's name. Times are the database's, so workers' clocks need not agree.

    A newcomer of the same name takes the row over: it is a restart, or a mistake that the log of the loser tells.
    """

    def __init__(
        self, database: Database, name: str, *, seconds: float, lost: Callable[[str], None] = lambda why: None
    ) -> None:
        """Args: lost: Told that it is lost, before anything is raised; ends the process, if that is wanted."""
        self.name = name
        self._lost = lost
        self.seconds = seconds
        self._incarnation = uuid.uuid4().hex
        self._database = database

    def take(self) -> None:
        """From now on every write of the database asks whether this process still holds it."""
        values = {"name": self.name, "incarnation": self._incarnation, "expires_at_unix_ms": self._end()}
        with self._database.engine.begin() as connection:
            insert = Transaction(connection).insert(workers).values(values)
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))
        self._database.fence = self.require

    def renew(self) -> set[str]:
        """
        Renew it, end those of workers that have not been heard of, and name who is left.

        Raises:
            LeaseLostError: it has ended, or a newcomer has the name.
        """
        with self._database.engine.begin() as connection:
            renewed = sa.update(workers).where(self._mine()).values(expires_at_unix_ms=self._end())
            if connection.execute(renewed).rowcount != 1:
                raise self._found_lost()
        # Apart from the renewal, and leaving out who writes at this moment: nobody waits for anybody who waits for him.
        ended = sa.select(workers.c.name).where(workers.c.expires_at_unix_ms < now_by_database())
        with self._database.engine.begin() as connection:
            free = ended.with_for_update(skip_locked=True)
            connection.execute(sa.delete(workers).where(workers.c.name.in_(free)))
            return set(connection.execute(sa.select(workers.c.name)).scalars())

    def require(self, connection: sa.Connection) -> None:
        """
        Shares the row until the end of the transaction, so that nobody takes it in the middle of a write.

        Raises:
            LeaseLostError
        """
        held = sa.select(workers.c.name).where(self._mine()).with_for_update(read=True)
        if connection.execute(held).first() is None:
            raise self._found_lost()

    def give_back(self) -> None:
        with self._database.engine.begin() as connection:
            connection.execute(sa.delete(workers).where(self._mine()))

    def _mine(self) -> sa.ColumnElement[bool]:
        return (workers.c.name == self.name) & (workers.c.incarnation == self._incarnation)

    def _end(self) -> sa.ColumnElement[int]:
        return now_by_database() + round(self.seconds * 1000)

    def _found_lost(self) -> LeaseLostError:
        why = f"worker {self.name} was silent for {self.seconds:g} s, or another has its name"
        self._lost(why)
        return LeaseLostError(why)


def now_by_database() -> sa.ColumnElement[int]:
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1000, sa.BigInteger)
