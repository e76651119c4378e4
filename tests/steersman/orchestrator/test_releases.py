from __future__ import annotations

from pathlib import Path

import pytest

from steersman.orchestrator import releases
from steersman.orchestrator.releases import MAX_RELEASES, History, ReleaseFile


def deploys(*versions: str) -> History:
    history: History = ()
    for number, version in enumerate(versions):
        history = releases.deployed(history, version, 1000 * number, by="ci", reason="")
    return history


def test_deploying_what_is_in_force_adds_nothing_but_may_make_a_trial_last():
    trial = releases.deployed(deploys("1"), "2", 1000, by="ci", reason="", until_unix_ms=5000)
    kept = releases.deployed(trial, "2", 2000, by="ci", reason="")
    assert [one.version for one in kept] == ["1", "2"]
    assert releases.ended_trial(trial, 5000) == "1"
    assert releases.ended_trial(kept, 5000) is None


def test_what_is_left_says_how_long_it_served():
    history = releases.serves(deploys("1"), 400)
    first, second = releases.deployed(history, "2", 9000, by="ci", reason="")
    assert (first.serving_unix_ms, first.left_unix_ms) == (400, 9000)
    assert (second.serving_unix_ms, second.left_unix_ms) == (None, None)


def test_history_is_bounded_and_keeps_the_newest():
    history = deploys(*map(str, range(MAX_RELEASES + 7)))
    assert len(history) == MAX_RELEASES
    assert history[-1].version == str(MAX_RELEASES + 6)


def test_file_gives_back_what_was_written_and_damage_is_named(tmp_path: Path):
    file = ReleaseFile(tmp_path / "orchestrator" / "releases.json")
    assert file.read() == {}
    file.write({"catalog": "1"}, {"catalog": deploys("1", "2")})
    assert file.read() == {"catalog": ("1", deploys("1", "2"))}
    (tmp_path / "orchestrator" / "releases.json").write_text('{"catalog": 1}')
    with pytest.raises(ValueError, match=r"releases\.json"):
        file.read()
