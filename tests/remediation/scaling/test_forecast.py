import datetime as dt

import numpy as np
import pytest

from remediation.policy.autoscaler import Forecast
from remediation.scaling.forecast import (
    History,
    Prediction,
    floor_of,
    history_of,
    measure,
    moments_ahead,
    predict,
)

DAY = 86400.0
STEP = 300.0
SUNDAY = dt.datetime(2026, 6, 7, tzinfo=dt.UTC).timestamp()


def forecast(**changed):
    return Forecast.model_validate({"load": "x", "per_replica": 10} | changed)


def daily(at_s):
    """Low at night, high at three in the afternoon."""
    return 60 + 40 * np.sin((at_s % DAY / DAY - 0.375) * 2 * np.pi)


def history(of, *, days=14, end=SUNDAY, noise=0.0, seed=0):
    at_s = end - days * DAY + np.arange(int(days * DAY / STEP) + 1) * STEP
    values = of(at_s) * (1 + noise * np.random.default_rng(seed).standard_normal(len(at_s)))
    return History(float(at_s[0]), STEP, values)


def test_what_came_every_day_is_expected_again():
    at_s = SUNDAY + np.arange(0, 12) * 3600.0
    found = predict(forecast(), history(daily), at_s)
    assert found.expected == pytest.approx(daily(at_s), rel=0.01)
    assert found.high == pytest.approx(daily(at_s), rel=0.03)


def test_one_strange_day_moves_nothing():
    whole = history(daily, noise=0.05)
    strange = whole.values.copy()
    strange[3 * 288 : 4 * 288] = 100_000
    at_s = SUNDAY + np.arange(0, 12) * 3600.0
    found = predict(forecast(), History(whole.start_s, STEP, strange), at_s)
    assert found.expected == pytest.approx(daily(at_s), rel=0.08)
    assert (found.high < 200).all()


def test_quantile_covers_the_share_that_was_asked_for():
    accuracy = measure(forecast(quantile=0.9), history(daily, noise=0.1))
    assert accuracy is not None
    assert accuracy.points == 288
    assert accuracy.covered == pytest.approx(0.9, abs=0.06)
    assert accuracy.error < accuracy.error_of_last_season
    assert accuracy.error == pytest.approx(
        0.1 * np.sqrt(2 / np.pi), rel=0.15
    )  # the noise itself, which nobody foresees


def test_accuracy_is_measured_against_what_came_and_not_against_itself():
    whole = history(daily)
    whole.values[-288:] *= 2  # the last day brings twice as much
    accuracy = measure(forecast(), whole)
    assert accuracy is not None
    assert accuracy.error == pytest.approx(0.5, abs=0.02)
    assert accuracy.covered == 0


def test_season_of_a_week_knows_weekends_and_one_of_a_day_does_not():
    def week(at_s):
        weekend = (at_s // DAY + 3) % 7 >= 5  # 1 January 1970 was a Thursday
        return np.where(weekend, 20.0, 100.0)

    whole = history(week, days=28, end=SUNDAY + DAY)  # ends with a Sunday
    weekly = measure(forecast(season="7d", history="28d"), whole)
    by_day = measure(forecast(history="28d"), whole)
    monday = np.array([SUNDAY + DAY + 10 * 3600])
    assert predict(forecast(season="7d", history="28d"), whole, monday).high.tolist() == [100]
    assert predict(forecast(season="7d", history="28d"), whole, monday - DAY).high.tolist() == [20]
    assert weekly.error < 0.01 < by_day.error


def test_less_than_two_seasons_say_nothing():
    at_s = SUNDAY + np.arange(0, 12) * 3600.0
    short = history(daily, days=1)
    found = predict(forecast(), short, at_s)
    assert np.isnan(found.expected).all()
    assert np.isnan(found.high).all()
    assert floor_of(found, 10) is None
    assert measure(forecast(), short) is None


def test_gaps_are_left_out():
    whole = history(daily)
    whole.values[::2] = np.nan
    whole.values[5 * 288 : 9 * 288] = np.nan
    at_s = SUNDAY + np.arange(0, 12) * 3600.0
    assert predict(forecast(), whole, at_s).expected == pytest.approx(daily(at_s), rel=0.02)
    nothing = History(whole.start_s, STEP, np.full(len(whole.values), np.nan))
    assert np.isnan(predict(forecast(), nothing, at_s).expected).all()


@pytest.mark.parametrize("moved", ["2026-03-29", "2026-10-25"])
def test_season_goes_by_the_clock_on_the_wall(moved):
    """At eight in Berlin the offices open, also on the day after the clock was moved."""
    zone = "Europe/Berlin"

    def offices(at_s):
        import zoneinfo

        clock = [dt.datetime.fromtimestamp(one, zoneinfo.ZoneInfo(zone)).hour for one in at_s]
        return np.where((np.array(clock) >= 8) & (np.array(clock) < 18), 100.0, 10.0)

    end = dt.datetime.fromisoformat(f"{moved}T22:00:00+00:00").timestamp()
    whole = history(offices, days=10, end=end)
    at_s = end + np.arange(0, 24 * 4) * 900.0
    right = predict(forecast(location=zone), whole, at_s).expected
    assert (right == offices(at_s)).mean() > 0.97  # but for the neighbours of a jump
    wrong = predict(forecast(location="UTC"), whole, at_s).expected
    assert (wrong == offices(at_s)).mean() < 0.95


def test_floor_is_what_the_highest_load_ahead_needs():
    found = Prediction(np.arange(3.0), np.array([1.0, 2.0, 3.0]), np.array([30.0, np.nan, 41.0]))
    assert floor_of(found, 10) == 5
    assert floor_of(found, 41) == 1
    assert floor_of(found, float("nan")) is None


def test_moments_ahead_reach_to_the_end_of_ahead():
    assert moments_ahead(forecast(ahead="15m"), 1000).tolist() == [900, 1200, 1500, 1800]


def test_samples_are_laid_on_a_grid_with_holes():
    found = history_of([(100.0, 1.0), (110.0, float("inf")), (130.0, 3.0)], start_s=100, end_s=140, step_s=10)
    np.testing.assert_array_equal(found.values, [1.0, np.nan, np.nan, 3.0, np.nan])
    assert found.end_s == 140
