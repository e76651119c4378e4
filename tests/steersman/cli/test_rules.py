"""`steersman rules` hands over to the collector's commands, with the stack's address and the policies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from steersman.cli.rules import answers
from steersman.runtime.paths import shipped


def steersman(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "steersman", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_rules_are_checked_with_the_shipped_policies(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "groups: [{name: g, rules: [{alert: HighRequestLatency, expr: up, for: 1m, labels: {service: catalog}},"
        " {alert: Other, expr: up, for: 1m}]}]"
    )
    done = steersman("rules", "check", str(rules), "--data-dir", str(tmp_path))
    assert done.returncode == 3, done.stderr
    assert '"Other": no policy answers this alert' in done.stderr
    assert "HighRequestLatency" not in done.stderr
    assert "no collector runs" in done.stderr


def test_unit_tests_are_run_by_the_command_line() -> None:
    done = steersman("rules", "test", str(shipped("rules") / "tests" / "errors_test.yml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "SUCCESS" in done.stdout


def test_backtest_without_a_stack_asks_for_a_url(tmp_path: Path) -> None:
    done = steersman("rules", "backtest", str(shipped("rules") / "errors.yml"), "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "say with --url" in done.stderr


def test_labels_that_only_series_can_tell_count_as_what_the_policy_wants() -> None:
    answer = answers(shipped("policies"))
    assert answer({"alertname": "HighRequestLatency"}, True) == "scale-out-on-latency"
    assert answer({"alertname": "HighRequestLatency"}, False) is None
    assert answer({"alertname": "HighRequestLatency", "service": "cart"}, False) == "scale-out-on-latency"
    assert answer({"alertname": "HighRequestLatency", "service": "gateway"}, True) is None


def test_policies_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none"):
        answers(tmp_path / "none")
