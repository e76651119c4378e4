"""Tables on the page."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Mapping

from nicegui import ui

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.grafana.interpolation import Values
from dashboards.viewer.grafana.links import Pointed, link_of
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.panels.colours import as_text, steps_of, text_on, threshold_colour
from dashboards.viewer.panels.field import FieldConfig, configured, mapped
from dashboards.viewer.panels.frames import Answer
from dashboards.viewer.panels.table import TIME, Cell, Column, Table, tables_of
from dashboards.viewer.panels.transformations import transformed

MAX_ROWS = 500


class TableView:
    """Labels and values as rows; numbers at the right."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._content = ui.html("", sanitize=False).classes("table").props("tabindex=0")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        found, unknown = tables_shown(self._panel, answer)
        table = found[0] if found else Table(())
        said = f"The viewer does not apply the transformation “{', '.join(unknown)}”." if unknown else ""
        if len(found) > 1:
            said += f" The first of {len(found)} tables is shown."
        note = f'<div class="none">{html.escape(said)}</div>' if said else ""
        self._content.content = note + (
            drawn(self._panel, table, values, answer.span, dark=dark)
            if table.height
            else '<div class="none">No data</div>'
        )


def tables_shown(panel: Panel, answer: Answer) -> tuple[list[Table], list[str]]:
    """
    What is left after the panel's transformations, and the ids of those that are not understood.

    Without transformations, tables of several queries are put side by side, as a table that nobody arranged reads best.
    """
    as_table = all(target.instant or target.format == "table" for target in panel.targets)
    asked = panel.transformations or ({"id": "merge"}, {"id": "organize", "options": {"excludeByName": {TIME: True}}})
    if not as_table and not any(each.get("id") in ("reduce", "joinByField", "seriesToColumns") for each in asked):
        as_table = True  # the newest value of each series
    found, unknown = transformed(tables_of(answer.frames, as_table=as_table), asked)
    return [table for table in found if table.columns], unknown


def drawn(panel: Panel, table: Table, values: Values, span: Span, *, dark: bool) -> str:
    columns = [
        (column, configured(panel, column.name, column.ref_id, number=column.is_number)) for column in table.columns
    ]
    columns = [(column, config) for column, config in columns if not config.hidden and column.name != "__name__"]
    heads = "".join(f"<th{_number_class(column)}>{html.escape(config.name)}</th>" for column, config in columns)
    lines = []
    for row in range(min(table.height, MAX_ROWS)):
        labels = {column.name: _plain(column.cells[row]) for column in table.columns}
        cells = "".join(_cell(column, config, row, labels, values, span, dark=dark) for column, config in columns)
        lines.append(f"<tr>{cells}</tr>")
    cut = table.height - MAX_ROWS
    more = f'<div class="none">{cut} more rows are not shown</div>' if cut > 0 else ""
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>{more}"


def _number_class(column: Column) -> str:
    return ' class="number"' if column.is_number else ""


def _cell(
    column: Column,
    config: FieldConfig,
    row: int,
    labels: Mapping[str, str],
    values: Values,
    span: Span,
    *,
    dark: bool,
) -> str:
    cell = column.cells[row]
    text, shade = mapped(cell, config.defaults)
    if text is None:
        text = written(column, config, cell)
    if shade is None and isinstance(cell, float):
        shade = threshold_colour(cell, steps_of(config.defaults)) if column.name != TIME else None
    style = ""
    if shade not in (None, "inherit", "transparent"):
        whole = config.cell_kind in ("color-background", "basic-background")
        style = f"background:{shade};color:{text_on(shade)}" if whole else f"color:{as_text(shade, dark=dark)}"
    inside = html.escape(text)
    link = link_of(config.defaults.get("links"), Pointed(config.name, labels, _plain(cell)), values, span)
    if link is not None:
        inside = f'<a href="{html.escape(link[1])}" title="{html.escape(link[0])}">{inside}</a>'
    styled = f' style="{style}"' if style else ""
    return f"<td{_number_class(column)}{styled}>{inside}</td>"


def written(column: Column, config: FieldConfig, cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if column.name == TIME:
        return dt.datetime.fromtimestamp(cell / 1000, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return format_value(cell, "" if config.unit == "string" else config.unit, config.decimals)


def _plain(cell: Cell) -> str:
    return "" if cell is None else f"{cell:g}" if isinstance(cell, float) else cell
