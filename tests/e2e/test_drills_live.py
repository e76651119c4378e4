"""The drills that ship, on a running stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedded_stack import Stack, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


# The quick ones (under half a minute each) beside the loop's negative. The loop itself is what `make demo` shows, and
# tests/chaos/test_kills_mid_remediation.py goes through it twice.
@pytest.mark.parametrize("drill", ["replica-crash", "poisoned-message", "slow-dependency"])
def test_drill_passes(stack: Stack, drill: str, tmp_path: Path) -> None:
    eventually(stack.healthy, within_s=30, what="the stack is healthy before the drill")
    file = tmp_path / "report.json"
    result = stack.cli("drill", "run", drill, "--json", str(file), timeout_s=220)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(file.read_text())["verdict"] == "PASS"
    assert "PASS" in result.stdout
