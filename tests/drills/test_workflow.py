"""The CI workflow that docs/drills.md shows: GitHub would take it, and our command line takes what it says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from remediation.drills.cli import app as drill_app
from steersman.cli import app
from steersman.runtime.paths import shipped

GUIDE = Path(__file__).parents[2] / "docs" / "drills.md"


@pytest.fixture(scope="module")
def job():
    found = re.search(r"```yaml\n# \.github/workflows/drills\.yml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    document = yaml.load(found[1], Loader=yaml.BaseLoader)  # noqa: S506  ("on" is no boolean to GitHub)
    assert set(document) == {"name", "on", "jobs"}
    return document["jobs"]["drills"]


def commands(job):
    """The words of each command of ours, in the order in which they run."""
    for step in job["steps"]:
        for line in step.get("run", "").splitlines():
            for command in re.findall(r"\b(?:steersman|pytest) [^;&|>']*", line):
                words = shlex.split(command, comments=True)
                if words[:2] != ["steersman", "pytest"]:  # of `pip install steersman pytest`
                    yield words


def test_each_step_does_one_thing_that_github_knows(job):
    for step in job["steps"]:
        assert len({"run", "uses"} & set(step)) == 1
        assert set(step) <= {"name", "if", "run", "uses", "with"}
        assert step.get("if", "always()") == "always()"
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/checkout@v4"))


def test_the_stack_is_up_before_the_drills_and_goes_down_whatever_they_say(job):
    order = [" ".join(words[:2]) for words in commands(job)]
    assert order.index("steersman up") < order.index("pytest drills/") < order.index("steersman down")
    (down,) = [step for step in job["steps"] if step.get("run") == "steersman down"]
    assert down["if"] == "always()"


def test_the_command_line_knows_every_command_and_option(job):
    ours, drills = typer.main.get_command(app), typer.main.get_command(drill_app)
    seen = set()
    for program, *words in commands(job):
        if program == "pytest":
            assert words == ["drills/", "--junit-xml=drills.xml"]
            continue
        assert words[0] in ours.commands
        command = ours.commands[words[0]]
        if words[0] == "drill":
            words = words[1:]
            command = drills.commands[words[0]]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options
        seen.add(words[0])
    assert seen == {"check", "up", "status", "report", "history", "down"}


def test_the_conftest_alone_makes_tests_of_a_users_definitions(tmp_path):
    theirs = tmp_path / "drills"
    theirs.mkdir()
    for name in ("conftest.py", "replica-crash.yaml", "latency-surge.yaml"):
        shutil.copy(shipped("drills") / name, theirs)
    command = [sys.executable, "-m", "pytest", "drills/", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    collected = [line for line in done.stdout.splitlines() if "::" in line]
    assert collected == [f"drills/{name}.yaml::{name}" for name in ("latency-surge", "replica-crash")]
