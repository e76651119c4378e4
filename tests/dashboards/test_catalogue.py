"""The committed dashboards are the ones that the code describes, and each panel can be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collector.query.promql.engine import parse
from dashboards.catalogue import DASHBOARDS, path_of, rendered


def model_of(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path_of(name).read_text())
    return loaded


@pytest.mark.parametrize("name", DASHBOARDS)
def test_committed_json_is_what_the_code_builds(name: str) -> None:
    assert path_of(name).read_text() == rendered(name), "run: python -m dashboards.catalogue"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_has_a_title_a_description_and_a_unit(name: str) -> None:
    for panel in model_of(name)["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_parses_as_promql(name: str) -> None:
    for panel in model_of(name)["panels"]:
        for target in panel["targets"]:
            parse(target["expr"].replace("$service", ".+"))
