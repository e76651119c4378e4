"""The score: what it rewards, and what it never does."""

from __future__ import annotations

import pytest

from remediation.drills import score
from remediation.drills.report import Grade, report_of
from remediation.drills.tracker import Status


@pytest.fixture
def failed(course):
    course.inject()
    course.run(40)
    return report_of(course.engine, 1_772_366_400_123, 1000.0, course.now)


def passed_with(report, *grades, run="surge-20260301T120000.123Z"):
    met = [each.model_copy(update={"status": Status.MET}) for each in report.expectations]
    update = {"verdict": "PASS", "reasons": [], "expectations": met, "grades": list(grades), "run": run}
    return report.model_copy(update=update)


def grade(took_s, *, name="recover", aim_s=10.0, weight=None):
    return Grade(
        grade=name, expectation="e", after=["injection"], took_s=took_s, aim_s=aim_s, deadline_s=30.0,
        weight=weight, status=Status.MET,
    )  # fmt: skip


@pytest.mark.parametrize(("took_s", "points"), [(3, 100), (10, 100), (20, 80), (30, 60), (33, 60)])
def test_a_grade_is_worth_less_between_aim_and_deadline(failed, took_s, points):
    assert score.of_run(passed_with(failed, grade(took_s))) == pytest.approx(points)


def test_grades_weigh_by_name_or_as_the_definition_says(failed):
    slow_recovery = passed_with(failed, grade(30, name="recover"), grade(1, name="act"))
    slow_act = passed_with(failed, grade(1, name="recover"), grade(30, name="act"))
    assert score.of_run(slow_recovery) == pytest.approx(60 + 40 * 2 / 6)
    assert score.of_run(slow_act) == pytest.approx(60 + 40 * 4 / 6)
    own = passed_with(failed, grade(30, name="recover", weight=1), grade(1, name="act", weight=9))
    assert score.of_run(own) == pytest.approx(60 + 40 * 9 / 10)


def test_a_failed_run_is_never_above_a_passed_one(failed):
    worst_pass = passed_with(failed, grade(30))
    all_met_but_stopped = worst_pass.model_copy(update={"verdict": "FAIL", "reasons": ["stop condition"]})
    assert score.of_run(all_met_but_stopped) == 50
    assert score.of_run(worst_pass) == 60
    assert score.of_run(failed) == 0


def test_resilience_is_the_weighted_mean_of_the_latest_runs(failed):
    old = passed_with(failed, grade(30)).model_copy(update={"started_at_unix_ms": 1})
    new = passed_with(failed, grade(1)).model_copy(update={"started_at_unix_ms": 2})
    other = failed.model_copy(update={"drill": "other"})
    found = score.resilience([new, other, old], {"surge": 3.0}, ["surge", "other", "third"])
    assert [each.drill for each in found.drills] == ["other", "surge"]
    assert found.drills[1].latest is new
    assert found.drills[1].passed == 2
    assert found.drills[1].took("recover") == [30, 1]
    assert found.score == pytest.approx((3 * 100 + 1 * 0) / 4)
    assert found.never_run == ("third",)


def test_nothing_run_is_no_score():
    assert score.resilience([], {}, ["surge"]).score is None
