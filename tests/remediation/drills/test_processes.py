"""Killing and freezing real processes: only what stands below the supervisor, and a freeze ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from remediation.drills import processes
from remediation.drills.errors import RefusedError


@pytest.fixture
def child():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def eventually(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # polls the condition above


def status(pid):
    return psutil.Process(pid).status()


def test_a_process_below_the_supervisor_is_killed(child):
    processes.kill(child.pid, os.getpid())
    assert child.wait(5) == -signal.SIGKILL


def test_a_process_elsewhere_is_left_alone(child):
    with pytest.raises(RefusedError, match=f"process {os.getpid()} is not below the stack's supervisor {child.pid}"):
        processes.kill(os.getpid(), child.pid)
    with pytest.raises(RefusedError, match="not below"):
        processes.create_time(os.getppid(), os.getpid())


def test_a_process_that_has_gone_is_named(child):
    child.kill()
    child.wait(5)
    with pytest.raises(RefusedError, match=f"process {child.pid} has gone"):
        processes.kill(child.pid, os.getpid())


def test_a_freeze_lasts_until_it_is_undone(child):
    created = processes.create_time(child.pid, os.getpid())
    processes.freeze(child.pid, created, 60.0)
    eventually(lambda: status(child.pid) == psutil.STATUS_STOPPED)
    assert processes.thaw(child.pid, created)
    eventually(lambda: status(child.pid) != psutil.STATUS_STOPPED)
    assert processes.thaw(child.pid, created)  # again is no harm


def test_a_freeze_ends_by_its_time_to_live_without_the_drill(child):
    created = processes.create_time(child.pid, os.getpid())
    began = time.monotonic()
    processes.freeze(child.pid, created, 1.0)
    eventually(lambda: status(child.pid) == psutil.STATUS_STOPPED)
    eventually(lambda: status(child.pid) != psutil.STATUS_STOPPED)
    assert time.monotonic() - began >= 0.9


def test_another_process_of_the_same_id_is_not_touched(child):
    child.send_signal(signal.SIGSTOP)
    eventually(lambda: status(child.pid) == psutil.STATUS_STOPPED)
    assert not processes.thaw(child.pid, psutil.Process(child.pid).create_time() - 10)
    assert status(child.pid) == psutil.STATUS_STOPPED
