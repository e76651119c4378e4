"""
A dashboard as the viewer draws it.

Read from Grafana's JSON, which in the wild is full of what older versions, other plugins and people left in it: what is
missing gets Grafana's default, what is not understood is kept and named where it is drawn.
Source: grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboards.errors import DashboardError
from dashboards.viewer.grafana.legacy import modern

MAX_PANELS = 500
COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel."""

    expr: str
    legend: str
    ref_id: str
    instant: bool
    format: str  # time_series, table, heatmap
    kind: str  # the data source's type: prometheus, jaeger, …
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    id: int
    kind: str
    title: str
    description: str
    x: int
    y: int
    width: int  # of COLUMNS
    height: int  # grid rows
    targets: tuple[Target, ...]
    options: Mapping[str, Any]
    defaults: Mapping[str, Any]  # fieldConfig.defaults
    overrides: tuple[Mapping[str, Any], ...]
    transformations: tuple[Mapping[str, Any], ...]
    links: tuple[Mapping[str, Any], ...]
    repeat: str
    raw: Mapping[str, Any]

    @property
    def custom(self) -> Mapping[str, Any]:
        return _mapping(self.defaults.get("custom"))


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    label: str
    kind: str  # query, custom, interval, textbox, constant, datasource
    query: str
    current: tuple[str, ...]
    multi: bool
    include_all: bool
    all_value: str
    regex: str
    hidden: bool


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    description: str
    tags: tuple[str, ...]
    panels: tuple[Panel, ...]  # rows among them; those of a collapsed row follow it
    variables: tuple[Variable, ...]
    time_from: str
    time_to: str
    refresh: str
    links: tuple[Mapping[str, Any], ...]
    raw: Mapping[str, Any] = field(repr=False)


def parse_dashboard(document: object) -> Dashboard:
    """
    Args:
        document: The dashboard itself, or an envelope `{"dashboard": …}` as the API and exports have it.

    Raises:
        DashboardError: not a dashboard.
    """
    raw = _mapping(document)
    raw = _mapping(raw["dashboard"]) if "dashboard" in raw else raw
    if not raw.get("title") or not isinstance(raw.get("panels", raw.get("rows")), list):
        raise DashboardError("not a Grafana dashboard: it needs a title and panels")
    panels = _flattened(raw["panels"] if isinstance(raw.get("panels"), list) else _of_old_rows(raw["rows"]))
    if len(panels) > MAX_PANELS:
        raise DashboardError(f"{len(panels)} panels, the limit is {MAX_PANELS}")
    inputs = {f"${{{each.get('name')}}}": each for each in _list(raw.get("__inputs"))}
    time = _mapping(raw.get("time"))
    return Dashboard(
        uid=str(raw.get("uid") or ""),
        title=str(raw["title"]),
        description=str(raw.get("description") or ""),
        tags=tuple(str(tag) for tag in _items(raw.get("tags"))),
        panels=tuple(_panel(each, number, inputs) for number, each in enumerate(panels, start=1)),
        variables=tuple(
            _variable(each) for each in _list(_mapping(raw.get("templating")).get("list")) if each.get("name")
        ),
        time_from=str(time.get("from") or "now-1h"),
        time_to=str(time.get("to") or "now"),
        refresh=str(raw.get("refresh") or ""),
        links=tuple(_list(raw.get("links"))),
        raw=raw,
    )


def _flattened(panels: Sequence[Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for panel in panels:
        if isinstance(panel, dict):
            found.append(panel)
            if panel.get("type") == "row":
                found += list(_list(panel.get("panels")))
    return found


def _of_old_rows(rows: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Before schema version 16, panels stood in rows and had a span of 12 and no position."""
    found: list[Mapping[str, Any]] = []
    y = 0
    for row in _list(rows):
        x, height = 0, 7
        for panel in _list(row.get("panels")):
            width = int(_number(panel.get("span"), 12) * 2)
            if x + width > COLUMNS:
                x, y = 0, y + height
            found.append({**panel, "gridPos": {"x": x, "y": y, "w": width, "h": height}})
            x += width
        y += height
    return found


def _panel(found: Mapping[str, Any], number: int, inputs: Mapping[str, Mapping[str, Any]]) -> Panel:
    raw = modern(found)
    grid = _mapping(raw.get("gridPos"))
    kind = str(raw.get("type") or "text")
    config = _mapping(raw.get("fieldConfig"))
    source = raw.get("datasource")
    return Panel(
        id=int(_number(raw.get("id"), number)),
        kind=kind,
        title=str(raw.get("title") or ""),
        description=str(raw.get("description") or ""),
        x=max(0, min(COLUMNS - 1, int(_number(grid.get("x"), 0)))),
        y=max(0, int(_number(grid.get("y"), 0))),
        width=max(1, min(COLUMNS, int(_number(grid.get("w"), COLUMNS)))),
        height=max(1, min(100, int(_number(grid.get("h"), 1 if kind == "row" else 8)))),
        targets=tuple(
            _target(each, place, source, inputs)
            for place, each in enumerate(_list(raw.get("targets")))
            if not each.get("hide")
        ),
        options=_mapping(raw.get("options")),
        defaults=dict(_mapping(config.get("defaults"))),
        overrides=tuple(_list(config.get("overrides"))),
        transformations=tuple(_list(raw.get("transformations"))),
        links=tuple(_list(raw.get("links"))),
        repeat=str(raw.get("repeat") or ""),
        raw=raw,
    )


def _target(
    raw: Mapping[str, Any], place: int, panel_source: object, inputs: Mapping[str, Mapping[str, Any]]
) -> Target:
    source = raw.get("datasource") or panel_source
    if isinstance(source, str) and source in inputs:  # an export's "${DS_PROMETHEUS}"
        source = {"type": inputs[source].get("pluginId")}
    kind = str(_mapping(source).get("type") or ("prometheus" if "expr" in raw else ""))
    return Target(
        expr=str(raw.get("expr") or ""),
        legend=str(raw.get("legendFormat") or ""),
        ref_id=str(raw.get("refId") or chr(ord("A") + place % 26)),
        instant=bool(raw.get("instant")),
        format=str(raw.get("format") or "time_series"),
        kind=kind or "prometheus",
        raw=raw,
    )


def _variable(raw: Mapping[str, Any]) -> Variable:
    query = raw.get("query")
    if isinstance(query, dict):
        query = query.get("query")
    current = _mapping(raw.get("current")).get("value")
    values = _items(current) if isinstance(current, list) else ([] if current in (None, "") else [current])
    return Variable(
        name=str(raw["name"]),
        label=str(raw.get("label") or raw["name"]),
        kind=str(raw.get("type") or "custom"),
        query=str(query or raw.get("definition") or ""),
        current=tuple(str(value) for value in values),
        multi=bool(raw.get("multi")),
        include_all=bool(raw.get("includeAll")),
        all_value=str(raw.get("allValue") or ""),
        regex=str(raw.get("regex") or ""),
        hidden=raw.get("hide") == 2,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object, default: float) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return default
