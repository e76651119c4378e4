from __future__ import annotations

import pytest

from collector.errors import BadRequestError
from collector.rules.moment import unix_ms

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW_MS),
        ("2h", NOW_MS - 7_200_000),
        ("-1h30m", NOW_MS - 5_400_000),
        ("now-5m", NOW_MS - 300_000),
        ("1700000000.25", NOW_MS + 250),
        ("2023-11-14T22:13:20Z", NOW_MS),
        ("2023-11-14T23:13:20.123456789+01:00", NOW_MS + 123),
    ],
)
def test_times_are_read_in_all_their_forms(text: str, expected: int) -> None:
    assert unix_ms(text, NOW_MS) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2023-11-14", "2023-13-14T22:13:20Z", "1h1h", "-5", "2h ago"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(BadRequestError):
        unix_ms(text, NOW_MS)


def test_without_a_present_there_is_no_now() -> None:
    with pytest.raises(BadRequestError):
        unix_ms("now")
