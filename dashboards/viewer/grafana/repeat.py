"""
Panels and rows that are repeated for every value of a variable.

Source: grafana.com/docs/grafana/latest/panels-visualizations/configure-panel-options/#configure-repeating-panels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboards.viewer.grafana.dashboard import COLUMNS, MAX_PANELS, Panel

MAX_PER_ROW = 4  # Grafana's default


@dataclass(frozen=True, slots=True)
class Scoped:
    """A panel, and the variable's value that stands in this copy of it."""

    panel: Panel
    scope: Mapping[str, Sequence[str]]


def repeated(panels: Sequence[Panel], values: Mapping[str, Sequence[str]]) -> list[Scoped]:
    """
    The panels as they are laid out; what stands below a repeated one moves down. At most MAX_PANELS.

    Args:
        values: What is chosen, ALL already replaced by everything there is.
    """
    scoped = _of_panels(_of_rows([Scoped(panel, {}) for panel in panels], values), values)
    return _compacted(scoped[:MAX_PANELS])


def _compacted(panels: Sequence[Scoped]) -> list[Scoped]:
    """Each as far up as it goes, in the order of rows: as Grafana's grid does it, so that nothing gapes."""
    reached = [0] * COLUMNS  # the first free grid row of each column
    found = []
    for each in sorted(panels, key=lambda one: (one.panel.y, one.panel.x)):
        panel = each.panel
        across = slice(0, COLUMNS) if panel.kind == "row" else slice(panel.x, min(COLUMNS, panel.x + panel.width))
        y = max(reached[across])
        reached[across] = [y + panel.height] * len(reached[across])
        found.append(Scoped(dataclasses.replace(panel, y=y), each.scope) if y != panel.y else each)
    return found


def _of_rows(panels: Sequence[Scoped], values: Mapping[str, Sequence[str]]) -> list[Scoped]:
    found: list[Scoped] = []
    rows = sorted(each.panel.y for each in panels if each.panel.kind == "row")
    down = 0
    last: Panel | None = None
    for each in sorted(panels, key=lambda one: (one.panel.y, one.panel.kind != "row", one.panel.x)):
        panel = each.panel
        if panel.kind != "row" or not values.get(panel.repeat):
            if last is None or panel.kind == "row" or panel.y <= last.y:
                last = None
                found.append(Scoped(_moved(panel, down), {}))
            continue
        end = next((y for y in rows if y > panel.y), None)
        block = [one.panel for one in panels if panel.y < one.panel.y and (end is None or one.panel.y < end)]
        height = max([one.y + one.height for one in block], default=panel.y + 1) - panel.y
        for number, value in enumerate(values[panel.repeat]):
            scope = {panel.repeat: [value]}
            found += [Scoped(_moved(one, down + number * height), scope) for one in (panel, *block)]
        down += (len(values[panel.repeat]) - 1) * height
        last = panel
    return found


def _of_panels(panels: Sequence[Scoped], values: Mapping[str, Sequence[str]]) -> list[Scoped]:
    found: list[Scoped] = []
    pushed: list[tuple[int, int]] = []  # from this row on, so many rows further down
    for each in panels:
        panel = each.panel
        down = sum(by for since, by in pushed if panel.y >= since)
        chosen = [] if panel.kind == "row" or not panel.repeat else list(values.get(panel.repeat, ()))
        if not chosen:
            found.append(Scoped(_moved(panel, down), each.scope))
            continue
        if panel.raw.get("repeatDirection") == "v":
            width, per_row = panel.width, 1
        else:
            most = panel.raw.get("maxPerRow")
            per_row = min(len(chosen), most if isinstance(most, int) and most > 0 else MAX_PER_ROW)
            width = COLUMNS // per_row
        for number, value in enumerate(chosen):
            x = panel.x if per_row == 1 else number % per_row * width
            y = panel.y + down + number // per_row * panel.height
            copy = dataclasses.replace(panel, x=x, y=y, width=width)
            found.append(Scoped(copy, {**each.scope, panel.repeat: [value]}))
        lines = math.ceil(len(chosen) / per_row)
        if lines > 1:
            pushed.append((panel.y + panel.height, (lines - 1) * panel.height))
    return found


def _moved(panel: Panel, down: int) -> Panel:
    return dataclasses.replace(panel, y=panel.y + down) if down else panel
