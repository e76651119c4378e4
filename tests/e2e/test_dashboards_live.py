"""Every query of every dashboard panel returns something on a running stack."""

from __future__ import annotations

import json

import pytest

from dashboards.catalogue import DASHBOARDS, path_of
from dashboards.viewer.grafana.interpolation import interpolate
from embedded_stack import Stack, eventually

pytestmark = pytest.mark.e2e

CHOSEN = {"service": ["checkout"], "instance": [".+"], "slo": [".+"]}  # checkout is a service that calls others
EVERYTHING = {name: [".+"] for name in CHOSEN}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_query_returns_data(stack: Stack, name: str) -> None:
    values = CHOSEN if name == "service" else EVERYTHING
    for panel in json.loads(path_of(name).read_text())["panels"]:
        for target in panel.get("targets", ()):
            if "expr" in target:
                expr = interpolate(target["expr"], values, promql=True)
                eventually(
                    lambda expr=expr: stack.query(expr),
                    within_s=40,
                    what=f"{name}, panel {panel['title']!r} has data: {expr}",
                )


def test_the_traces_that_panels_search_are_found(stack: Stack) -> None:
    searched = {"service": "checkout", "limit": 5, "lookback": "1h"}
    url = stack.url("jaeger", "/api/traces")
    eventually(lambda: stack.http.get(url, params=searched).json()["data"], within_s=40, what="traces of checkout")


def test_the_map_shows_every_service_and_who_calls_it(stack: Stack) -> None:
    def shown() -> bool:
        text = stack.http.get(stack.url("dashboards", "/map"), timeout=20).text
        return all(f"gateway calls {name}: " in text for name in stack.services())

    eventually(shown, within_s=40, every_s=1, what="the map of services")
