"""
`kill -9` right before and right after steps and effects: a few of each kind here, all of them with
STEERSMAN_KILL_MATRIX=1 (or `bench/soak/remediation_kills.py`, which tells figures).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from kill_campaign import Campaign, Cell
from kill_scenarios import SCENARIOS
from postgres_cluster import PostgresCluster

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600 if os.environ.get("STEERSMAN_KILL_MATRIX") else 240)]

# Each workflow at least once with each store; of each kind of step and effect one before or after, of either store the
# other one.
CHOSEN = {
    "sqlite": [
        ("scales", "effect 4 replicas", "after"),
        ("undoes", "effect pager told", "before"),
        ("rolls", "move 0.undo", "after"),
        ("flags", "effect flag, not None", "after"),
        ("calls", "effect call", "after"),
        ("once", "effect command", "after"),
        ("asks", "ask 0", "after"),
        ("waits", "finish", "after"),
    ],
    "postgresql": [
        ("scales", "act watch:1", "before"),
        ("sheds", "effect shedding, not 12.0", "before"),
        ("replaces", "effect restart", "after"),
        ("runs", "effect command", "before"),
        ("restarts", "verify verify:0", "before"),
        ("undoes", "escalate", "after"),
    ],
}


@pytest.fixture
def campaign(request, tmp_path, postgres: PostgresCluster) -> Iterator[Campaign]:
    running = Campaign(tmp_path, postgres.database() if request.param == "postgresql" else "")
    yield running
    running.close()


def campaign_on(store: str) -> object:
    workers = "two-workers" if store == "postgresql" else "one-worker"
    return pytest.param(store, store, id=f"{store}-{workers}")


@pytest.mark.parametrize(("campaign", "store"), [campaign_on(store) for store in CHOSEN], indirect=["campaign"])
def test_killed_worker_s_run_completes_and_its_effect_happens_once(campaign, store):
    cells, wrong = [Cell(*chosen) for chosen in CHOSEN[store]], []
    if os.environ.get("STEERSMAN_KILL_MATRIX"):
        cells, wrong = campaign.every_cell(within_s=200)
    faults = {cell: fault for cell, fault in campaign.run(cells, within_s=200) if fault}
    wrong += [f"{cell}: {fault}" for cell, fault in faults.items()]
    assert not wrong, "\n".join(wrong)


def test_every_action_of_a_policy_is_in_the_campaign():
    from remediation.policy.policy import STEP_KINDS

    there = {kind for scenario in SCENARIOS.values() for step in scenario.steps for kind in step}
    assert there >= set(STEP_KINDS)
