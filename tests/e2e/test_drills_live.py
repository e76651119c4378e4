"""The drills that ship, on a running stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedded_stack import Stack, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


# Not replica-crash and poisoned-message: they compare totals, which the chaos tests' kills on this stack have reset.
@pytest.mark.parametrize("drill", ["latency-surge", "slow-dependency"])
def test_drill_passes(stack: Stack, drill: str, tmp_path: Path) -> None:
    eventually(stack.healthy, within_s=30, what="the stack is healthy before the drill")
    file = tmp_path / "report.json"
    result = stack.cli("drill", "run", drill, "--json", str(file), timeout_s=220)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(file.read_text())["verdict"] == "PASS"
    assert "PASS" in result.stdout
