import sqlite3

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from remediation.workflow import patience
from remediation.workflow.patience import patiently


@pytest.fixture
def slept(monkeypatch):
    waits = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    return waits


def test_call_is_repeated_until_the_database_answers(slept):
    answers = [OperationalError("SELECT", {}, sqlite3.OperationalError("database is locked"))] * 8

    def call(value: int, *, more: int) -> int:
        if answers:
            raise answers.pop()
        return value + more

    assert patiently(call, 1, more=2) == 3
    assert slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_what_is_wrong_by_itself_is_not_repeated(slept):
    def call() -> None:
        raise IntegrityError("INSERT", {}, sqlite3.IntegrityError("NOT NULL constraint failed"))

    with pytest.raises(IntegrityError):
        patiently(call)
    assert slept == []
