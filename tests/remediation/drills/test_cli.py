"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from remediation.drills import run as run_module
from remediation.drills.cli import app
from remediation.drills.lock import LOCK_FILE, DrillLock


@pytest.fixture
def invoke(stand_in, monkeypatch):
    for name, value in {**stand_in.environment, "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(run_module, "POLL_S", 0.05)
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def quick(surge_document, tmp_path):
    surge_document["steady_state"]["hold"] = "0s"
    surge_document["expect"][0].update(within="1s", aim="1s")
    surge_document["expect"][2]["hold"] = "100ms"
    path = tmp_path / "surge.yaml"
    path.write_text(yaml.safe_dump(surge_document))
    return path


def test_drills_are_listed(invoke):
    result = invoke("list")
    assert result.exit_code == 0
    assert "latency-surge" in result.output
    assert "slow-dependency" in result.output


def test_a_passed_run_prints_timeline_and_grades_and_writes_both_reports(invoke, quick, tmp_path, stand_in):
    result = invoke("run", quick, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    for text in (
        "Slow firing",
        "catalog desired",
        "1 → 4",
        "time to detect",
        "time to return",
        "PASS",
    ):
        assert text in result.output
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["verdict"] == "PASS"
    kept = stand_in.endpoints.data_dir.drills / f"{document['run']}.json"
    assert json.loads(kept.read_text()) == document


def test_the_report_shows_the_last_run_again(invoke, quick):
    ran = invoke("run", quick)
    shown = invoke("report")
    assert shown.exit_code == 0
    assert shown.output.splitlines()[-1] == ran.output.splitlines()[-1]
    assert "time to recover" in shown.output


def test_a_failed_run_exits_1_and_says_why(invoke, quick, stand_in):
    stand_in.seams.never_alert = True
    result = invoke("run", quick, "--quiet")
    assert result.exit_code == 1
    assert 'expectation "alert" failed: wanted Slow{service="catalog"} firing' in " ".join(result.output.split())
    assert "timeline" not in result.output
    assert invoke("report").exit_code == 1


def test_sound_definitions_are_told_and_exit_0(invoke):
    result = invoke("check")
    assert result.exit_code == 0
    assert "latency-surge: sound, 1 injected, 8 expected" in result.output


def test_a_wrong_definition_exits_1_and_names_file_key_and_value(invoke, surge_document, tmp_path):
    surge_document["timeout"] = "100 parsecs"
    surge_document["inject"][0]["load"]["rate"] = -1
    path = tmp_path / "surge.yaml"
    path.write_text(yaml.safe_dump(surge_document))
    result = invoke("check", path, "latency-surge")
    assert result.exit_code == 1
    assert f"{path}: timeout: expected a duration such as 500ms, 20s or 1m30s, got '100 parsecs'" in result.output
    assert f"{path}: inject.0.load.rate: Input should be greater than or equal to 0, got -1" in result.output
    assert "latency-surge: sound" in result.output


def test_a_dry_run_tells_what_holds_and_changes_nothing(invoke, quick, stand_in):
    result = invoke("run", quick, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "✓ fast: p99 below 0.5; now 0.1" in result.output
    assert "load: browse at 60/s, for 115s at most" in result.output
    assert "it would start now; nothing was changed" in result.output
    assert stand_in.seams.changes() == []
    assert list(stand_in.endpoints.data_dir.drills.glob("*.json")) == []


def test_a_dry_run_that_could_not_start_exits_1(invoke, quick, surge_document):
    surge_document["steady_state"]["conditions"][0]["below"] = 0.01
    quick.write_text(yaml.safe_dump(surge_document))
    result = invoke("run", quick, "--dry-run")
    assert result.exit_code == 1
    assert 'steady state: "fast": wanted p99 below 0.01, got 0.1' in result.output


def test_a_dry_run_names_the_drill_that_is_running(invoke, quick, stand_in):
    with DrillLock(stand_in.endpoints.data_dir.drills / LOCK_FILE, "first"):
        result = invoke("run", quick, "--dry-run")
    assert result.exit_code == 1
    assert "another drill runs: first (pid " in result.output


@pytest.mark.parametrize("args", [("run", "nosuch"), ("run", "/nosuch/x.yaml"), ("report", "nosuch"), ("report",)])
def test_what_could_not_be_run_exits_2(invoke, args):
    result = invoke(*args)
    assert result.exit_code == 2
    assert result.output.startswith("steersman drill: ")


def test_importing_the_commands_is_light():
    heavy = "{'httpx', 'yaml', 'pydantic', 'rich.table'}"
    code = f"import sys, remediation.drills.cli; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_run_is_written_for_ci_and_as_a_page(invoke, quick, tmp_path):
    result = invoke("run", quick, "--junit", tmp_path / "out.xml", "--html", tmp_path / "out.html")
    assert result.exit_code == 0, result.output
    assert 'failures="0"' in (tmp_path / "out.xml").read_text()
    assert "PASS" in (tmp_path / "out.html").read_text()
    again = invoke("report", "surge", "--html", tmp_path / "again.html")
    assert again.exit_code == 0
    assert (tmp_path / "again.html").read_text() == (tmp_path / "out.html").read_text()


def test_history_tells_each_drill_and_the_score_of_all(invoke, quick, stand_in):
    invoke("run", quick)
    stand_in.seams.never_alert = True
    invoke("run", quick)
    document = json.loads(invoke("history", "--json").output)
    (surge,) = document["drills"]
    assert [run["verdict"] for run in surge["runs"]] == ["PASS", "FAIL"]
    assert surge["runs"][0]["score"] > 60
    assert document["score"] == surge["runs"][1]["score"] < 50
    assert "latency-surge" in document["never_run"]
    assert "resilience score" in invoke("history").output
    assert "surge-" in invoke("history", "surge").output
    assert invoke("history", "nosuch").exit_code == 2


def test_history_passes_over_a_file_that_is_no_report(invoke, quick, stand_in):
    invoke("run", quick)
    (stand_in.endpoints.data_dir.drills / "surge-20260101T000000.000Z.json").write_text("{")
    result = invoke("history")
    assert result.exit_code == 0
    assert "not a drill report" in result.output
    assert re.search(r"surge\s.*[01]/1\s", result.output)  # the one that is a report is counted, whatever its verdict
