"""What an operator does by hand, on the running stack."""

from __future__ import annotations

import pytest

from embedded_stack import Stack

pytestmark = pytest.mark.e2e


def test_kill_switch_is_turned_looked_at_and_turned_back(stack: Stack) -> None:
    refused = stack.cli("kill-switch", "on")
    assert refused.returncode == 1
    assert "say why" in refused.stderr
    assert stack.cli("kill-switch", "on", "--reason", "a migration").returncode == 0
    try:
        looked = stack.cli("kill-switch")
        assert looked.stdout.startswith("on, by ")
        assert "a migration" in looked.stdout
    finally:
        turned = stack.cli("kill-switch", "off", "--reason", "it is over")
    assert turned.stdout == "off; the worker acts as its policies say\n"
