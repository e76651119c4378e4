from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from collector.alerts.time_interval import parse_interval


def at_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("{}", ["2026-01-01T00:00"], []),
        ("{times: [{start_time: '09:00', end_time: '17:00'}]}", ["2026-01-01T09:00", "2026-01-01T16:59:59"],
         ["2026-01-01T08:59:59", "2026-01-01T17:00"]),
        ("{times: [{start_time: 10:30, end_time: 24:00}]}", ["2026-01-01T23:59:59"], ["2026-01-01T10:29"]),
        ("{weekdays: ['monday:wednesday', Sunday]}", ["2026-11-23T12:00", "2026-11-25T12:00", "2026-11-29T12:00"],
         ["2026-11-26T12:00", "2026-11-28T12:00"]),
        ("{days_of_month: ['-3:-1']}", ["2026-02-26T00:00", "2026-02-28T23:59", "2024-02-27T00:00"],
         ["2026-02-25T00:00", "2024-02-26T00:00", "2026-03-28T00:00"]),
        ("{days_of_month: ['31']}", ["2026-01-31T00:00"], ["2026-02-28T00:00", "2026-01-30T00:00"]),
        ("{days_of_month: ['10:-10']}", ["2026-01-10T00:00", "2026-01-22T00:00"], ["2026-01-23T00:00"]),
        ("{months: ['november:december', 2]}", ["2026-11-01T00:00", "2026-02-01T00:00"], ["2026-10-31T23:59"]),
        ("{years: ['2026:2027', 2030]}", ["2027-12-31T23:59", "2030-06-01T00:00"], ["2028-01-01T00:00"]),
        ("{times: [{start_time: '02:00', end_time: '03:00'}], location: Europe/Berlin}",
         ["2026-01-01T01:30", "2026-07-01T00:30"], ["2026-07-01T01:30", "2026-03-29T01:30"]),
        ("{weekdays: [friday], days_of_month: ['13']}", ["2026-11-13T00:00"], ["2026-11-20T00:00", "2026-12-13T00:00"]),
        ("{times: []}", [], ["2026-01-01T00:00"]),
    ],
)  # fmt: skip
def test_moment_is_inside_if_every_part_holds_it(interval: str, inside: list[str], outside: list[str]) -> None:
    parsed = parse_interval(yaml.safe_load(interval))
    assert [parsed.contains(at_ms(moment)) for moment in inside] == [True] * len(inside)
    assert [parsed.contains(at_ms(moment)) for moment in outside] == [False] * len(outside)


@given(st.integers(1, 28), st.integers(1, 28), st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_days_counted_from_the_end_mean_the_same_days(first: int, length: int, moment: datetime) -> None:
    """-n to -1 is the same as the last n days, in every month."""
    last = min(28, first + length)
    interval = parse_interval({"days_of_month": [f"-{last}:-{first}"]})
    moment_ms = round(moment.replace(tzinfo=UTC).timestamp() * 1000)
    at = datetime.fromtimestamp(moment_ms / 1000, UTC)
    following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    days = (following - at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)).days
    assert interval.contains(moment_ms) is (first <= days - at.day + 1 <= last)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"times": [{"start_time": "9:00", "end_time": "17:00"}]}, "couldn't parse timestamp 9:00"),
        ({"times": ["09:00"]}, "start_time and end_time"),
        ({"times": {"start_time": "09:00"}}, "times is a list"),
        ({"weekdays": ["monday:tuesday:friday"]}, "invalid format"),
        ({"days_of_month": ["0"]}, "0 is not a valid day of the month"),
        ({"days_of_month": ["-1:-5"]}, "end day -5 is always before start day -1"),
        ({"months": ["13"]}, "not a valid month"),
        ({"years": ["soon"]}, "not a whole number"),
        ({"location": "../../etc/passwd"}, "unknown time zone"),
        ({"zone": "UTC"}, "field 'zone' is not known"),
        (3, "a time interval is a mapping"),
    ],
)
def test_wrong_interval_is_refused(data: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_interval(data)
