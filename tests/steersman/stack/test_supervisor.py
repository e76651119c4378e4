"""The supervisor, with small real processes."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from steersman.errors import StartError
from steersman.orchestrator.process import Command, RunningProcess
from steersman.stack.parts import Part
from steersman.stack.supervisor import Supervisor

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPS


def part(folder: Path, code: str, *, name: str = "dummy", port: int = 1, stop_deadline_s: float = 5.0) -> Part:
    argv = (sys.executable, "-c", code)
    command = Command(name=name, argv=argv, env=dict(os.environ), cwd=folder, log=folder / f"{name}.log")
    return Part(command=command, ready_port=port, ready_path="/-/ready", stop_deadline_s=stop_deadline_s)


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    for name in list(supervisor._kept):
        await supervisor.stop(name)


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  (real processes are watched)
            await asyncio.sleep(0.02)


async def test_killed_process_is_started_again_at_once(supervisor: Supervisor, tmp_path: Path):
    supervisor.start(part(tmp_path, SLEEPS))
    await until(supervisor.processes)
    first = supervisor.processes()[0]
    os.kill(first.pid, signal.SIGKILL)
    killed = time.monotonic()
    await until(lambda: [p.restarts for p in supervisor.processes()] == [1])
    assert time.monotonic() - killed < 0.5  # the least back-off would be that long
    assert supervisor.processes()[0].pid != first.pid


async def test_what_keeps_dying_is_retried_with_growing_pauses(supervisor: Supervisor, tmp_path: Path):
    supervisor.start(part(tmp_path, "import time; print(time.monotonic())"))
    log = tmp_path / "dummy.log"
    await until(lambda: log.exists() and len(log.read_text().splitlines()) >= 4)
    starts = [float(line) for line in log.read_text().splitlines()]
    pauses = [after - before for before, after in itertools.pairwise(starts)]
    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[1] >= 0.5
    assert pauses[2] >= 1.0


async def test_part_that_cannot_start_is_given_up_with_its_last_words(supervisor: Supervisor, tmp_path: Path):
    supervisor.start(part(tmp_path, "raise SystemExit('no such table: orders')"))
    with pytest.raises(StartError, match=r"dummy died 3 times, exit code 1; its last line: no such table: orders"):
        await supervisor.wait_ready("dummy", timeout_s=20.0)


async def test_part_that_never_gets_ready_is_told_by_its_time(supervisor: Supervisor, tmp_path: Path):
    supervisor.start(part(tmp_path, SLEEPS))
    with pytest.raises(StartError, match="was not ready after 0 s"):
        await supervisor.wait_ready("dummy", timeout_s=0.3)


async def test_stop_kills_what_ignores_sigterm_and_does_not_start_it_again(supervisor: Supervisor, tmp_path: Path):
    supervisor.start(part(tmp_path, DEAF, stop_deadline_s=0.2))
    await until(lambda: (tmp_path / "dummy.log").exists() and "up" in (tmp_path / "dummy.log").read_text())
    pid = supervisor.processes()[0].pid
    await supervisor.stop("dummy")
    assert not psutil.pid_exists(pid)
    assert supervisor.processes() == []
    await supervisor.stop("dummy")


async def test_stop_in_the_middle_of_a_start_leaves_nothing(supervisor: Supervisor, tmp_path: Path):
    supervisor.start(part(tmp_path, SLEEPS))
    await asyncio.sleep(0)  # the start has begun, its process is not known yet
    await supervisor.stop("dummy")
    assert supervisor.processes() == []


async def test_what_a_dead_process_left_behind_ends_with_it(tmp_path: Path):
    leaves = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]).pid, flush=True)"
    process = await RunningProcess.start(part(tmp_path, leaves).command)
    await process.wait()
    orphan = int((tmp_path / "dummy.log").read_text().split()[0])
    await until(lambda: not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE)


DRIVER = """
import asyncio, json, os, sys
from pathlib import Path
from steersman.orchestrator.process import Command
from steersman.stack.parts import Part
from steersman.stack.supervisor import Supervisor

async def main():
    folder, code = Path(sys.argv[1]), sys.argv[2]
    supervisor = Supervisor()
    for name in ("one", "two"):
        command = Command(name=name, argv=(sys.executable, "-c", code), env=dict(os.environ), cwd=folder,
                          log=folder / f"{name}.log")
        supervisor.start(Part(command=command, ready_port=1, ready_path="/", stop_deadline_s=1.0))
    while len(supervisor.processes()) < 2:
        await asyncio.sleep(0.02)
    print(json.dumps([process.pid for process in supervisor.processes()]), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_kill_of_the_supervisor_itself_leaves_nothing_running(tmp_path: Path, eventually):
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path), DEAF], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    with driver:
        assert driver.stdout is not None
        pids = json.loads(driver.stdout.readline())
        assert all(psutil.pid_exists(pid) for pid in pids)
        driver.kill()
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))
