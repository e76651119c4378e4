from __future__ import annotations

import os
import subprocess
import sys
import time

from steersman.stack.accounts import LEAST_INTERVAL_S, Accounts
from steersman.stack.supervisor import KeptProcess


def test_supervisor_comes_first_and_a_process_that_ended_is_left_out():
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    gone = KeptProcess("gone", ended.pid, 0, 0)
    rows = Accounts().of([gone])
    assert [(row["name"], row["pid"]) for row in rows] == [("supervisor", os.getpid())]
    assert rows[0]["rss_bytes"] > 1_000_000


def test_cpu_is_that_of_the_time_between_two_looks():
    accounts = Accounts()
    assert accounts.of([])[0]["cpu_percent"] == 0.0
    end = time.process_time() + LEAST_INTERVAL_S
    while time.process_time() < end:
        pass
    assert accounts.of([])[0]["cpu_percent"] > 5.0
