"""Scheduled minimums by the clock on the wall, also on the days when it is moved."""

import datetime as dt

import pytest
from pydantic import ValidationError

from remediation.policy.schedule import ScheduledMinimum, scheduled_minimum


def minimum(cron, lasts, *, location="UTC", replicas=3, name="office hours"):
    return ScheduledMinimum.model_validate(
        {"name": name, "cron": cron, "for": lasts, "location": location, "minimum": replicas}
    )


def at(text):
    return dt.datetime.fromisoformat(text)


OFFICE = minimum("0 8 * * mon-fri", "10h", location="Europe/Berlin")
NIGHT = minimum("30 2 * * *", "1h", location="Europe/Berlin")


@pytest.mark.parametrize(
    ("one", "now", "in_force"),
    [
        (OFFICE, "2026-03-27T06:59:59Z", False),  # a Friday, 07:59:59 in Berlin
        (OFFICE, "2026-03-27T07:00:00Z", True),  # the start belongs to it
        (OFFICE, "2026-03-27T16:59:59Z", True),
        (OFFICE, "2026-03-27T17:00:00Z", False),  # the end does not
        (OFFICE, "2026-03-28T10:00:00Z", False),  # a Saturday
        (OFFICE, "2026-03-30T05:59:59Z", False),  # a Monday, after the clock was set forward
        (OFFICE, "2026-03-30T06:00:00Z", True),
        (OFFICE, "2026-10-26T06:59:59Z", False),  # a Monday, after it was set back
        (OFFICE, "2026-10-26T07:00:00Z", True),
        # 02:30 does not exist on 29 March: it happens at 03:30, which is 01:30 in UTC.
        (NIGHT, "2026-03-29T01:29:59Z", False),
        (NIGHT, "2026-03-29T01:30:00Z", True),
        (NIGHT, "2026-03-29T02:29:59Z", True),
        (NIGHT, "2026-03-29T02:30:00Z", False),
        # 02:30 is twice on 25 October, 00:30 and 01:30 in UTC: it happens at the first, for one hour of real time.
        (NIGHT, "2026-10-25T00:29:59Z", False),
        (NIGHT, "2026-10-25T00:30:00Z", True),
        (NIGHT, "2026-10-25T01:29:59Z", True),
        (NIGHT, "2026-10-25T01:30:00Z", False),
        (NIGHT, "2026-10-25T02:00:00Z", False),
        # Longer than its own period: always.
        (minimum("0 0 * * *", "25h"), "2026-06-01T00:30:00Z", True),
        (minimum("* * * * *", "1m"), "2026-06-01T00:00:30Z", True),
        # Over midnight, and over the end of the month.
        (minimum("0 22 28 2 *", "4h"), "2026-03-01T01:59:00Z", True),
        (minimum("0 22 28 2 *", "4h"), "2026-03-01T02:00:00Z", False),
        (minimum("0 0 29 2 *", "1d"), "2026-03-01T00:00:00Z", False),
        (minimum("0 0 29 2 *", "1d"), "2028-02-29T12:00:00Z", True),
    ],
)
def test_minimum_is_in_force_from_its_start_for_its_duration(one, now, in_force):
    assert one.in_force(at(now)) is in_force


def test_highest_of_several_counts():
    schedule = (
        minimum("0 8 * * *", "10h", replicas=3, name="office hours"),
        minimum("0 12 * * *", "1h", replicas=5, name="lunch"),
        minimum("0 10 * * *", "1h", replicas=2, name="less"),
    )
    names = [
        (one.name if one else None)
        for hour in (7, 9, 10, 12, 13, 18)
        for one in [scheduled_minimum(schedule, at(f"2026-06-01T{hour:02}:30:00Z"))]
    ]
    assert names == [None, "office hours", "office hours", "lunch", "office hours", None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cron": "0 8 * *"}, "five fields of cron"),
        ({"cron": "0 8 * * * *"}, "five fields of cron"),
        ({"cron": "61 8 * * *"}, "no moment is meant"),
        ({"cron": "0 0 31 2 *"}, "no moment is meant"),
        ({"cron": "R R * * *"}, "five fields of cron"),
        ({"for": "30s"}, "between 1m and 31d, got 30s"),
        ({"for": "32d"}, "between 1m and 31d"),
        ({"location": "Berlin"}, "no time zone is called 'Berlin'"),
        ({"minimum": 0}, "greater than or equal to 1"),
    ],
)
def test_mistake_in_a_schedule_is_named(change, message):
    given = {"name": "x", "cron": "0 8 * * *", "for": "1h", "minimum": 2}
    with pytest.raises(ValidationError, match=message):
        ScheduledMinimum.model_validate(given | change)
