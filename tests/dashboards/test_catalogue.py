"""The committed dashboards are the ones that the code describes, and each panel can be read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from grafana_model import faults

from collector.query.promql.engine import parse
from dashboards.catalogue import DASHBOARDS, path_of, rendered
from dashboards.shapes import WIDTH
from dashboards.viewer.grafana.interpolation import interpolate


def model_of(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path_of(name).read_text())
    return loaded


@pytest.mark.parametrize("name", DASHBOARDS)
def test_committed_json_is_what_the_code_builds(name: str) -> None:
    assert path_of(name).read_text() == rendered(name), "run: python -m dashboards.catalogue"


def panels_of(name: str) -> list[dict[str, Any]]:
    """Those that ask something: neither rows nor texts."""
    return [panel for panel in model_of(name)["panels"] if panel["type"] not in ("row", "text")]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_has_a_title_a_description_and_a_unit(name: str) -> None:
    for panel in panels_of(name):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_parses_as_promql(name: str) -> None:
    asked = [target["expr"] for panel in panels_of(name) for target in panel["targets"] if "expr" in target]
    assert asked
    for expr in asked:
        parse(interpolate(expr, {key: [".+"] for key in ("service", "instance", "slo")}, promql=True))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_dashboard_leads_to_the_others(name: str) -> None:
    model = model_of(name)
    assert [(link["type"], link["tags"]) for link in model["links"]] == [("dashboards", model["tags"])]


def test_uids_differ_and_data_links_lead_to_dashboards_that_there_are() -> None:
    uids = [model_of(name)["uid"] for name in DASHBOARDS]
    assert len(set(uids)) == len(uids)
    linked = set(re.findall(r'"url": "/d/([a-z-]+)', "".join(map(rendered, DASHBOARDS))))
    assert linked
    assert linked <= set(uids)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap_and_stay_on_the_grid(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in model_of(name)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_json_keeps_to_grafanas_published_schema(name: str) -> None:
    assert faults(model_of(name)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda model: model["panels"][0].update(wdth=3), "panels[0].wdth: the schema has no such field"),
        (lambda model: model["panels"][0]["gridPos"].update(w="wide"), "grid_pos.w: 'wide' is no int"),
        (lambda model: model["panels"][0]["options"].update(graphMode="curve"), "'curve' is no BigValueGraphMode"),
        (lambda model: model["panels"][0]["targets"][0].update(expr=4), "targets[0].expr: 4 is no str"),
        (lambda model: model.update(style="grey"), "'grey' is none of"),
        (lambda model: model["panels"][0].update(options=None), "cannot be read"),
    ],
)
def test_what_the_schema_does_not_know_is_found_with_its_place(change: Any, told: str) -> None:
    model = model_of("fleet")
    change(model)
    found = faults(model)
    assert len(found) == 1
    assert told in found[0]
