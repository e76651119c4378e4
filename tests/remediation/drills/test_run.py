"""Whole runs against the stand-in: to PASS, to FAIL, interrupted, killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
import yaml

from remediation.drills import run as run_module
from remediation.drills.breaker import Breaker
from remediation.drills.definition import parse
from remediation.drills.disturbances import Kill
from remediation.drills.engine import Engine
from remediation.drills.errors import DrillRunningError, RefusedError, StackUnreachableError
from remediation.drills.injection import Victim
from remediation.drills.lock import LOCK_FILE, DrillLock
from remediation.drills.run import DrillRun, run_drill
from remediation.drills.undo import Undo

# The definition's waits, shortened to the stand-in's pace.
QUICK = {
    "steady_state": {
        "within": "2s",
        "hold": "0s",
        "conditions": [{"name": "fast", "promql": "p99", "below": 0.5}],
    },
    "expect": [
        {"name": "alert", "alert_firing": {"alertname": "Slow"}, "within": "1s", "grade": "detect"},
        {"name": "scaled", "replicas": {"service": "catalog", "is": "above_initial"}, "after": "alert", "within": "1s"},
        {"name": "recovered", "promql": "p99", "below": 0.5, "hold": "100ms", "after": "alert", "within": "2s"},
    ],
    "then": [{"name": "returned", "replicas": {"service": "catalog", "is": "initial"}, "within": "2s"}],
}


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch):
    monkeypatch.setattr(run_module, "POLL_S", 0.05)


@pytest.fixture
def quick(surge_document):
    def make(**keys):
        return parse(yaml.safe_dump({**surge_document, **QUICK, **keys}), "surge.yaml")

    return make


def rates_sent(stand_in):
    return [body["browse"] for method, path, _, body in stand_in.seams.changes() if (method, path) == ("PUT", "/rate")]


async def test_a_drill_passes_from_steady_state_to_return(quick, stand_in):
    report = await run_drill(quick(), stand_in.endpoints)
    assert report.reasons == []
    assert report.passed
    assert rates_sent(stand_in) == [60.0, 8.0]
    assert report.injected_at_unix_ms < report.injection_ended_at_unix_ms
    assert 0.2 <= report.grades[0].took_s < 1


async def test_a_failed_drill_rolls_back(quick, stand_in):
    stand_in.seams.never_alert = True
    report = await run_drill(quick(), stand_in.endpoints)
    assert 'expectation "alert" failed' in report.reasons[0]
    assert rates_sent(stand_in) == [60.0, 8.0]
    assert report.timeline[-1].event in ("rolled back", "FAIL")


async def test_an_error_of_ours_rolls_back_too(quick, stand_in, monkeypatch):
    monkeypatch.setattr(Engine, "_observe_expectations", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await run_drill(quick(), stand_in.endpoints)
    assert rates_sent(stand_in) == [60.0, 8.0]


async def test_an_injection_of_which_half_failed_is_undone_whole(quick, stand_in):
    stand_in.seams.down.add("/checkout")
    fault = {"service": "checkout", "kind": "latency", "latency_ms": 800}
    inject = [{"load": {"journey": "browse", "rate": 60}}, {"fault": fault}]
    stand_in_faults_come_back_when_undone(stand_in)
    report = await run_drill(quick(inject=inject), stand_in.endpoints)
    assert "the drill broke: BrokenAnswerError: mesh at" in report.reasons[0]
    assert rates_sent(stand_in) == [60.0, 8.0]
    assert ("DELETE", "/checkout/admin/faults?kind=latency") in [each[:2] for each in stand_in.seams.changes()]


def stand_in_faults_come_back_when_undone(stand_in):
    answer = stand_in.seams.answer

    def answering(method, target, body):
        if method == "DELETE":
            stand_in.seams.down.clear()
        return answer(method, target, body)

    stand_in.seams.answer = answering


async def test_an_unsteady_stack_is_left_alone(quick, stand_in):
    steady = {"within": "200ms", "conditions": [{"name": "slow", "promql": "p99", "above": 0.5}]}
    report = await run_drill(quick(steady_state=steady), stand_in.endpoints)
    assert "the steady state does not hold" in report.reasons[0]
    assert stand_in.seams.changes() == []


async def test_what_a_killed_drill_left_is_undone_before_anything_else(quick, stand_in):
    with DrillLock(stand_in.endpoints.data_dir.drills / LOCK_FILE, "killed") as lock:
        lock.remember([Undo.load({"browse": 3.0})], time.time() + 60)
        lock.keep_note()
    report = await run_drill(quick(), stand_in.endpoints)
    assert report.passed
    assert rates_sent(stand_in) == [3.0, 60.0, 3.0]


async def test_a_second_drill_does_not_start(quick, stand_in):
    with (
        DrillLock(stand_in.endpoints.data_dir.drills / LOCK_FILE, "first"),
        pytest.raises(DrillRunningError, match="first"),
    ):
        await run_drill(quick(), stand_in.endpoints)
    assert stand_in.seams.changes() == []


async def test_a_stack_that_is_down_is_no_failed_drill(quick, stand_in):
    stand_in.seams.down.add("/api/v1/services")
    with pytest.raises(StackUnreachableError, match="is `steersman up` running"):
        await run_drill(quick(), stand_in.endpoints)


def start_process(quick_document, stand_in, tmp_path):
    file = tmp_path / "surge.yaml"
    file.write_text(yaml.safe_dump(quick_document))
    return subprocess.Popen(
        [sys.executable, "-m", "remediation.drills.cli", "run", str(file)],
        env={**os.environ, **stand_in.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_injection(stand_in, process):
    deadline = time.monotonic() + 15
    while not rates_sent(stand_in):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)  # polls the condition above


NEVER = {"expect": [{"name": "never", "promql": "p99", "above": 99, "within": "80s"}]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_drill_after_its_rollback(surge_document, stand_in, tmp_path, number):
    process = start_process({**surge_document, **QUICK, **NEVER}, stand_in, tmp_path)
    with process:
        wait_for_injection(stand_in, process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert f"interrupted by {number.name}" in output
    assert rates_sent(stand_in) == [60.0, 8.0]


async def test_a_second_interruption_gives_up_the_rollback_but_not_its_note(quick, stand_in):
    lock_file = stand_in.endpoints.data_dir.drills / LOCK_FILE
    with DrillLock(lock_file, "surge") as lock:
        async with Breaker(stand_in.endpoints) as stack:
            run = DrillRun(quick(), stack, lock)

            def watcher(engine, _now):
                if engine.injected_at is not None and not stand_in.seams.down:
                    stand_in.seams.down.add("/rate")
                    run.interrupt("interrupted by SIGINT")
                    asyncio.get_running_loop().call_later(0.2, run.interrupt, "interrupted by SIGINT")

            report = await run.run(watcher)
    assert report.reasons == [
        "interrupted by SIGINT",
        "interrupted again: the injection was left to end by its TTL",
    ]
    with DrillLock(lock_file, "next") as lock:
        assert lock.left_behind == [Undo.load({"browse": 8.0})]


def test_a_killed_drill_leaves_an_injection_that_ends_by_itself(surge_document, stand_in, tmp_path):
    process = start_process({**surge_document, **QUICK, **NEVER}, stand_in, tmp_path)
    with process:
        wait_for_injection(stand_in, process)
        process.kill()
    ((_, _, _, body),) = stand_in.seams.changes()
    assert body["ttl_s"] == 115.0  # the drill's timeout and the margin
    with DrillLock(stand_in.endpoints.data_dir.drills / LOCK_FILE, "next") as lock:
        assert lock.left_behind == [Undo.load({"browse": 8.0})]


@pytest.fixture
def child(stand_in, monkeypatch):
    """A process of the stack's: the stand-in's orchestrator says that this test is its supervisor."""
    answer = stand_in.seams.answer
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        pids = [{"name": "supervisor", "pid": os.getpid()}, {"name": "worker", "pid": process.pid}]
        monkeypatch.setattr(
            stand_in.seams,
            "answer",
            lambda *asked: (200, {"processes": pids}) if asked[1] == "/api/v1/processes" else answer(*asked),
        )
        yield process
        process.kill()


FROZEN = {"inject": [{"freeze": {"process": "worker"}}], "confirm": [{"name": "n", "promql": "p99", "within": "1s"}]}


async def test_a_frozen_process_goes_on_when_the_drill_fails(quick, stand_in, child):
    states = []

    def watcher(engine, _now):
        if engine.injected_at is not None:
            states.append(psutil.Process(child.pid).status())

    report = await run_drill(quick(**FROZEN), stand_in.endpoints, watcher=watcher)
    assert not report.passed
    assert psutil.STATUS_STOPPED in states
    assert psutil.Process(child.pid).status() != psutil.STATUS_STOPPED
    assert any(each.detail.startswith("freeze: worker goes on") for each in report.timeline)


async def test_what_a_killed_drill_froze_goes_on_with_the_next(quick, stand_in, child):
    created = psutil.Process(child.pid).create_time()
    child.send_signal(signal.SIGSTOP)
    with DrillLock(stand_in.endpoints.data_dir.drills / LOCK_FILE, "killed") as lock:
        lock.remember([Undo.frozen("worker", child.pid, created)], time.time() + 60)
        lock.keep_note()
    await run_drill(quick(), stand_in.endpoints)
    assert psutil.Process(child.pid).status() != psutil.STATUS_STOPPED


async def test_a_killed_process_is_really_gone(quick, stand_in, child):
    await run_drill(quick(inject=[{"kill": {"process": "worker"}}]), stand_in.endpoints)
    assert child.wait(5) == -signal.SIGKILL


async def test_nothing_is_killed_on_another_machine(quick, stand_in, child):
    endpoints = replace(stand_in.endpoints, orchestrator="http://localhost.example:1")
    async with Breaker(endpoints) as stack:
        with pytest.raises(RefusedError, match="on this machine only"):
            await stack.inject(Kill(Victim(process="worker")))
    assert child.poll() is None


async def test_a_load_that_alternates_is_undone_to_what_was_before(quick, stand_in):
    load = {"journey": "browse", "rate": 60, "alternate": {"every": "1s", "rate": 5}}
    confirm = [{"name": "n", "promql": "p99", "within": "5s", "above": 99}]
    report = await run_drill(quick(inject=[{"load": load}], confirm=confirm, expect=EXPECTED), stand_in.endpoints)
    assert not report.passed
    assert rates_sent(stand_in)[:3] == [60.0, 5.0, 60.0]
    assert rates_sent(stand_in)[-1] == 8.0


EXPECTED = [{"name": "never", "promql": "p99", "above": 99, "within": "3s"}]
