"""
Panels of older Grafanas as the ones that took their place.

Strangers' dashboards are full of them: `graph` is `timeseries` since 8, `singlestat` is `stat` or `gauge`, the first
`table` is `table` with transformations, the pie chart was a plugin. What has no counterpart is left out, as Grafana
leaves it out.
Source: Grafana's own migrations, public/app/plugins/panel/{timeseries,stat,table}/migrations.ts and
packages/grafana-ui/src/components/SingleStatShared/SingleStatBaseOptions.ts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
_CALCULATIONS = {
    "current": "lastNotNull", "avg": "mean", "min": "min", "max": "max", "total": "sum", "first": "first",
    "delta": "delta", "diff": "diff", "range": "range",
}  # fmt: skip
_LEGEND_ORDER = ("min", "max", "avg", "current", "total")
_COLOURS = ("green", "orange", "red")
_VALUE_MAP, _RANGE_MAP = 1, 2  # of `mappingType`


def modern(panel: Json) -> Json:
    """The panel itself if it is of no old kind."""
    translate = _OLD.get(str(panel.get("type")))
    return translate(panel) if translate else panel


def _graph(panel: Json) -> Json:
    axes = _list(panel.get("yaxes"))
    left, right = (_axis(axes, 0), _axis(axes, 1))
    custom: dict[str, Any] = {
        "drawStyle": "bars" if panel.get("bars") else "points" if panel.get("lines") is False else "line",
        "fillOpacity": 10 * _number(panel.get("fill"), 1),
        "lineWidth": _number(panel.get("linewidth"), 1),
    }
    if panel.get("steppedLine"):
        custom["lineInterpolation"] = "stepAfter"
    if panel.get("stack"):
        custom["stacking"] = {"mode": "percent" if panel.get("percentage") else "normal"}
    if left.get("logBase") not in (None, 1):
        custom["scaleDistribution"] = {"type": "log", "log": left["logBase"]}
    old = _mapping(panel.get("legend"))
    wanted = [_CALCULATIONS[name] for name in _LEGEND_ORDER if old.get(name)] if old.get("values") else []
    options = {"legend": {"showLegend": old.get("show", True), "calcs": wanted}}
    defaults = {"unit": left.get("format") or "short", "custom": custom, **_bounds(left)}
    overrides = [each for one in _list(panel.get("seriesOverrides")) for each in _series_override(one, right)]
    return {**panel, "type": "timeseries", "options": options, "fieldConfig": _config(defaults, overrides)}


def _axis(axes: Sequence[Json], place: int) -> Json:
    return axes[place] if len(axes) > place else {}


def _bounds(axis: Json) -> dict[str, float]:
    bounds = {name: _number(axis.get(name), None) for name in ("min", "max")}
    return {name: value for name, value in bounds.items() if value is not None}


def _series_override(one: Json, right: Json) -> list[dict[str, Any]]:
    alias = str(one.get("alias") or "")
    matcher = {"id": "byRegexp" if alias.startswith("/") else "byName", "options": alias}
    properties: list[dict[str, Any]] = []
    if one.get("yaxis") == 2:
        properties.append({"id": "custom.axisPlacement", "value": "right"})
        properties.append({"id": "unit", "value": right.get("format") or "short"})
    if one.get("transform") == "negative-Y":
        properties.append({"id": "custom.transform", "value": "negative-Y"})
    if one.get("color"):
        properties.append({"id": "color", "value": {"mode": "fixed", "fixedColor": one["color"]}})
    if "fill" in one:
        properties.append({"id": "custom.fillOpacity", "value": 10 * _number(one["fill"], 1)})
    if one.get("bars"):
        properties.append({"id": "custom.drawStyle", "value": "bars"})
    return [{"matcher": matcher, "properties": properties}] if alias and properties else []


def _singlestat(panel: Json) -> Json:
    gauge = _mapping(panel.get("gauge"))
    dial = bool(gauge.get("show"))
    options = {
        "reduceOptions": {"calcs": [_CALCULATIONS.get(str(panel.get("valueName")), "mean")]},
        "graphMode": "area" if _mapping(panel.get("sparkline")).get("show") else "none",
        "colorMode": "background" if panel.get("colorBackground") else "value",
    }
    defaults: dict[str, Any] = {"unit": panel.get("format") or "none", "mappings": _mappings(panel)}
    if isinstance(panel.get("decimals"), int):
        defaults["decimals"] = panel["decimals"]
    bounds = [_number(part, None) for part in str(panel.get("thresholds") or "").split(",")]
    colours = _items(panel.get("colors")) or list(_COLOURS)
    if panel.get("colorValue") or panel.get("colorBackground") or dial:
        values = [None, *(bound for bound in bounds if bound is not None)]
        steps = [{"value": at, "color": shade} for at, shade in zip(values, colours, strict=False)]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if dial:
        defaults |= {"min": _number(gauge.get("minValue"), 0), "max": _number(gauge.get("maxValue"), 100)}
    return {**panel, "type": "gauge" if dial else "stat", "options": options, "fieldConfig": _config(defaults)}


def _mappings(panel: Json) -> list[dict[str, Any]]:
    if panel.get("mappingType", _VALUE_MAP) == _RANGE_MAP:
        return [
            {
                "type": "range",
                "options": {
                    "from": _number(one.get("from"), None),
                    "to": _number(one.get("to"), None),
                    "result": {"text": one.get("text")},
                },
            }
            for one in _list(panel.get("rangeMaps"))
        ]
    found: list[dict[str, Any]] = []
    for one in _list(panel.get("valueMaps")):
        result = {"text": one.get("text")}
        if one.get("value") == "null":
            found.append({"type": "special", "options": {"match": "null", "result": result}})
        else:
            found.append({"type": "value", "options": {str(one.get("value")): result}})
    return found


def _table(panel: Json) -> Json:
    if "fieldConfig" in panel and "styles" not in panel:
        return {**panel, "type": "table"}
    overrides = [each for style in _list(panel.get("styles")) for each in _style(style)]
    transformations = list(_list(panel.get("transformations")))
    match panel.get("transform"):
        case "timeseries_aggregations":
            columns = [str(one.get("value")) for one in _list(panel.get("columns"))]
            reducers = [_CALCULATIONS.get(name, name) for name in columns] or ["mean"]
            transformations.append({"id": "reduce", "options": {"reducers": reducers}})
        case "table":
            transformations.append({"id": "merge", "options": {}})
    config = _config({"custom": {}}, overrides)
    return {**panel, "type": "table", "transformations": transformations, "fieldConfig": config}


def _style(style: Json) -> list[dict[str, Any]]:
    pattern = str(style.get("pattern") or "")
    matcher = {"id": "byRegexp" if pattern.startswith("/") else "byName", "options": pattern}
    properties: list[dict[str, Any]] = []
    if style.get("type") == "hidden":
        properties.append({"id": "custom.hidden", "value": True})
    if style.get("alias"):
        properties.append({"id": "displayName", "value": style["alias"]})
    if style.get("type") == "number" and style.get("unit"):
        properties.append({"id": "unit", "value": style["unit"]})
        if isinstance(style.get("decimals"), int):
            properties.append({"id": "decimals", "value": style["decimals"]})
    return [{"matcher": matcher, "properties": properties}] if pattern and properties else []


def _pie(panel: Json) -> Json:
    options = {
        "pieType": "donut" if panel.get("pieType") == "donut" else "pie",
        "reduceOptions": {"calcs": [_CALCULATIONS.get(str(panel.get("valueName")), "lastNotNull")]},
    }
    config = _config({"unit": panel.get("format") or "short"})
    return {**panel, "type": "piechart", "options": options, "fieldConfig": config}


def _config(defaults: Json, overrides: Sequence[Json] = ()) -> dict[str, Any]:
    return {"defaults": dict(defaults), "overrides": list(overrides)}


_OLD: dict[str, Callable[[Json], Json]] = {
    "graph": _graph,
    "singlestat": _singlestat,
    "table-old": _table,
    "table": lambda panel: _table(panel) if "styles" in panel else panel,
    "grafana-piechart-panel": _pie,
}


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object, default: float | None) -> Any:
    """Old bounds are numbers, texts of numbers, empty texts and null alike."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return default
