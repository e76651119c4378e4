from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediation.guards import Refusal
from remediation.levers.traffic import shifted
from remediation.policy.levers import ShiftTraffic


def shift(**more: object) -> ShiftTraffic:
    return ShiftTraffic.model_validate(more)


def test_a_zone_is_left_out_or_left_a_little():
    assert shifted(shift(), "a", {"a": 1, "b": 2}, service="cart") == {"a": 0, "b": 100}
    assert shifted(shift(weight=10), "b", {"a": 1, "b": 1, "c": 1}, service="cart") == {"a": 100, "b": 10, "c": 100}


@pytest.mark.parametrize(
    ("zone", "ready", "told"),
    [
        ("c", {"a": 1, "b": 1}, "zone: cart has no zone 'c'; there are: a, b"),
        ("a", {}, "zone: cart has no zone 'a'; there are: none"),
        ("a", {"a": 2, "b": 0}, "blast_radius: no other zone of cart than a has a replica"),
        ("a", {"a": 2, "b": 1}, "blast_radius: a has 2 of 3 replicas of cart: taking 67% of the capacity away"),
    ],
)
def test_what_would_take_too_much_away_is_refused(zone, ready, told):
    refusal = shifted(shift(), zone, ready, service="cart")
    assert isinstance(refusal, Refusal)
    assert f"{refusal.guard}: {refusal.reason}".startswith(told)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5)),
    st.sampled_from("abcde"),
    st.integers(0, 99),
    st.floats(0.01, 0.99),
)
def test_never_more_than_the_largest_share_is_taken_away_and_somebody_serves(ready, zone, weight, share):
    weights = shifted(shift(weight=weight, largest_share=share), zone, ready, service="cart")
    if isinstance(weights, Refusal):
        return
    total = sum(ready.values())
    assert sum(ready[name] * (100 - weights[name]) / 100 for name in ready) / total <= share + 1e-9
    assert any(ready[name] and weights[name] for name in ready)
