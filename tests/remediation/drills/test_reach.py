"""What drills can do to a stack that no orchestrator of ours supervises."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from remediation.drills.breaker import Breaker
from remediation.drills.cli import app
from remediation.drills.definition import available, load
from remediation.drills.endpoints import Endpoints
from remediation.drills.errors import RefusedError, StackUnreachableError
from remediation.drills.observation import Service
from remediation.drills.reach import require_reach
from remediation.drills.run import run_drill
from steersman.runtime.paths import shipped

OVER_THE_NETWORK = {
    "alert-storm",
    "flapping-load",
    "flash-crowd",
    "latency-surge",
    "poisoned-message",
    "queue-backlog",
    "slow-dependency",
}


@pytest.fixture
def containers(stand_in):
    return replace(stand_in.endpoints, supervised=False)


def test_drills_that_break_processes_are_refused_by_what_they_break(containers):
    reached, refused = set(), {}
    for drill in map(load, available(shipped("drills"))):
        try:
            require_reach(drill, containers)
            reached.add(drill.name)
        except RefusedError as error:
            refused[drill.name] = str(error)
    assert reached == OVER_THE_NETWORK
    assert refused["worker-killed"].startswith("worker-killed: kill")
    assert refused["error-burst"].startswith("error-burst: deploy")


def test_on_the_embedded_stack_all_are_in_reach(stand_in):
    for drill in map(load, available(shipped("drills"))):
        require_reach(drill, stand_in.endpoints)


async def test_a_refused_drill_breaks_nothing(containers, stand_in):
    drill = load(shipped("drills") / "replica-crash.yaml")
    with pytest.raises(RefusedError, match="only the embedded stack has processes"):
        await run_drill(drill, containers)
    assert stand_in.seams.changes() == []


async def test_the_worker_tells_of_the_replicas_and_no_token_of_an_orchestrator_is_asked_for(containers, stand_in):
    containers.data_dir.token_file("orchestrator").unlink()
    async with Breaker(containers) as stack:
        await stack.check()
        seen = await stack.observe([])
    assert seen.services == {"catalog": Service("catalog", 1, 1, 1, 9)}


async def test_what_does_not_answer_names_how_it_is_started(containers, stand_in):
    stand_in.seams.down.add("/api/v1/services")
    async with Breaker(containers) as stack:
        with pytest.raises(StackUnreachableError, match=r"STEERSMAN_REMEDIATION_URL.*`make compose-up`"):
            await stack.check()


def test_on_compose_secrets_are_found_where_they_are_made_and_another_stacks_ports_are_not(tmp_path):
    environment = {"STEERSMAN_DATA_DIR": str(tmp_path), "STEERSMAN_LOAD_URL": "http://127.0.0.1:18089"}
    found = Endpoints.of_compose(environment)
    made = subprocess.run(
        [sys.executable, "-m", "steersman.stack.compose", tmp_path / "compose" / "secrets"], check=False
    )
    assert made.returncode == 0
    for audience in ("load", "faults", "remediation", "nats"):
        assert found.token(audience)
    assert (found.supervised, found.load) == (False, "http://127.0.0.1:8089")


def test_nothing_on_compose_is_a_clear_error(tmp_path):
    ran = CliRunner().invoke(
        app, ["run", "latency-surge", "--stack", "compose"], env={"STEERSMAN_DATA_DIR": str(tmp_path)}
    )
    assert ran.exit_code == 2
    assert "make compose-up" in ran.stderr
