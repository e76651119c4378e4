"""Debian's Prometheus and Alertmanager take the settings of the arms that the loop is timed on, while they run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

from embedded_stack import free_offset
from steersman.runtime import lifeline
from steersman.runtime.paths import DataDir
from steersman.stack import parts
from steersman.stack.configuration import write_configuration
from steersman.stack.services import shop_services_file
from steersman.stack.settings import PROMETHEUS, Settings

pytestmark = pytest.mark.peer
BENCH = Path(__file__).parents[2] / "bench"
WITHIN_S = 60.0  # on a machine that does much else


@pytest.fixture
def backend(tmp_path):
    """The settings, and the pid of each, as the stack starts them."""
    if missing := [name for name in ("prometheus", "prometheus-alertmanager") if shutil.which(name) is None]:
        if os.environ.get("CI") == "true":
            pytest.fail(f"not installed: {', '.join(missing)}")
        pytest.skip(f"not installed: {', '.join(missing)}")
    settings = Settings(
        data_dir=DataDir.at(tmp_path / "data"),
        port_offset=free_offset(),
        services_file=shop_services_file(),
        backend=PROMETHEUS,
    )
    write_configuration(settings)
    with contextlib.ExitStack() as running:
        pids = {}
        for part in parts.backend(settings):
            log = running.enter_context((tmp_path / f"{part.name}.log").open("wb"))
            argv = lifeline.command(list(part.command.argv))
            process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=part.command.cwd)
            running.callback(process.wait)
            running.callback(process.kill)
            pids[part.name] = process.pid
            eventually(lambda part=part: httpx.get(f"http://127.0.0.1:{part.ready_port}{part.ready_path}").is_success)
        yield settings, pids


def eventually(condition):
    deadline = time.monotonic() + WITHIN_S
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)  # between two looks


def in_force(settings):
    """The intervals that Prometheus scrapes and evaluates at, and whether Alertmanager still has the stack's own."""
    prometheus, alertmanager = (
        f"http://127.0.0.1:{port}" for port in (settings.ports.prometheus, settings.ports.alertmanager)
    )
    config = yaml.safe_load(httpx.get(f"{prometheus}/api/v1/status/config").json()["data"]["yaml"])
    intervals = {config["global"]["scrape_interval"], config["global"]["evaluation_interval"]}
    intervals |= {scrape["scrape_interval"] for scrape in config["scrape_configs"]}
    route = yaml.safe_load(httpx.get(f"{alertmanager}/api/v2/status").json()["config"]["original"])["route"]
    return intervals, {key for key in ("group_wait", "group_interval", "repeat_interval") if key in route}


@pytest.mark.parametrize(("name", "interval"), [("packaged", "15s"), ("default", "1m")])
def test_settings_are_taken_without_a_restart(backend, monkeypatch, name, interval):
    monkeypatch.syspath_prepend(str(BENCH))
    from stacks.arms import ARMS

    settings, pids = backend
    assert in_force(settings)[0] >= {"1s"}
    next(arm for arm in ARMS if arm.name == name).configure(settings.data_dir, pids)
    eventually(lambda: in_force(settings) == ({interval}, set()))
