"""Episodes and what they come to. A second is 1,000 ms; the window is from 10 s to 100 s unless said otherwise."""

from __future__ import annotations

from collector.model.series import Labels
from collector.rules.alert_state import ActiveAlert, AlertState
from collector.rules.backtest.timeline import FLAP_WITHIN_MS, Episode, Recorder, summary, within

A: Labels = (("job", "a"),)
B: Labels = (("job", "b"),)


def episode(active_s: int, fired_s: int | None, ended_s: int | None, labels: Labels = A) -> Episode:
    def ms(seconds: int | None) -> int | None:
        return None if seconds is None else seconds * 1000

    return Episode(labels, active_s * 1000, ms(fired_s), ms(ended_s), 1.0)


def test_counts_are_of_what_began_in_the_window_and_durations_of_what_lay_in_it() -> None:
    found = summary(
        [episode(0, 5, 20), episode(30, 32, 40), episode(50, None, 51), episode(90, 95, None)], 10_000, 100_000
    )
    assert (found.pending, found.fired, found.resolved, found.never_fired) == (3, 2, 2, 1)
    assert (found.firing_ms, found.longest_ms) == (10_000 + 8_000 + 5_000, 10_000)


def test_an_alert_flaps_when_it_fires_again_soon_after_it_resolved() -> None:
    soon, late = FLAP_WITHIN_MS // 1000, FLAP_WITHIN_MS // 1000 + 1
    assert summary([episode(0, 1, 2), episode(3, 2 + soon, None)], 0, 10**9).flaps == 1
    assert summary([episode(0, 1, 2), episode(3, 2 + late, None)], 0, 10**9).flaps == 0
    assert summary([episode(0, 1, 2), episode(3, 4, None, B)], 0, 10**9).flaps == 0


def test_the_window_cuts_off_what_came_after_it() -> None:
    kept = within(
        [episode(0, 5, 9), episode(20, 101, 105), episode(99, 100, 101), episode(101, 102, None)], 10_000, 100_000
    )
    assert kept == [episode(20, None, None), episode(99, 100, None)]


def test_nothing_at_all_is_all_zero() -> None:
    assert summary([], 0, 1).firing_ms == 0


def test_an_alert_that_begins_anew_between_two_evaluations_is_another_episode() -> None:
    recorder = Recorder()
    recorder.observe([ActiveAlert(A, (), 1.0, 1000, AlertState.PENDING)], 1000)
    recorder.observe([ActiveAlert(A, (), 2.0, 1000, AlertState.FIRING, 2000)], 2000)
    recorder.observe([ActiveAlert(A, (), 3.0, 3000, AlertState.PENDING)], 3000)
    recorder.observe([ActiveAlert(A, (), 3.0, 3000, AlertState.INACTIVE)], 4000)
    assert [(one.active_at_ms, one.fired_at_ms, one.ended_at_ms, one.value) for one in recorder.episodes()] == [
        (1000, 2000, 3000, 2.0),
        (3000, None, 4000, 3.0),
    ]
    assert recorder.idle
