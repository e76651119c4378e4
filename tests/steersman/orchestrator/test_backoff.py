from __future__ import annotations

from steersman.orchestrator import backoff


def test_first_restart_is_at_once_and_the_wait_grows_to_ten_seconds():
    assert [backoff.delay_s(deaths) for deaths in range(1, 10)] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_wait_stays_ten_seconds_however_often_it_died():
    assert backoff.delay_s(10**6) == 10.0


def test_deaths_are_counted_in_a_row_until_a_good_run():
    assert backoff.early_deaths(4, ran_s=1.0) == 5
    assert backoff.early_deaths(4, ran_s=backoff.GOOD_RUN_S) == 1
