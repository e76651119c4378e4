"""Taking memory, connections and processors away from real processes, which get them back by themselves."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time

import psutil
import pytest

from remediation.drills import exhaustion
from remediation.drills.errors import RefusedError

# Answers each connection with what a large allocation gave.
SERVER = """
import select, socket
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
while True:
    select.select([listening], [], [])  # as servers wait: a call of accept that waits has its handle already
    try:
        connection, _ = listening.accept()
    except OSError:
        continue
    with connection:
        try:
            try:
                bytearray(16 << 20)
                connection.sendall(b"fine")
            except MemoryError:
                connection.sendall(b"none")
        except OSError:
            continue  # who asked has gone
"""


@pytest.fixture
def server():
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield process.pid, psutil.Process(process.pid).create_time(), port
        process.kill()


def answer(port: int, within_s: float = 2.0) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), within_s) as connection:
            connection.settimeout(within_s)
            return connection.recv(16).decode()
    except OSError:
        return "blocked"


def eventually(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # polls the condition above


@pytest.mark.parametrize(("what", "symptom"), [("connections", "blocked"), ("memory", "none")])
def test_process_that_gets_no_more_shows_it_until_it_is_given_back(server, what, symptom):
    pid, created, port = server
    assert answer(port) == "fine"
    before = exhaustion.tighten(pid, created, what, 60.0)
    assert answer(port, 0.5 if what == "connections" else 2.0) == symptom
    assert exhaustion.limit_of(pid, what) < before or before == resource.RLIM_INFINITY
    assert exhaustion.restore(pid, created, what, before)
    eventually(lambda: answer(port) == "fine")
    assert exhaustion.limit_of(pid, what) == before


def test_what_was_taken_comes_back_by_its_time_to_live_without_the_drill(server):
    pid, created, port = server
    exhaustion.tighten(pid, created, "connections", 1.5)
    assert answer(port, 0.2) == "blocked"
    eventually(lambda: answer(port) == "fine")


def test_another_process_of_the_same_id_is_not_touched(server):
    pid, created, _ = server
    before = exhaustion.limit_of(pid, "memory")
    assert not exhaustion.restore(pid, created - 10, "memory", 1 << 30)
    assert exhaustion.limit_of(pid, "memory") == before
    with pytest.raises(RefusedError, match="process 999999999 has gone"):
        exhaustion.limit_of(999_999_999, "memory")


def test_processors_are_busy_from_the_word_on_until_they_are_let_go():
    pid, created = exhaustion.lay_fire(1, 60.0)
    fire = psutil.Process(pid)
    assert fire.children() == [], "it only waits"
    exhaustion.ignite(pid)
    eventually(lambda: sum(each.cpu_times().user for each in fire.children()) > 0.05)
    assert os.getpgid(pid) == pid
    assert exhaustion.quench(pid, created)
    eventually(lambda: not psutil.pid_exists(pid) or fire.status() == psutil.STATUS_ZOMBIE)
    assert not exhaustion.quench(pid, created - 10)


def test_processors_are_free_again_by_the_time_to_live():
    pid, _ = exhaustion.lay_fire(1, 0.6)
    exhaustion.ignite(pid)
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
