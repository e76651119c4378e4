"""The field configuration of one series: the panel's defaults, and the overrides that match it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.panels.colours import colour


@dataclass(frozen=True, slots=True)
class FieldConfig:
    name: str  # what is shown
    unit: str
    decimals: int | None
    minimum: float | None
    maximum: float | None
    colour: str | None  # fixed, else by the palette or the thresholds
    right_axis: bool
    hidden: bool
    cell_kind: str  # of a table: auto, color-text, color-background, …
    custom: Mapping[str, Any]
    defaults: Mapping[str, Any]  # all that is in force, for thresholds and mappings


def configured(panel: Panel, name: str, ref_id: str, *, number: bool = True) -> FieldConfig:
    """
    Args:
        name: The series' legend, or the column's name.
        number: Whether it holds numbers; a table's columns of text do not.
    """
    settings: dict[str, Any] = dict(panel.defaults)
    custom: dict[str, Any] = dict(panel.custom)
    for override in panel.overrides:
        if _matches(override.get("matcher"), name, ref_id, number=number):
            for entry in override.get("properties") or []:
                if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                    key = entry["id"]
                    (custom if key.startswith("custom.") else settings)[key.removeprefix("custom.")] = entry.get(
                        "value"
                    )
    hide_from, cells = custom.get("hideFrom"), custom.get("cellOptions")
    return FieldConfig(
        name=str(settings.get("displayName") or name),
        unit=str(settings.get("unit") or ""),
        decimals=_integer(settings.get("decimals")),
        minimum=_number(settings.get("min")),
        maximum=_number(settings.get("max")),
        colour=_fixed(settings.get("color")),
        right_axis=custom.get("axisPlacement") == "right",
        hidden=(isinstance(hide_from, dict) and bool(hide_from.get("viz"))) or custom.get("hidden") is True,
        cell_kind=str((cells.get("type") if isinstance(cells, dict) else custom.get("displayMode")) or "auto"),
        custom=custom,
        defaults=settings,
    )


def mapped(value: float | str | None, defaults: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The text and the colour that value mappings give, None for what they leave alone."""
    number = value if isinstance(value, float | int) else None
    plain = f"{number:g}" if number is not None else value
    for mapping in defaults.get("mappings") or []:
        options = mapping.get("options") if isinstance(mapping, dict) else None
        if not isinstance(options, dict):
            continue
        found: object = None
        match mapping.get("type"):
            case "value" if plain is not None:
                found = options.get(str(plain))
            case "range" if number is not None:
                low, high = _number(options.get("from")), _number(options.get("to"))
                inside = (low is None or number >= low) and (high is None or number <= high)
                found = options.get("result") if inside else None
            case "regex" if plain is not None:
                found = options.get("result") if _found(options.get("pattern"), str(plain)) else None
            case "special":
                found = options.get("result") if _is_special(value, options.get("match")) else None
        if isinstance(found, dict):
            shade = found.get("color")
            return found.get("text"), None if shade is None else colour(str(shade))
    return None, None


def _is_special(value: float | str | None, kind: object) -> bool:
    not_a_number = isinstance(value, float) and math.isnan(value)
    match kind:
        case "null":
            return value is None
        case "nan":
            return not_a_number
        case "null+nan":
            return value is None or not_a_number
        case "empty":
            return value in (None, "")
        case "true" | "false":
            return value == (1.0 if kind == "true" else 0.0)
    return False


def _found(pattern: object, text: str) -> bool:
    if not isinstance(pattern, str):
        return False
    inner = pattern[1:].rpartition("/")[0] if pattern.startswith("/") else pattern
    try:
        return re.search(inner, text) is not None
    except re.error:
        return False


def _matches(matcher: object, name: str, ref_id: str, *, number: bool) -> bool:
    if not isinstance(matcher, dict):
        return False
    options = matcher.get("options")
    match matcher.get("id"):
        case "byName":
            return bool(options == name)
        case "byRegexp":
            return _found(options, name)
        case "byFrameRefID":
            return bool(options == ref_id)
        case "byType":
            return bool(options == ("number" if number else "string"))
        case "byNames" if isinstance(options, dict):
            listed = name in (options.get("names") or [])
            return listed != (options.get("mode") == "exclude")
    return False


def _fixed(value: object) -> str | None:
    if isinstance(value, dict) and value.get("mode") == "fixed" and value.get("fixedColor"):
        return colour(str(value["fixedColor"]))
    return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _integer(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
