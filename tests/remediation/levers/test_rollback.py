"""Which version is gone back to, and when none is. Times are Unix milliseconds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediation.guards import Refusal
from remediation.levers.rollback import BY, Served, candidates, last_good, suspected
from remediation.policy.levers import Rollback

ROLLBACK = Rollback.model_validate({"served_well": "ok", "served_for": "60s", "deployed_within": "10m"})
NOW = 10_000_000


def deploys(*told: tuple[str, float, str]) -> list[Served]:
    """Oldest first as (version, seconds it has served, who deployed it); returned newest first, ending now."""
    history, at = [], NOW - round(sum(seconds for _, seconds, _ in told) * 1000)
    for number, (version, seconds, by) in enumerate(told):
        left = None if number == len(told) - 1 else at + round(seconds * 1000)
        history.append(Served(version=version, by=by, at_unix_ms=at, serving_unix_ms=at, left_unix_ms=left))
        at += round(seconds * 1000)
    return history[::-1]


def decided(history: list[Served], *, well: set[str] | None = None, alert_unix_ms: int | None = NOW) -> str:
    refusal = suspected(history, ROLLBACK, service="cart", alert_unix_ms=alert_unix_ms, now_unix_ms=NOW)
    if refusal is not None:
        return f"{refusal.guard}: {refusal.reason}"
    good = last_good(history, ROLLBACK, lambda one: well is None or one.version in well, service="cart")
    return f"{good.guard}: {good.reason}" if isinstance(good, Refusal) else good.version


def test_the_version_before_is_gone_back_to():
    assert decided(deploys(("1", 300, "ci"), ("2", 30, "ci"))) == "1"


def test_one_that_served_too_shortly_or_badly_is_passed_over():
    history = deploys(("1", 300, "ci"), ("2", 300, "ci"), ("3", 59, "ci"), ("4", 30, "ci"))
    assert decided(history) == "2"
    assert decided(history, well={"1"}) == "1"
    assert "telemetry does not say that 2, 1 served well" in decided(history, well=set())


@pytest.mark.parametrize(
    ("history", "alert_unix_ms", "why"),
    [
        (deploys(("1", 30, "ci")), NOW, "has had no version but 1"),
        (deploys(("1", 300, "ci"), ("2", 601, "ci")), NOW, "has 2 for 601 s, limit 600 s"),
        (deploys(("1", 300, "ci"), ("2", 30, "ci")), NOW - 31_000, "fired before 2 of cart was deployed"),
        (deploys(("0", 300, "ci"), ("1", 300, "ci"), ("2", 30, "ci"), ("1", 20, BY)), NOW, "brought back to 1 already"),
    ],
)
def test_what_a_deploy_did_not_bring_a_rollback_does_not_cure(history, alert_unix_ms, why):
    told = decided(history, alert_unix_ms=alert_unix_ms)
    assert told.startswith("recent_deploy")
    assert why in told


def test_what_was_rolled_back_from_is_never_gone_back_to():
    history = deploys(("1", 300, "ci"), ("2", 300, "ci"), ("1", 300, BY), ("3", 30, "ci"))
    assert decided(history) == "1"
    assert [one.version for one in candidates(history, ROLLBACK)] == ["1"]


deploy = st.tuples(st.sampled_from("1234"), st.integers(0, 200), st.sampled_from(["ci", "orchestrator", BY]))


@given(st.lists(deploy, min_size=1, max_size=12))
def test_no_history_leads_to_the_version_in_force_or_to_one_left_by_the_worker(told):
    history = deploys(*told)
    left = {one.version for later, one in itertools.pairwise(history) if later.by == BY}
    for one in candidates(history, ROLLBACK):
        assert one.version != history[0].version
        assert one.version not in left
        assert one.served_s >= ROLLBACK.served_for
