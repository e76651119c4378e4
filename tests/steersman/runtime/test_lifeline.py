from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from steersman.runtime import lifeline

SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
# Starts a child on a lifeline, says its pid, and waits to be killed.
PARENT = """
import subprocess, sys, time
from steersman.runtime import lifeline
child = subprocess.Popen(lifeline.command([sys.executable, "-c", sys.argv[1]]), stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), flush=True)
time.sleep(60)
"""


def test_child_dies_with_a_parent_that_is_killed(eventually):
    with subprocess.Popen([sys.executable, "-c", PARENT, SLEEPS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
    eventually(lambda: not psutil.pid_exists(child))


def test_program_takes_the_place_of_the_launcher(tmp_path: Path):
    argv = lifeline.command([sys.executable, "-c", "import os, sys; print(os.getpid(), *sys.argv[1:])", "a b", "--x"])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.communicate()[0].strip() == f"{child.pid} a b --x"


@pytest.mark.parametrize("code", [0, 3])
def test_exit_code_is_the_program_s(code: int):
    assert subprocess.run(lifeline.command([sys.executable, "-c", f"raise SystemExit({code})"])).returncode == code


def test_signals_reach_the_program():
    with subprocess.Popen(lifeline.command([sys.executable, "-c", SLEEPS]), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == -signal.SIGTERM


def test_unknown_program_is_said_in_one_line():
    done = subprocess.run(lifeline.command(["/no/such/program"]), capture_output=True, text=True)
    assert done.returncode == 127
    assert done.stderr == "cannot run /no/such/program: No such file or directory\n"


def test_launcher_whose_parent_is_gone_already_starts_nothing():
    argv = lifeline.command([sys.executable, "-c", "print('started')"])
    argv[argv.index(str(os.getpid()))] = "1"  # as if another had asked for it
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")


def test_watching_launcher_kills_the_program_when_its_parent_is_not_who_started_it(monkeypatch):
    monkeypatch.setattr(lifeline, "PARENT_POLL_S", 0.01)
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert lifeline._watch([sys.executable, "-c", SLEEPS], parent=-1) == -signal.SIGKILL
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
