"""The field configuration of one series: the panel's defaults, and the overrides that match it."""

from __future__ import annotations

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
    custom: Mapping[str, Any]
    defaults: Mapping[str, Any]  # all that is in force, for thresholds and mappings


def configured(panel: Panel, name: str, ref_id: str) -> FieldConfig:
    """
    Args:
        name: The series' legend.
    """
    settings: dict[str, Any] = dict(panel.defaults)
    custom: dict[str, Any] = dict(panel.custom)
    for override in panel.overrides:
        if _matches(override.get("matcher"), name, ref_id):
            for entry in override.get("properties") or []:
                if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                    key = entry["id"]
                    (custom if key.startswith("custom.") else settings)[key.removeprefix("custom.")] = entry.get(
                        "value"
                    )
    hide_from = custom.get("hideFrom")
    return FieldConfig(
        name=str(settings.get("displayName") or name),
        unit=str(settings.get("unit") or ""),
        decimals=_integer(settings.get("decimals")),
        minimum=_number(settings.get("min")),
        maximum=_number(settings.get("max")),
        colour=_fixed(settings.get("color")),
        right_axis=custom.get("axisPlacement") == "right",
        hidden=isinstance(hide_from, dict) and bool(hide_from.get("viz")),
        custom=custom,
        defaults=settings,
    )


def mapped(value: float | None, defaults: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The text and the colour that value mappings give, None for what they leave alone."""
    for mapping in defaults.get("mappings") or []:
        options = mapping.get("options") if isinstance(mapping, dict) else None
        if not isinstance(options, dict):
            continue
        found: object = None
        match mapping.get("type"):
            case "value" if value is not None:
                found = options.get(f"{value:g}")
            case "range" if value is not None:
                low, high = _number(options.get("from")), _number(options.get("to"))
                inside = (low is None or value >= low) and (high is None or value <= high)
                found = options.get("result") if inside else None
            case "special" if value is None and options.get("match") in ("null", "null+nan", "empty"):
                found = options.get("result")
        if isinstance(found, dict):
            shade = found.get("color")
            return found.get("text"), None if shade is None else colour(str(shade))
    return None, None


def _matches(matcher: object, name: str, ref_id: str) -> bool:
    if not isinstance(matcher, dict):
        return False
    options = matcher.get("options")
    match matcher.get("id"):
        case "byName":
            return bool(options == name)
        case "byRegexp" if isinstance(options, str):
            pattern = options[1:].rpartition("/")[0] if options.startswith("/") else options
            try:
                return re.search(pattern, name) is not None
            except re.error:
                return False
        case "byFrameRefID":
            return bool(options == ref_id)
        case "byType":
            return bool(options == "number")
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
