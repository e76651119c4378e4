"""The command line as a user meets it: as a program, with its exit codes and its one-line errors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from steersman.cli import main
from steersman.stack import state
from steersman.stack.settings import Settings


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Steersman = Callable[..., Done]


@pytest.fixture
def steersman(monkeypatch, capfd) -> Steersman:
    """The program's own entry point, run in this process: a new Python for each case would take a second of it."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["steersman", *arguments])
        with pytest.raises(SystemExit) as exited:
            main()
        return Done(int(exited.value.code or 0), *capfd.readouterr())

    return run


def one_line(text: str) -> str:
    assert text.startswith("steersman: ")
    assert text.count("\n") == 1
    return text


def test_help_answers_quickly_because_it_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "steersman", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"fastapi", "httpx", "psutil", "yaml", "duckdb", "opentelemetry", "remediation", "collector"}


@pytest.mark.parametrize(
    "command",
    [
        ["down"],
        ["scale", "catalog", "2"],
        ["restart", "catalog"],
        ["deploy", "catalog"],
        ["remediations"],
        ["remediation", "show", "x"],
    ],
)
def test_commands_on_a_stack_say_that_none_runs(steersman: Steersman, tmp_path: Path, command: list[str]):
    done = steersman(*command, "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "no stack runs in" in one_line(done.stderr)


def test_status_of_no_stack_is_exit_code_1_also_as_json(steersman: Steersman, tmp_path: Path):
    done = steersman("status", "--json", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"running": False}


@pytest.mark.parametrize(
    "command", [["up", "--port-offset", "99999"], ["scale", "catalog", "many"], ["nonsense"], ["logs", "x", "-n", "-1"]]
)
def test_wrong_usage_is_exit_code_2(steersman: Steersman, command: list[str]):
    done = steersman(*command)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_up_names_who_holds_a_port_and_leaves_nothing(steersman: Steersman, settings: Settings):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", settings.ports.prometheus))
        holder.listen()
        where = str(settings.data_dir.root)
        done = steersman("up", "--data-dir", where, "--port-offset", str(settings.port_offset))
        assert done.returncode == 1
        assert f"port {settings.ports.prometheus} (Prometheus API) is held by pid {os.getpid()}" in one_line(
            done.stderr
        )
        report = steersman("doctor", "--data-dir", where, "--port-offset", str(settings.port_offset))
    assert report.returncode == 1
    assert f"FAIL  ports: port {settings.ports.prometheus}" in report.stdout
    assert state.read_state(settings.data_dir) is None


def test_up_says_what_is_wrong_with_the_services_file(steersman: Steersman, settings: Settings, tmp_path: Path):
    services = tmp_path / "bad.yaml"
    services.write_text("services: {catalog: {}}")
    done = steersman("up", "--data-dir", str(tmp_path), "--services", str(services))
    assert done.returncode == 1
    assert "services.catalog.command" in one_line(done.stderr)


def test_up_in_an_unwritable_place_is_one_line(steersman: Steersman, tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = steersman("up", "--data-dir", str(tmp_path / "file" / "data"))
    assert done.returncode == 1
    one_line(done.stderr)


def test_doctor_finds_nothing_wrong_with_free_ports(steersman: Steersman, settings: Settings, tmp_path: Path):
    settings.services_file.write_text("services: {a: {command: [x]}}")
    arguments = ["--data-dir", str(tmp_path), "--port-offset", str(settings.port_offset)]
    done = steersman("doctor", *arguments, "--services", str(settings.services_file))
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "catalog-1.log").write_text("a\nb\nc\n")
    (folder / "catalog-2.log").write_text("d\n")
    (folder / "worker.log").write_text("new\n")
    (folder / "worker.log.1").write_text("old\n")
    return tmp_path


def test_logs_of_a_service_are_those_of_all_its_replicas(steersman: Steersman, logs: Path):
    done = steersman("logs", "catalog", "-n", "2", "--data-dir", str(logs))
    assert done.stdout == "catalog-1 | b\ncatalog-1 | c\ncatalog-2 | d\n"


def test_logs_reach_back_into_the_last_run_for_the_lines_that_lack(steersman: Steersman, logs: Path):
    assert steersman("logs", "worker", "--data-dir", str(logs)).stdout == "old\nnew\n"


@pytest.mark.parametrize("name", ["nobody", "../logs/worker", "*"])
def test_logs_of_nobody_name_what_there_is(steersman: Steersman, logs: Path, name: str):
    done = steersman("logs", name, "--data-dir", str(logs))
    assert done.returncode == 1
    assert "there are: catalog-1, catalog-2, worker" in one_line(done.stderr)


def test_followed_log_shows_new_lines_and_those_of_new_replicas(logs: Path):
    argv = [sys.executable, "-m", "steersman", "logs", "catalog", "-f", "-n", "1", "--data-dir", str(logs)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert [follower.stdout.readline() for _ in range(2)] == ["catalog-1 | c\n", "catalog-2 | d\n"]
        with (logs / "logs" / "catalog-1.log").open("a") as log:
            log.write("half")
            log.flush()
            log.write(" whole\n")
        (logs / "logs" / "catalog-3.log").write_text("born\n")
        assert [follower.stdout.readline() for _ in range(2)] == ["catalog-1 | half whole\n", "catalog-3 | born\n"]
        follower.terminate()
