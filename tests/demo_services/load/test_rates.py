from __future__ import annotations

import pytest

from demo_services.load.rates import RateBook, RateError

BASE = {"browse": 8, "recommend": 1, "cart": 1, "buy": 1}


def test_rates_that_are_set_for_a_time_return_by_themselves() -> None:
    book = RateBook(BASE)
    book.put({"browse": 60, "ttl_s": 30}, now=100)
    assert book.current(129.9) == BASE | {"browse": 60}
    assert book.ends_in(129) == 1
    assert book.current(130) == BASE
    assert book.ends_in(130) is None


def test_a_second_change_for_a_time_returns_to_the_lasting_rates() -> None:
    book = RateBook(BASE)
    book.put({"browse": 60, "ttl_s": 30}, now=0)
    book.put({"buy": 5, "ttl_s": 10}, now=20)
    assert book.current(25) == BASE | {"browse": 60, "buy": 5}
    assert book.current(30) == BASE


def test_a_lasting_change_ends_what_was_set_for_a_time() -> None:
    book = RateBook(BASE)
    book.put({"browse": 60, "ttl_s": 30}, now=0)
    book.put({"browse": 9}, now=10)
    assert book.current(1_000) == BASE | {"browse": 9}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "no rate given"),
        ({"ttl_s": 5}, "no rate given"),
        ({"steal": 1}, "unknown kind of journey 'steal'"),
        ({"browse": -1}, "browse must be from 0 to 500, got -1"),
        ({"browse": 300, "buy": 300}, "all rates together must be at most 500 a second, got 602"),
        ({"browse": float("nan")}, "browse must be a number"),
        ({"browse": True}, "browse must be a number"),
        ({"browse": "8"}, "browse must be a number, got '8'"),
        ({"browse": 8, "ttl_s": 0}, "ttl_s must be from 1 to 3600, got 0"),
        ({"browse": 8, "ttl_s": 1e9}, "ttl_s must be from 1 to 3600"),
    ],
)
def test_a_change_out_of_bounds_is_refused_and_changes_nothing(body, message: str) -> None:
    book = RateBook(BASE)
    with pytest.raises(RateError, match=message):
        book.put(body, now=0)
    assert book.current(0) == BASE
