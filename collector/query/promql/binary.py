"""Operators between two instant vectors, or a vector and a scalar (prometheus/promql/engine.go, VectorBinop)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from collector.model.series import METRIC_NAME, Labels, labels_of
from collector.query.errors import ExecutionError
from collector.query.promql.syntax import COMPARISONS, Binary, Many, Matching
from collector.query.promql.values import Floats, Frame, Mask, display, empty_frame, merged, stacked

Scalar_ = TypeVar("Scalar_", bound=np.generic)
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


def vector_and_scalar(node: Binary, left: Frame | Floats, right: Frame | Floats) -> Frame:
    """A comparison keeps the vector's elements, whichever side it is on."""
    if isinstance(left, Frame):
        frame, operands = left, (left.values, right)
    elif isinstance(right, Frame):
        frame, operands = right, (left, right.values)
    else:
        raise TypeError("one of the operands is a vector")
    if node.operator not in COMPARISONS:
        return frame.with_values(_ARITHMETIC[node.operator](*operands)).without_names()
    holds = _COMPARISON[node.operator](*operands)
    if node.returns_bool:
        return frame.with_values(holds.astype(np.float64)).without_names()
    return Frame(frame.labels, frame.values, frame.present & holds)


def set_operation(node: Binary, left: Frame, right: Frame) -> Frame:
    groups: dict[Labels, int] = {}
    left_groups = _numbered(left.labels, node.matching, groups)
    right_groups = _numbered(right.labels, node.matching, groups)
    steps = left.values.shape[1]
    if node.operator == "or":
        taken = _any_present(left.present, left_groups, len(groups), steps)
        rest = Frame(right.labels, right.values, right.present & ~taken[right_groups])
        return merged(stacked([left, rest], steps))
    matched = _any_present(right.present, right_groups, len(groups), steps)[left_groups]
    return Frame(left.labels, left.values, left.present & (matched if node.operator == "and" else ~matched))


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


def vectors(node: Binary, left: Frame, right: Frame) -> Frame:
    """
    Match two vectors and operate on each pair.

    Raises:
        ExecutionError: the "one" side has several series for a match group at one step, or the result has the same
            labels twice.
    """
    matching = node.matching
    swapped = matching.many is Many.RIGHT
    many, one = (right, left) if swapped else (left, right)
    groups: dict[Labels, int] = {}
    one_groups = _numbered(one.labels, matching, groups)
    rows_of: dict[int, list[int]] = {}
    for row, group in enumerate(one_groups.tolist()):
        rows_of.setdefault(group, []).append(row)
    # Prometheus does not even look at the "one" side where the other is empty.
    asked = many.present.any(axis=0)
    looked_at = Frame(one.labels, one.values, one.present & asked)
    _require_unique(looked_at, rows_of, list(groups), side="left" if swapped else "right")
    many_rows: list[int] = []
    one_rows: list[int] = []
    for row, group in enumerate(_numbered(many.labels, matching, groups).tolist()):
        for other in rows_of.get(group, ()):
            many_rows.append(row)
            one_rows.append(other)
    if not many_rows:
        return empty_frame(left.values.shape[1])
    left_rows, right_rows = (one_rows, many_rows) if swapped else (many_rows, one_rows)
    left_values, right_values = _rows(left.values, left_rows), _rows(right.values, right_rows)
    present = _rows(left.present, left_rows) & _rows(right.present, right_rows)
    drops_name = node.returns_bool or node.operator not in COMPARISONS
    if node.operator not in COMPARISONS:
        values = _ARITHMETIC[node.operator](left_values, right_values)
    else:
        holds = _COMPARISON[node.operator](left_values, right_values)
        values = holds.astype(np.float64) if node.returns_bool else left_values
        present = present if node.returns_bool else present & holds
    labels = tuple(
        _result_labels(many.labels[a], one.labels[b], matching, drops_name=drops_name)
        for a, b in zip(many_rows, one_rows, strict=True)
    )
    if matching.many is Many.NEITHER:
        _require_one_to_one(present, one_groups[one_rows].tolist())
    return merged(Frame(labels, values, present), conflict=_NOT_UNIQUE)


_NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


def _rows(array: NDArray[Scalar_], rows: list[int]) -> NDArray[Scalar_]:
    return array if rows == list(range(len(array))) else array[rows]


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
