"""Operators between two instant vectors, or a vector and a scalar (prometheus/promql/engine.go, VectorBinop)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from collector.model.series import METRIC_NAME, Labels, labels_of
from collector.query.errors import ExecutionError
from collector.query.promql import native
from collector.query.promql.annotations import Annotations
from collector.query.promql.native import Histograms
from collector.query.promql.tree import COMPARISONS, Binary, Many, Matching
from collector.query.promql.values import Floats, Frame, Mask, display, empty_frame, merged, stacked

_ARITHMETIC: dict[str, Callable[..., Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
_COMPARISON: dict[str, Callable[..., Mask]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


def scalars(node: Binary, left: Floats, right: Floats) -> Floats:
    """Both [k]. Comparisons give 0 and 1: the parser lets them pass with `bool` only."""
    if node.operator in COMPARISONS:
        return _COMPARISON[node.operator](left, right).astype(np.float64)
    return _ARITHMETIC[node.operator](left, right)


def negated(frame: Frame) -> Frame:
    floats = frame.with_values(-frame.values)
    if frame.cells is None:
        return floats.without_names()
    rows, steps, table = frame.histograms()
    negative = Frame(frame.labels, -frame.values, frame.present)
    return negative.with_histograms(rows, steps, table.scaled(-1.0).as_gauges()).without_names()


def vector_and_scalar(node: Binary, left: Frame | Floats, right: Frame | Floats, notes: Annotations) -> Frame:
    """A comparison keeps the vector's elements, whichever side it is on."""
    if isinstance(left, Frame):
        frame, operands = left, (left.values, right)
    elif isinstance(right, Frame):
        frame, operands = right, (left, right.values)
    else:
        raise TypeError("one of the operands is a vector")
    changes_schema = node.operator not in COMPARISONS
    floats = frame.floats()
    if changes_schema:
        result = floats.with_values(_ARITHMETIC[node.operator](*operands))
    elif node.returns_bool:
        result = floats.with_values(_COMPARISON[node.operator](*operands).astype(np.float64))
    else:
        result = floats.where(floats.present & _COMPARISON[node.operator](*operands))
    if frame.cells is not None and frame.is_histogram.any():
        scalar = right if isinstance(left, Frame) else left
        if not isinstance(scalar, np.ndarray):
            raise TypeError("the other operand is a scalar")
        result = _with_scaled(node, frame, scalar, result, notes, swapped=not isinstance(left, Frame))
    return result.without_names() if changes_schema or node.returns_bool else result


def _with_scaled(
    node: Binary, frame: Frame, scalar: Floats, result: Frame, notes: Annotations, *, swapped: bool
) -> Frame:
    """Histograms can be multiplied and divided; with any other operator they are left out."""
    rows, steps, table = frame.histograms()
    if node.operator == "*":
        scaled = table.scaled(scalar[steps])
    elif node.operator == "/" and not swapped:
        scaled = table.divided(scalar[steps])
    else:
        kinds = ("float", "histogram") if swapped else ("histogram", "float")
        notes.incompatible_types(kinds[0], node.operator, kinds[1], node.start)
        return result
    return Frame(result.labels, result.values, result.present | frame.is_histogram).with_histograms(rows, steps, scaled)


def set_operation(node: Binary, left: Frame, right: Frame) -> Frame:
    groups: dict[Labels, int] = {}
    left_groups = _numbered(left.labels, node.matching, groups)
    right_groups = _numbered(right.labels, node.matching, groups)
    steps = left.values.shape[1]
    if node.operator == "or":
        taken = _any_present(left.present, left_groups, len(groups), steps)
        rest = right.where(right.present & ~taken[right_groups])
        return merged(stacked([left, rest], steps))
    matched = _any_present(right.present, right_groups, len(groups), steps)[left_groups]
    return left.where(left.present & (matched if node.operator == "and" else ~matched))


def _numbered(labels: tuple[Labels, ...], matching: Matching, groups: dict[Labels, int]) -> NDArray[np.intp]:
    """The number of each series' match group; `groups` grows by those it has not seen."""
    names = frozenset(matching.labels if matching.on else (*matching.labels, METRIC_NAME))
    on = matching.on
    return np.fromiter(
        (groups.setdefault(tuple(p for p in pairs if (p[0] in names) is on), len(groups)) for pairs in labels),
        dtype=np.intp,
        count=len(labels),
    )


def _any_present(present: Mask, group_of: NDArray[np.intp], groups: int, steps: int) -> Mask:
    result = np.zeros((groups, steps), dtype=np.bool_)
    np.logical_or.at(result, group_of, present)
    return result


def vectors(node: Binary, left: Frame, right: Frame, notes: Annotations) -> Frame:
    """
    Match two vectors and operate on each pair.

    Raises:
        ExecutionError: the "one" side has several series for a match group at one step, or the result has the same
            labels twice.
    """
    matching = node.matching
    swapped = matching.many is Many.RIGHT
    many, one = (right, left) if swapped else (left, right)
    fill_many, fill_one = matching.fill_left, matching.fill_right
    if swapped:
        fill_many, fill_one = fill_one, fill_many
    groups: dict[Labels, int] = {}
    one_groups = _numbered(one.labels, matching, groups)
    rows_of: dict[int, list[int]] = {}
    for row, group in enumerate(one_groups.tolist()):
        rows_of.setdefault(group, []).append(row)
    # Prometheus does not even look at the "one" side where the other is empty and nothing fills it.
    asked = many.present.any(axis=0) if fill_many is None else np.ones(many.steps, dtype=np.bool_)
    _require_unique(one.where(one.present & asked), rows_of, list(groups), side="left" if swapped else "right")
    many_groups = _numbered(many.labels, matching, groups)
    if fill_one is not None:
        one = _filled(one, one_groups, many, many_groups, list(groups), fill_one)
        one_groups = _numbered(one.labels, matching, groups)
    if fill_many is not None:
        many = _filled(many, many_groups, one, one_groups, list(groups), fill_many)
        many_groups = _numbered(many.labels, matching, groups)
    if fill_one is not None or fill_many is not None:
        rows_of = {}
        for row, group in enumerate(one_groups.tolist()):
            rows_of.setdefault(group, []).append(row)
    many_rows: list[int] = []
    one_rows: list[int] = []
    for row, group in enumerate(many_groups.tolist()):
        for other in rows_of.get(group, ()):
            many_rows.append(row)
            one_rows.append(other)
    if not many_rows:
        return empty_frame(left.steps)
    drops_name = node.returns_bool or node.operator not in COMPARISONS
    labels = tuple(
        _result_labels(many.labels[a], one.labels[b], matching, drops_name=drops_name)
        for a, b in zip(many_rows, one_rows, strict=True)
    )
    many_side, one_side = _rows(many, many_rows), _rows(one, one_rows)
    result = _operated(node, *((one_side, many_side) if swapped else (many_side, one_side)), notes)
    met = _met(many_side, one_side, result)
    if matching.many is Many.NEITHER:
        _require_one_to_one(met, one_groups[one_rows].tolist())
    else:
        _require_distinct(labels, met)
    return merged(result.relabelled(labels), conflict=_NOT_UNIQUE)


def _filled(
    frame: Frame,
    frame_groups: NDArray[np.intp],
    other: Frame,
    other_groups: NDArray[np.intp],
    keys: list[Labels],
    value: float,
) -> Frame:
    """A row more for each match group of the other side: present where this side has none and the other has some."""
    here = _any_present(frame.present, frame_groups, len(keys), frame.steps)
    there = _any_present(other.present, other_groups, len(keys), frame.steps)
    missing = there & ~here
    wanted = np.flatnonzero(missing.any(axis=1))
    if not len(wanted):
        return frame
    labels = tuple(keys[group] for group in wanted.tolist())
    return stacked([frame, Frame(labels, np.full((len(wanted), frame.steps), value), missing[wanted])], frame.steps)


def _operated(node: Binary, left: Frame, right: Frame, notes: Annotations) -> Frame:
    """The operator on each pair of rows; the labels are still the left side's."""
    present = left.present & right.present
    if node.operator not in COMPARISONS:
        result = Frame(left.labels, _ARITHMETIC[node.operator](left.values, right.values), present)
    else:
        holds = _COMPARISON[node.operator](left.values, right.values)
        values = holds.astype(np.float64) if node.returns_bool else left.values
        result = Frame(left.labels, values, present if node.returns_bool else present & holds)
    if left.cells is None and right.cells is None:
        return result
    return _with_histograms(node, left, right, result, notes)


def _with_histograms(node: Binary, left: Frame, right: Frame, floats: Frame, notes: Annotations) -> Frame:
    both_present = left.present & right.present
    is_left, is_right = left.is_histogram & both_present, right.is_histogram & both_present
    present = floats.present & ~(is_left | is_right)
    values = floats.values
    parts: list[tuple[NDArray[np.intp], NDArray[np.intp], Histograms]] = []
    cases = (
        (is_left & is_right, "histogram", "histogram"),
        (is_left & ~is_right, "histogram", "float"),
        (~is_left & is_right, "float", "histogram"),
    )
    for cells, one, other in cases:
        if not cells.any():
            continue
        rows, steps = np.nonzero(cells)
        if one == other and node.operator in {"==", "!="}:
            mine, theirs = _tables(left, rows, steps), _tables(right, rows, steps)
            holds = native.equal(mine, theirs) == (node.operator == "==")
            if node.returns_bool:
                values = values.copy()
                values[rows, steps], holds_at = holds, np.ones(len(rows), dtype=np.bool_)
                present[rows, steps] = holds_at
            else:
                parts.append((rows[holds], steps[holds], mine.take(np.flatnonzero(holds))))
        elif one == other and node.operator in {"+", "-"}:
            sign = 1.0 if node.operator == "+" else -1.0
            table = native.combined(_tables(left, rows, steps), _tables(right, rows, steps), sign)
            parts.append((rows, steps, table))
        elif one != other and node.operator == "*":
            holder, factor = (left, right.values) if one == "histogram" else (right, left.values)
            parts.append((rows, steps, _tables(holder, rows, steps).scaled(factor[rows, steps])))
        elif one == "histogram" and other == "float" and node.operator == "/":
            parts.append((rows, steps, _tables(left, rows, steps).divided(right.values[rows, steps])))
        else:
            notes.incompatible_types(one, node.operator, other, node.start)
            if node.returns_bool:
                values = values.copy()
                values[rows, steps] = 0.0
    for rows, steps, _ in parts:
        present[rows, steps] = True
    result = Frame(floats.labels, values, present)
    if not parts:
        return result
    rows, steps = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    return result.with_histograms(rows, steps, native.concatenated([part[2] for part in parts]))


def _tables(frame: Frame, rows: NDArray[np.intp], steps: NDArray[np.intp]) -> Histograms:
    if frame.cells is None:
        raise TypeError("a frame of floats has no histograms")
    return frame.cells.table.take(frame.cells.index[rows, steps])


_NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


def _rows(frame: Frame, rows: list[int]) -> Frame:
    return frame if rows == list(range(len(frame.labels))) else frame.take(rows)


def _met(many: Frame, one: Frame, result: Frame) -> Mask:
    """Which pairs must not meet another one: all that met, even if a comparison then left them out."""
    # Up to the version that brought `fill`, Prometheus looked at `result.present` here.
    return np.asarray((many.present & one.present) | result.present)


def _require_distinct(labels: tuple[Labels, ...], met: Mask) -> None:
    """No result twice at one step, even of those that a comparison leaves out."""
    if len(set(labels)) != len(labels):
        merged(Frame(labels, np.zeros(met.shape), met), conflict=_NOT_UNIQUE)


def _require_unique(one: Frame, rows_of: dict[int, list[int]], keys: list[Labels], *, side: str) -> None:
    for group, rows in rows_of.items():
        if len(rows) == 1:
            continue
        clash = np.flatnonzero(one.present[rows].sum(axis=0) > 1)
        if clash.size:
            first, second = [row for row in rows if one.present[row, clash[0]]][:2]
            raise ExecutionError(
                f"found duplicate series for the match group {display(keys[group])} on the {side} hand-side of the "
                f"operation: [{display(one.labels[second])}, {display(one.labels[first])}];"
                "many-to-many matching not allowed: matching labels must be unique on one side"
            )


def _require_one_to_one(present: Mask, groups: list[int]) -> None:
    if len(set(groups)) == len(groups):
        return
    pairs_of: dict[int, list[int]] = {}
    for pair, group in enumerate(groups):
        pairs_of.setdefault(group, []).append(pair)
    if any(np.any(present[pairs].sum(axis=0) > 1) for pairs in pairs_of.values()):
        raise ExecutionError(
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        )


def _result_labels(many: Labels, one: Labels, matching: Matching, *, drops_name: bool) -> Labels:
    if matching.many is Many.NEITHER:
        names = frozenset(matching.labels)
        kept = [pair for pair in many if (pair[0] in names) is matching.on]
        return tuple(pair for pair in kept if not (drops_name and pair[0] == METRIC_NAME))
    result = {name: value for name, value in many if not (drops_name and name == METRIC_NAME)}
    if matching.include:
        others = dict(one)
        for name in matching.include:
            result[name] = others.get(name, "")
    return labels_of(result)
