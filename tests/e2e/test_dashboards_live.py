"""Every query of every dashboard panel returns something on a running stack."""

from __future__ import annotations

import json

import pytest

from dashboards.catalogue import DASHBOARDS, path_of
from embedded_stack import Stack, eventually

pytestmark = pytest.mark.e2e

QUERIES = [
    (name, panel["title"], target["expr"].replace("$service", ".+"))
    for name in DASHBOARDS
    for panel in json.loads(path_of(name).read_text())["panels"]
    for target in panel["targets"]
]


@pytest.mark.parametrize(("dashboard", "panel", "expr"), QUERIES)
def test_panel_query_returns_data(stack: Stack, dashboard: str, panel: str, expr: str) -> None:
    eventually(lambda: stack.query(expr), within_s=40, what=f"{dashboard}, panel {panel!r} has data: {expr}")
