"""`steersman rules check`: promtool's verdicts, and lint."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collector.rules.cli import Surroundings, app
from collector.rules.lint import CHECKS
from steersman.runtime.paths import shipped

# What is in a group's list of rules, or the whole file where it begins with `groups`; and promtool's exit code.
CASES: Mapping[str, tuple[str, int]] = {
    "fine": ("{record: a, expr: up}", 0),
    "alert": (
        "{alert: A, expr: up, for: 1m, keep_firing_for: 5m, labels: {a: b}, annotations: {c: '{{ .Value }}'}}",
        0,
    ),
    "empty file": ("groups:", 0),
    "no rules": ("", 0),
    "duplicate rules": ("{alert: A, expr: up}, {alert: A, expr: up == 1}", 3),
    "same name, other labels": ("{alert: A, expr: up}, {alert: A, expr: up == 1, labels: {a: b}}", 0),
    "expression that does not parse": ("{record: a, expr: sum(}", 1),
    "wrong type": ("{record: a, expr: rate(up)}", 1),
    "no expression": ("{record: a}", 1),
    "neither record nor alert": ("{expr: up}", 1),
    "record and alert": ("{record: a, alert: A, expr: up}", 1),
    "recording with for": ("{record: a, expr: up, for: 1m}", 1),
    "recording with annotations": ("{record: a, expr: up, annotations: {a: b}}", 1),
    "recording with keep_firing_for": ("{record: a, expr: up, keep_firing_for: 1m}", 1),
    "invalid metric name": ("{record: 'a b', expr: up}", 1),
    "invalid label name": ("{record: a, expr: up, labels: {__name__: b}}", 1),
    "invalid duration": ("{alert: A, expr: up, for: 1 minute}", 1),
    "bad template": ("{alert: A, expr: up, annotations: {a: '{{ nope }}'}}", 1),
    "unclosed template": ("{alert: A, expr: up, labels: {a: '{{ $labels'}}", 1),
    "unknown field": ("{alert: A, expr: up, fro: 1m}", 1),
    "unknown group field": ("groups: [{name: g, rulez: []}]", 1),
    "group without name": ("groups: [{rules: []}]", 1),
    "group name twice": ("groups: [{name: g}, {name: g}]", 1),
    "not yaml": ("groups: [", 1),
    "not a mapping": ("groups: 3", 1),
    "limit that is no number": ("groups: [{name: g, limit: many}]", 1),
    "interval": ("groups: [{name: g, interval: 90s, limit: 3, rules: [{record: a, expr: up}]}]", 0),
}


def write(folder: Path, text: str) -> Path:
    path = folder / "rules.yml"
    path.write_text(text if text.startswith("groups") else f"groups: [{{name: g, rules: [{text}]}}]\n")
    return path


def check(*arguments: str, around: Surroundings | None = None):
    return CliRunner().invoke(app, ["check", *arguments], obj=around or Surroundings())


@pytest.mark.parametrize("name", CASES)
def test_verdict_is_what_promtools_is_said_to_be(tmp_path: Path, name: str) -> None:
    text, code = CASES[name]
    assert check(str(write(tmp_path, text)), "--lint", "duplicate-rules").exit_code == code


@pytest.mark.peer
def test_promtool_has_the_same_verdicts(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is not on PATH, and CI must not do without it")
    if promtool is None:
        pytest.skip("promtool is not on PATH (Debian: apt-get install prometheus)")
    for name, (text, code) in CASES.items():
        command = [promtool, "check", "rules", "--lint-fatal", str(write(tmp_path, text))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, (name, done.stdout, done.stderr)


def test_errors_name_file_line_group_and_rule(tmp_path: Path) -> None:
    path = write(tmp_path, "groups:\n  - name: g\n    rules:\n      - record: a\n        expr: sum(\n")
    assert f'{path}: 5:15: group "g", rule 1, "a": could not parse expression' in check(str(path)).output
    (error,) = json.loads(check(str(path), "--format", "json").stdout)["errors"]
    assert (error["file"], error["line"], error["group"], error["rule"]) == (str(path), 5, "g", "a")


def test_a_bad_file_does_not_hide_the_findings_of_a_good_one(tmp_path: Path) -> None:
    path = write(tmp_path, "{alert: A, expr: up}")
    bad = tmp_path / "none.yml"
    result = check(str(bad), str(path), "--format", "json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [one["check"] for one in document["lint"]] == ["missing-for"]
    assert [one["file"] for one in document["errors"]] == [str(bad)]


def test_lint_alone_is_exit_code_3_unless_it_is_not_fatal(tmp_path: Path) -> None:
    path = str(write(tmp_path, "{alert: A, expr: up}"))
    assert check(path).exit_code == 3
    assert check(path, "--no-lint-fatal").exit_code == 0
    assert check(path, "--lint", "none").exit_code == 0
    assert check(path, "--lint", "duplicate-rules").exit_code == 0


def test_an_unknown_check_is_refused_with_those_there_are(tmp_path: Path) -> None:
    result = check(str(write(tmp_path, "")), "--lint", "spelling")
    assert result.exit_code == 1
    assert all(name in result.output for name in CHECKS)


def test_an_alert_that_no_policy_answers_is_found(tmp_path: Path) -> None:
    around = Surroundings(
        policies=tmp_path, answers=lambda _path: lambda labels, _partial: labels.get("service") and "scale-out"
    )
    path = write(tmp_path, "{alert: A, expr: up, for: 1m}, {alert: B, expr: up, for: 1m, labels: {service: cart}}")
    document = json.loads(check(str(path), "--format", "json", around=around).stdout)
    assert [(one["rule"], one["check"]) for one in document["lint"]] == [("A", "unanswered-alert")]


def test_a_comment_lets_a_check_pass_for_its_rule_or_the_whole_file(tmp_path: Path) -> None:
    text = (
        "groups:\n"
        "  - name: g\n"
        "    rules:\n"
        "      - alert: A\n"
        "        expr: up  # steersman: allow missing-for\n"
        "      # steersman: allow missing-for, unanswered-alert\n"
        "      - alert: B\n"
        "        expr: up\n"
        "      - alert: C\n"
        "        expr: up\n"
    )
    path = tmp_path / "rules.yml"
    path.write_text(text)
    assert [one["rule"] for one in json.loads(check(str(path), "--format", "json").stdout)["lint"]] == ["C"]
    path.write_text("# steersman: allow missing-for\n" + text)
    assert check(str(path)).exit_code == 0


def test_without_a_collector_the_note_says_what_was_not_checked(tmp_path: Path) -> None:
    assert "were not checked" in check(str(write(tmp_path, "{record: a, expr: up}"))).output


def test_a_peer_that_hangs_up_is_a_note_and_the_rest_is_checked(tmp_path: Path) -> None:
    result = check(str(write(tmp_path, "{alert: A, expr: up}")), "--url", "http://127.0.0.1:1")
    assert "http://127.0.0.1:1 does not answer" in result.output
    assert "missing-for" in result.output


def test_the_shipped_rules_have_no_findings() -> None:
    assert check(*map(str, sorted(shipped("rules").glob("*.yml")))).exit_code == 0
