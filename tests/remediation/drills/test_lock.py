"""One drill at a time, and the note that outlives a killed one."""

from __future__ import annotations

import json
import os
import time

import psutil
import pytest

from remediation.drills.errors import DrillRunningError
from remediation.drills.lock import DrillLock
from remediation.drills.undo import Undo

UNDO = [Undo.load({"browse": 8.0}), Undo.fault("checkout", "slow_dependency")]


def test_a_second_drill_is_refused_and_told_who_runs(tmp_path):
    with (
        DrillLock(tmp_path / "lock", "latency-surge"),
        pytest.raises(DrillRunningError, match=rf"latency-surge \(pid {os.getpid()}\)"),
        DrillLock(tmp_path / "lock", "other"),
    ):
        pytest.fail("two drills at once")


def test_the_lock_is_free_after_a_drill_and_leaves_no_note(tmp_path):
    with DrillLock(tmp_path / "lock", "one") as lock:
        lock.remember(UNDO, time.time() + 60)
    with DrillLock(tmp_path / "lock", "two") as lock:
        assert lock.left_behind == []


def test_the_note_tells_pid_and_create_time(tmp_path):
    with DrillLock(tmp_path / "lock", "one"):
        note = json.loads((tmp_path / "lock").read_text())
    assert note["pid"] == os.getpid()
    assert note["create_time"] == psutil.Process().create_time()


def left_note(path, until):
    with DrillLock(path, "killed") as lock:
        lock.remember(UNDO, until)
        lock.keep_note()


def test_what_a_killed_drill_left_is_handed_to_the_next(tmp_path):
    left_note(tmp_path / "lock", time.time() + 60)
    with DrillLock(tmp_path / "lock", "next") as lock:
        assert lock.left_behind == UNDO


def test_what_ended_by_its_ttl_is_not_undone_again(tmp_path):
    """By now somebody may have set another load on purpose."""
    left_note(tmp_path / "lock", time.time() - 1)
    with DrillLock(tmp_path / "lock", "next") as lock:
        assert lock.left_behind == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", '{"undo": 5, "until_unix_s": 9e12}', '{"undo": [{}], "until_unix_s": 9e12}']
)
def test_a_damaged_note_stops_nobody(tmp_path, text):
    (tmp_path / "lock").write_text(text)
    with DrillLock(tmp_path / "lock", "next") as lock:
        assert lock.left_behind == []
