"""The drills over HTTP: a real run against the stand-in, started, watched, stopped and read by the API alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
import pytest
import yaml
from fastapi import FastAPI

from remediation.drills import definition, report
from remediation.drills import run as run_module
from remediation.drills.api import drills_router
from remediation.drills.lock import LOCK_FILE, DrillLock
from steersman.runtime.http import install_error_envelope

DRILLS = "/api/v1/drills"
BEARER = {"Authorization": "Bearer of-drills"}
QUICK = {
    "steady_state": {"within": "2s", "hold": "0s", "conditions": [{"name": "fast", "promql": "p99", "below": 0.5}]},
    "expect": [{"name": "alert", "alert_firing": {"alertname": "Slow"}, "within": "1s", "grade": "detect"}],
    "then": [{"name": "returned", "replicas": {"service": "catalog", "is": "initial"}, "within": "2s"}],
}


class InThisProcess:
    """Runs drills as tasks, for the tests have no stack to start a process for."""

    def __init__(self, folder, endpoints):
        self._folder, self._endpoints = folder, endpoints
        self._task = None
        self._name = ""

    @property
    def running(self):
        return self._name if self._task and not self._task.done() else None

    async def start(self, name):
        self._name, self._task = name, asyncio.create_task(self._run(name))

    async def _run(self, name):
        found = await run_module.run_drill(definition.find(name, self._folder), self._endpoints)
        report.write(found, report.path_of(found, self._endpoints.data_dir.drills))

    def stop(self):
        self._task.cancel()

    async def ended(self):
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(self._task, 20)


@pytest.fixture
async def api(stand_in, tmp_path, surge_document, monkeypatch):
    monkeypatch.setattr(run_module, "POLL_S", 0.05)
    folder = tmp_path / "drills"
    folder.mkdir()
    (folder / "surge.yaml").write_text(yaml.safe_dump({**surge_document, **QUICK}))
    (folder / "broken.yaml").write_text("name: broken")
    launcher = InThisProcess(folder, stand_in.endpoints)
    app = FastAPI()
    install_error_envelope(app)
    reports = stand_in.endpoints.data_dir.drills
    app.include_router(drills_router(launcher, reports=reports, definitions=folder, token="of-drills"))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://stack") as client:
        client.launcher = launcher
        yield client


async def injected(stand_in):
    while not stand_in.seams.changes():  # noqa: ASYNC110  (the stand-in is another thread's)
        await asyncio.sleep(0.01)


async def test_drills_are_listed_with_what_is_wrong_with_them(api):
    told = {each["name"]: each for each in (await api.get(DRILLS)).json()["drills"]}
    assert told["surge"]["title"] == "A surge"
    assert "broken.yaml" in told["broken"]["problem"]


async def test_a_drill_is_started_watched_and_reported(api):
    assert (await api.post(DRILLS, json={"drill": "surge"}, headers=BEARER)).status_code == 202
    refused = await api.post(DRILLS, json={"drill": "surge"}, headers=BEARER)
    assert refused.status_code == 409
    assert "surge" in refused.json()["error"]
    phases, lengths, runs = set(), [], set()
    while api.launcher.running:
        if told := (await api.get(f"{DRILLS}/running")).json()["report"]:
            phases.add(told["phase"])
            runs.add(told["run"])
            lengths.append(len(told["timeline"]))
            assert "verdict" not in told
        await asyncio.sleep(0.02)
    assert "watching" in phases
    assert lengths == sorted(lengths)
    assert lengths[-1] > 1
    assert (await api.get(f"{DRILLS}/running")).json() == {"running": None, "started_here": False, "report": None}
    history = (await api.get(f"{DRILLS}/history")).json()
    run = history["drills"][0]["runs"][0]
    assert run["verdict"] == "PASS"
    assert runs == {run["run"]}  # who watched it can go on to its report
    found = (await api.get(f"{DRILLS}/reports/{run['run']}")).json()
    assert (found["verdict"], found["score"]) == ("PASS", run["score"])
    assert "A surge" in (await api.get(f"{DRILLS}/reports/{run['run']}/page")).text


async def test_starting_and_stopping_want_the_token(api):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert (await api.post(DRILLS, json={"drill": "surge"}, headers=headers)).status_code == 401
        assert (await api.delete(f"{DRILLS}/running", headers=headers)).status_code == 401
    assert api.launcher.running is None


async def test_a_drill_that_is_stopped_is_rolled_back(api, stand_in):
    await api.post(DRILLS, json={"drill": "surge"}, headers=BEARER)
    async with asyncio.timeout(20):
        await injected(stand_in)
    assert (await api.delete(f"{DRILLS}/running", headers=BEARER)).json() == {"drill": "surge"}
    await api.launcher.ended()
    assert stand_in.seams.rates["browse"] == 8.0
    assert (await api.delete(f"{DRILLS}/running", headers=BEARER)).status_code == 409


async def test_one_that_runs_elsewhere_is_in_the_way_and_is_not_ours_to_stop(api, stand_in):
    with DrillLock(stand_in.endpoints.data_dir.drills / LOCK_FILE, "by-hand"):
        assert (await api.post(DRILLS, json={"drill": "surge"}, headers=BEARER)).status_code == 409
        refused = await api.delete(f"{DRILLS}/running", headers=BEARER)
        assert refused.status_code == 409
        assert "by-hand" in refused.json()["error"]


@pytest.mark.parametrize(
    ("name", "status"), [("nothing", 404), ("broken", 422), ("/etc/passwd.yaml", 404), ("../surge", 404), ("", 400)]
)
async def test_only_a_sound_drill_of_the_folder_is_started(api, name, status):
    assert (await api.post(DRILLS, json={"drill": name}, headers=BEARER)).status_code == status
    assert api.launcher.running is None


@pytest.mark.parametrize("run", ["nothing", "surge-20260101T000000.000Z", "..%2f..%2fsecret", "x" * 300])
async def test_a_report_that_is_none_is_not_found(api, run):
    assert (await api.get(f"{DRILLS}/reports/{run}")).status_code == 404
    assert (await api.get(f"{DRILLS}/reports/{run}/page")).status_code == 404
