"""
Transformations of a panel's data, between the queries and the drawing.

Source: grafana.com/docs/grafana/latest/panels-visualizations/query-transform-data/transform-data; the ids and options
are those of packages/grafana-data/src/transformations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.panels import reduction
from dashboards.viewer.panels.field import configured
from dashboards.viewer.panels.frames import Frame
from dashboards.viewer.panels.table import TIME, Cell, Column, Table

Options = Mapping[str, Any]


def transformed(tables: Sequence[Table], transformations: Sequence[Mapping[str, Any]]) -> tuple[list[Table], list[str]]:
    """The tables after all of them, in order, and the ids of those that are not understood, which are left out."""
    found = list(tables)
    unknown: list[str] = []
    for each in transformations:
        kind = str(each.get("id"))
        if each.get("disabled"):
            continue
        apply = _KNOWN.get(kind)
        if apply is None:
            unknown.append(kind)
            continue
        options = each.get("options")
        found = apply(found, options if isinstance(options, dict) else {})
    return found, unknown


def _merge(tables: list[Table], options: Options) -> list[Table]:
    """One table; rows that agree in every column that they share become one."""
    present = [table for table in tables if table.columns]
    if len(present) < 2:
        return present
    names = list(dict.fromkeys(column.name for table in present for column in table.columns))
    columns = {name: next(c for t in present for c in t.columns if c.name == name) for name in names}
    shared = [name for name in names if name != TIME and all(table.column(name) for table in present)]
    merged: dict[tuple[Cell, ...], dict[str, Cell]] = {}
    for number, table in enumerate(present):
        for row in range(table.height):
            cells = {column.name: column.cells[row] for column in table.columns}
            key = tuple(cells[name] for name in shared) if shared else (float(number), float(row))
            whole = merged.setdefault(key, {})
            clash = any(
                name not in shared and name != TIME and whole.get(name, cells[name]) != cells[name] for name in cells
            )
            target = merged.setdefault((*key, float(number), float(row)), {}) if clash else whole
            target.update({name: cell for name, cell in cells.items() if target.get(name) is None})
    rows = list(merged.values())
    return [Table(tuple(replace(columns[name], cells=tuple(row.get(name) for row in rows)) for name in names))]


def _organize(tables: list[Table], options: Options) -> list[Table]:
    excluded, order, names = (_mapping(options.get(key)) for key in ("excludeByName", "indexByName", "renameByName"))

    def organized(table: Table) -> Table:
        kept = [column for column in table.columns if not excluded.get(column.name)]
        kept.sort(key=lambda column: _place(order.get(column.name)))
        return Table(tuple(replace(column, name=str(names.get(column.name) or column.name)) for column in kept))

    return [organized(table) for table in tables]


def _rename(tables: list[Table], options: Options) -> list[Table]:
    pattern = _pattern(options.get("regex"))
    if pattern is None:
        return tables
    replacement = re.sub(r"\$(\d+)", r"\\g<\1>", str(options.get("renamePattern") or "").replace("\\", "\\\\"))

    def renamed(column: Column) -> Column:
        try:
            return replace(column, name=pattern.sub(replacement, column.name))
        except (re.error, IndexError):  # the replacement names a group that the pattern lacks
            return column

    return [Table(tuple(map(renamed, table.columns))) for table in tables]


def _reduce(tables: list[Table], options: Options) -> list[Table]:
    """`seriesToRows`: a row for each field; `reduceFields`: one row, the fields stay."""
    wanted = [str(each) for each in options.get("reducers") or ["max"]]
    fields = [column for table in tables for column in table.columns if column.name != TIME and column.is_number]
    if options.get("mode") == "reduceFields":
        several = len(wanted) > 1
        columns = [
            Column(
                f"{reduction.NAMES.get(name, name)} {field.name}" if several else field.name,
                (_reduced(field, name),),
                field.ref_id,
            )
            for field in fields
            for name in wanted
        ]
        return [Table(tuple(columns))]
    columns = [Column("Field", tuple(field.name for field in fields))]
    columns += [
        Column(reduction.NAMES.get(name, name), tuple(_reduced(field, name) for field in fields)) for name in wanted
    ]
    return [Table(tuple(columns))]


def _reduced(field: Column, calculation: str) -> float | None:
    return reduction.reduced([(0.0, cell) for cell in field.cells if isinstance(cell, float)], calculation)


def _filter_by_value(tables: list[Table], options: Options) -> list[Table]:
    filters = [each for each in options.get("filters") or [] if isinstance(each, dict)]
    every, include = options.get("match") == "all", options.get("type", "include") == "include"
    if not filters:
        return tables

    def kept(table: Table) -> Table:
        tests = [
            (column, _mapping(each.get("config")))
            for each in filters
            if (column := table.column(str(each.get("fieldName")))) is not None
        ]
        if not tests:
            return table
        combine = all if every else any
        rows = [
            row
            for row in range(table.height)
            if combine(_fits(column.cells[row], config) for column, config in tests) == include
        ]
        return table.rows_kept(rows)

    return [kept(table) for table in tables]


def _fits(cell: Cell, config: Mapping[str, Any]) -> bool:
    kind, options = config.get("id"), _mapping(config.get("options"))
    limit = options.get("value")
    empty = cell is None or (isinstance(cell, float) and math.isnan(cell))
    match kind:
        case "isNull":
            return empty
        case "isNotNull":
            return not empty
        case "equal":
            return _same(cell, limit)
        case "notEqual":
            return not _same(cell, limit)
        case "regex":
            pattern = _pattern(limit)
            return pattern is not None and pattern.search(_text(cell)) is not None
        case "substring":
            return str(limit).lower() in _text(cell).lower()
    value, bound = _number(cell), _number(limit)
    low, high = _number(options.get("from")), _number(options.get("to"))
    if value is None:
        return False
    match kind:
        case "greater":
            return bound is not None and value > bound
        case "greaterOrEqual":
            return bound is not None and value >= bound
        case "lower":
            return bound is not None and value < bound
        case "lowerOrEqual":
            return bound is not None and value <= bound
        case "between":
            return low is not None and high is not None and low <= value <= high
    return False


def _sort(tables: list[Table], options: Options) -> list[Table]:
    sort = options.get("sort")
    first = sort[0] if isinstance(sort, list) and sort and isinstance(sort[0], dict) else {}

    def sorted_(table: Table) -> Table:
        column = table.column(str(first.get("field")))
        if column is None:
            return table
        keyed = [(_sort_key(cell), row) for row, cell in enumerate(column.cells)]
        full = sorted((each for each in keyed if each[0] is not None), reverse=bool(first.get("desc")))
        return table.rows_kept([row for _, row in full] + [row for key, row in keyed if key is None])

    return [sorted_(table) for table in tables]


def _sort_key(cell: Cell) -> tuple[int, float, str] | None:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    return (0, cell, "") if isinstance(cell, float) else (1, 0.0, cell)


def _fields_by_name(tables: list[Table], options: Options) -> list[Table]:
    def test(which: object) -> Callable[[str], bool] | None:
        chosen = _mapping(which)
        names, pattern = chosen.get("names"), _pattern(chosen.get("pattern"))
        if not names and pattern is None:
            return None
        listed = {str(name) for name in names} if isinstance(names, list) else set()
        return lambda name: name in listed or (pattern is not None and pattern.search(name) is not None)

    include, exclude = test(options.get("include")), test(options.get("exclude"))

    def kept(name: str) -> bool:
        return (include is None or include(name)) and not (exclude is not None and exclude(name))

    return [Table(tuple(column for column in table.columns if kept(column.name))) for table in tables]


def _limit(tables: list[Table], options: Options) -> list[Table]:
    count = _number(options.get("limitField"))
    most = 10 if count is None else max(0, int(count))
    return [table.rows_kept(range(min(table.height, most))) for table in tables]


def _join(tables: list[Table], options: Options) -> list[Table]:
    """Side by side, by a field that all have: the time, unless another is named. An outer join."""
    by = str(options.get("byField") or TIME)
    keyed = [(table, key) for table in tables if (key := table.column(by)) is not None]
    if len(keyed) < 2:
        return tables
    keys = list(dict.fromkeys(cell for _, key in keyed for cell in key.cells))
    if by == TIME:
        keys.sort(key=lambda cell: _number(cell) or 0.0)
    columns = [Column(by, tuple(keys))]
    for table, key in keyed:
        row_of = {cell: row for row, cell in enumerate(key.cells)}
        columns += [
            replace(column, cells=tuple(column.cells[row_of[cell]] if cell in row_of else None for cell in keys))
            for column in table.columns
            if column.name != by
        ]
    return [Table(tuple(columns))]


_KNOWN: dict[str, Callable[[list[Table], Options], list[Table]]] = {
    "merge": _merge,
    "organize": _organize,
    "renameByRegex": _rename,
    "reduce": _reduce,
    "filterByValue": _filter_by_value,
    "filterFieldsByName": _fields_by_name,
    "sortBy": _sort,
    "limit": _limit,
    "joinByField": _join,
    "seriesToColumns": _join,
}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _place(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.inf


def _pattern(text: object) -> re.Pattern[str] | None:
    """JavaScript's `/…/flags`, or the expression alone; None if there is none, or it is broken."""
    if not isinstance(text, str) or not text:
        return None
    inner = text[1:].rpartition("/")[0] if text.startswith("/") and text.rfind("/") > 0 else text
    try:
        return re.compile(inner)
    except re.error:
        return None


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def _text(cell: Cell) -> str:
    return "" if cell is None else f"{cell:g}" if isinstance(cell, float) else cell


def _same(cell: Cell, wanted: object) -> bool:
    number, bound = _number(cell), _number(wanted)
    return number == bound if number is not None and bound is not None else _text(cell) == str(wanted)


def renamed(panel: Panel, frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
    """
    Series after those of the panel's transformations that names alone decide, and the ids of the others.

    A table applies all of them (`transformed`).
    """
    found = list(frames)
    unknown: list[str] = []
    for each in panel.transformations:
        options = each.get("options")
        if each.get("disabled") or not isinstance(options, dict):
            continue
        kind = str(each.get("id"))
        if kind not in ("renameByRegex", "organize", "filterFieldsByName"):
            unknown.append(kind)
            continue
        kept = []
        for frame in found:
            tables, _ = transformed([Table((Column(frame.config.name, (), frame.ref_id),))], [each])
            if tables[0].columns:
                name = tables[0].columns[0].name
                config = configured(panel, name, frame.ref_id) if name != frame.config.name else frame.config
                kept.append(Frame(config, frame.labels, frame.points, frame.ref_id))
        found = kept
    return found, unknown
