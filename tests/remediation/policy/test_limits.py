import datetime as dt

import pytest
from pydantic import ValidationError

from remediation.policy.limits import Freeze, Limits


def at(text):
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("moment", "frozen"),
    [
        ("2026-12-24T11:59:59+00:00", False),
        ("2026-12-24T12:00:00+00:00", True),
        ("2026-12-26T23:59:59+00:00", True),
        ("2026-12-27T00:00:00+00:00", False),
        ("2026-12-24T13:30:00+02:00", False),  # 11:30 in UTC
    ],
)
def test_freeze_that_happens_once_has_a_start_and_an_end(moment, frozen):
    freeze = Freeze(name="holidays", start="2026-12-24T12:00:00Z", end="2026-12-27T00:00:00Z")
    assert freeze.covers(at(moment)) is frozen


@pytest.mark.parametrize(
    ("moment", "frozen"),
    [
        ("2026-11-20T17:59:00+01:00", False),  # a Friday
        ("2026-11-20T18:00:00+01:00", True),
        ("2026-11-21T07:59:00+01:00", True),  # the night to Saturday
        ("2026-11-21T08:00:00+01:00", False),
        ("2026-11-21T19:00:00+01:00", False),  # Saturday evening is not Friday's
        ("2026-07-17T16:30:00+00:00", True),  # 18:30 in summer time
    ],
)
def test_weekly_freeze_runs_into_the_next_morning_by_the_local_clock(moment, frozen):
    freeze = Freeze(
        **{"name": "nights", "weekdays": ["friday"], "from": "18:00", "to": "08:00", "location": "Europe/Berlin"}
    )
    assert freeze.covers(at(moment)) is frozen


def test_weekday_without_times_is_frozen_all_day():
    freeze = Freeze(name="sunday", weekdays=["sunday"])
    assert freeze.covers(at("2026-11-22T00:00:00+00:00"))
    assert freeze.covers(at("2026-11-22T23:59:59+00:00"))
    assert not freeze.covers(at("2026-11-23T00:00:00+00:00"))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": "x"}, "either start and end, or weekdays"),
        ({"name": "x", "start": "2026-01-01T00:00:00Z"}, "both start and end"),
        ({"name": "x", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "not after its start"),
        ({"name": "x", "start": "2026-01-01T00:00:00", "end": "2026-01-02T00:00:00Z"}, "timezone"),
        ({"name": "x", "weekdays": ["caturday"]}, "monday"),
        ({"name": "x", "weekdays": ["monday"], "location": "Atlantis"}, "no time zone is called 'Atlantis'"),
    ],
)
def test_wrong_freeze_is_refused(fields, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Limits(freezes=[fields])
