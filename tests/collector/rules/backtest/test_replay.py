"""What an alert was doing when the window began. Evaluations are a second apart; the series are in memory."""

from __future__ import annotations

from pathlib import Path

from memory_peer import START_MS, InMemory

from collector.rules.backtest.replay import MAX_DOUBLINGS, Replay, Window
from collector.rules.backtest.timeline import Episode
from collector.rules.rulefile import load

RULES = """
groups:
  - name: shop
    interval: 1s
    rules: [{alert: Hot, expr: load > 1, for: 3s, keep_firing_for: 2s}]
"""


def replayed(folder: Path, values: str, from_s: int) -> tuple[list[Episode], list[str]]:
    """The episodes of a backtest from `from_s` after the first of these values, and what it noticed."""
    rules = folder / "rules.yml"
    rules.write_text(RULES)
    noticed: list[str] = []
    with InMemory() as peer:
        peer.put(values, __name__="load")
        # By these the times of the evaluations are known.
        peer.put("1 " * len(values.split()), __name__="ALERTS", alertname="Hot")
        window = Window(START_MS + from_s * 1000, START_MS + 1000 * (len(values.split()) - 1))
        found = Replay(peer, window, 1000, notice=noticed.append).run(load(rules), lambda _rule: True)
    assert len(found) == 1
    return list(found[0].episodes), noticed


def test_an_alert_that_comes_and_goes_is_kept_firing_however_long_ago_it_fired(tmp_path: Path) -> None:
    came_and_went = "0 2 2 2 2 " + "0 2 " * 20 + "0 0 0 0"
    for from_s in (6, 7, 15, 30, 44, 45):
        episodes, noticed = replayed(tmp_path, came_and_went, from_s)
        assert [(one.fired_at_ms, one.ended_at_ms) for one in episodes] == [(START_MS + 4000, START_MS + 47000)], from_s
        assert not noticed


def test_what_never_stopped_coming_and_going_is_said(tmp_path: Path) -> None:
    count = 8 * 2**MAX_DOUBLINGS
    _, noticed = replayed(tmp_path, "2 0 " * count, count * 2 - 5)
    assert [one.split(" since before 17")[0] for one in noticed] == ["Hot: an alert has come and gone"]


def test_one_that_is_gone_for_long_enough_is_asked_for_once(tmp_path: Path) -> None:
    for values in ("0 2 2 2 2 0 0 0 0 0 2 2 2 2 2", "2 " * 15):
        episodes, noticed = replayed(tmp_path, values, 12)
        assert len(episodes) == 1
        assert not noticed
