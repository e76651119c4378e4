"""Each row of the table is a second: `#` the expression holds, `.` it does not; below, the state after it."""

from __future__ import annotations

import pytest

from collector.errors import LimitExceededError
from collector.model.series import Labels
from collector.rules.alert_state import RESOLVED_RETENTION_MS, ActiveAlert, AlertState, AlertTable, Held

LABELS: Labels = (("alertname", "Slow"), ("job", "cart"))
LETTERS = {AlertState.PENDING: "p", AlertState.FIRING: "F", AlertState.INACTIVE: "r"}


def held(labels: Labels = LABELS, value: float = 1.0) -> dict[Labels, Held]:
    return {labels: Held(labels, (("summary", f"value {value}"),), value)}


def states_of(table: AlertTable, timeline: str, *, start_s: int = 0) -> str:
    letters = ""
    for second, sign in enumerate(timeline, start=start_s):
        table.evaluate(held() if sign == "#" else {}, second * 1000)
        alert = table.alerts.get(LABELS)
        letters += "-" if alert is None else LETTERS[alert.state]
    return letters


@pytest.mark.parametrize(
    ("for_s", "keep_s", "timeline", "expected"),
    [
        pytest.param(0, 0, "#.", "Fr", id="fires at once without for"),
        pytest.param(2, 0, "####", "ppFF", id="pending fires after for"),
        pytest.param(2, 0, "##.##", "pp-pp", id="a gap in pending begins anew"),
        pytest.param(2, 0, "###..###", "ppFrrppF", id="a resolved alert that holds again is pending"),
        pytest.param(0, 2, "#.....", "FFFrrr", id="keeps firing for two seconds"),
        pytest.param(0, 2, "#..#...", "FFFFFFr", id="holding again ends the time to keep firing"),
        pytest.param(2, 5, "#..", "p--", id="pending does not keep firing"),
        pytest.param(2, 0, ".....", "-----", id="nothing stays nothing"),
    ],
)
def test_states_follow_the_expression(for_s: int, keep_s: int, timeline: str, expected: str) -> None:
    table = AlertTable(for_ms=for_s * 1000, keep_firing_for_ms=keep_s * 1000)
    assert states_of(table, timeline) == expected


def test_firing_keeps_the_time_it_became_active_and_the_time_it_fired() -> None:
    table = AlertTable(for_ms=2000)
    states_of(table, "#####")
    alert = table.alerts[LABELS]
    assert (alert.active_at_ms, alert.fired_at_ms) == (0, 2000)


def test_value_and_annotations_follow_while_the_alert_holds() -> None:
    table = AlertTable(for_ms=0)
    table.evaluate(held(value=1), 0)
    table.evaluate(held(value=2), 1000)
    table.evaluate({}, 2000)
    assert table.alerts[LABELS].value == 2
    assert table.alerts[LABELS].annotations == (("summary", "value 2"),)


def test_resolved_alert_is_forgotten_after_its_retention() -> None:
    table = AlertTable(for_ms=0)
    states_of(table, "#.")
    table.evaluate({}, 1000 + RESOLVED_RETENTION_MS)
    assert LABELS in table.alerts
    table.evaluate({}, 1001 + RESOLVED_RETENTION_MS)
    assert table.alerts == {}


def test_limit_forgets_all_alerts_and_says_how_many_there_were() -> None:
    table = AlertTable(for_ms=0, limit=1)
    with pytest.raises(LimitExceededError, match="exceeded limit of 1 with 2 alerts"):
        table.evaluate(held() | held((("alertname", "Slow"),)), 0)
    assert table.alerts == {}


def due(table: AlertTable, second: int) -> list[tuple[int, int]]:
    alerts = table.due(second * 1000, resend_delay_ms=60_000, interval_ms=1000, generator_url="/g")
    return [(alert.starts_at_ms, alert.ends_at_ms) for alert in alerts]


def test_firing_is_told_at_once_and_again_after_the_resend_delay() -> None:
    table = AlertTable(for_ms=1000)
    told = {}
    for second in range(130):
        table.evaluate(held(), second * 1000)
        if alerts := due(table, second):
            told[second] = alerts
    assert told == {at: [(1000, at * 1000 + 240_000)] for at in (1, 61, 121)}


def test_resolved_is_told_at_once_with_its_end() -> None:
    table = AlertTable(for_ms=0)
    table.evaluate(held(), 0)
    assert due(table, 0) == [(0, 240_000)]
    table.evaluate({}, 5000)
    assert due(table, 5) == [(0, 5000)]
    assert due(table, 6) == []
    assert due(table, 65) == [(0, 5000)]


def test_pending_is_not_told() -> None:
    table = AlertTable(for_ms=5000)
    table.evaluate(held(), 0)
    assert due(table, 0) == []


def restored(state: AlertState, *, doubt_until_s: int) -> AlertTable:
    table = AlertTable(for_ms=4000)
    fired_at_ms = 4000 if state is AlertState.FIRING else None
    alert = ActiveAlert(LABELS, (), 1.0, 0, state, fired_at_ms, unseen_since_ms=10_000)
    if state is AlertState.PENDING:
        alert.active_at_ms = 8000
    table.restore([alert], doubt_until_ms=doubt_until_s * 1000)
    return table


def test_restored_firing_alert_does_not_resolve_while_in_doubt() -> None:
    table = restored(AlertState.FIRING, doubt_until_s=33)
    assert states_of(table, "...#.", start_s=30) == "FFFFr"
    assert table.alerts[LABELS].fired_at_ms == 4000


def test_restored_firing_alert_resolves_when_the_doubt_ends() -> None:
    assert states_of(restored(AlertState.FIRING, doubt_until_s=33), ".....", start_s=30) == "FFFrr"


def test_seen_once_a_restored_alert_resolves_without_waiting_for_the_doubt() -> None:
    assert states_of(restored(AlertState.FIRING, doubt_until_s=90), "#.", start_s=30) == "Fr"


def test_restored_pending_alert_goes_on_where_it_stood_and_the_outage_does_not_count() -> None:
    # Two of four seconds had passed when it was last seen.
    assert states_of(restored(AlertState.PENDING, doubt_until_s=45), ".####", start_s=30) == "pppFF"


def test_restored_pending_alert_that_never_returns_is_dropped() -> None:
    assert states_of(restored(AlertState.PENDING, doubt_until_s=32), "....", start_s=30) == "pp--"


@pytest.mark.parametrize(
    ("pending_min", "left_min"),
    [
        pytest.param(5, 25, id="the outage does not count"),
        pytest.param(25, 10, id="a long `for` is not over within the grace period"),
    ],
)
def test_restored_pending_alert_of_a_long_for_waits_at_least_the_grace_period(pending_min: int, left_min: int) -> None:
    table = AlertTable(for_ms=30 * 60_000)
    down_ms = pending_min * 60_000
    table.restore([ActiveAlert(LABELS, (), 1.0, 0, unseen_since_ms=down_ms)], doubt_until_ms=0)
    up_ms = down_ms + 20 * 60_000
    table.evaluate(held(), up_ms)
    table.evaluate(held(), up_ms + left_min * 60_000 - 1)
    assert table.state is AlertState.PENDING
    table.evaluate(held(), up_ms + left_min * 60_000)
    assert table.state is AlertState.FIRING
