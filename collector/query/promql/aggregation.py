"""Aggregations over the series of an instant vector (prometheus/promql/engine.go, aggregation)."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from collector.model.series import METRIC_NAME, Labels, labels_of
from collector.query.errors import ExecutionError
from collector.query.promql.numerals import format_float
from collector.query.promql.quantile import sorted_quantile
from collector.query.promql.syntax import Aggregation
from collector.query.promql.values import Floats, Frame, Mask, empty_frame, quoted, stacked

LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MAX_INT64 = float(2**63)


class Groups:
    """Rows of a frame by group; the groups in order of first appearance."""

    def __init__(self, frame: Frame, *, by: bool, names: tuple[str, ...]) -> None:
        self.keys, self.group_of = group_keys(frame.labels, by=by, names=names)
        order = np.argsort(self.group_of, kind="stable")
        self._starts = np.searchsorted(self.group_of[order], np.arange(len(self.keys)))
        self._values, self.present = frame.values, frame.present
        self._order = None if np.array_equal(order, np.arange(len(order))) else order

    def reduce(self, ufunc: np.ufunc, values: Floats | NDArray[np.int64], fill: float) -> Floats:
        """`ufunc` over the rows of each group, [g, k], with `fill` for what is not present."""
        if not self.present.all():
            values = np.where(self.present, values, fill)
        if len(self.keys) == 1:
            return np.asarray(ufunc.reduce(values, axis=0)[None, :])
        if self._order is not None:
            values = values[self._order]
        return np.asarray(ufunc.reduceat(values, self._starts, axis=0))

    def counts(self) -> NDArray[np.int64]:
        if self.present.all():
            sizes = np.bincount(self.group_of, minlength=len(self.keys))
            return np.broadcast_to(sizes[:, None], (len(self.keys), self.present.shape[1])).astype(np.int64)
        ordered = self.present if self._order is None else self.present[self._order]
        return np.asarray(np.add.reduceat(ordered.astype(np.int64), self._starts, axis=0))

    def rows(self, group: int) -> NDArray[np.intp]:
        return np.flatnonzero(self.group_of == group)


def group_keys(
    labels: tuple[Labels, ...], *, by: bool, names: tuple[str, ...]
) -> tuple[list[Labels], NDArray[np.intp]]:
    """The labels of each group, and the group of each series."""
    wanted = frozenset(names) if by else frozenset((*names, METRIC_NAME))
    number: dict[Labels, int] = {}
    group_of = np.empty(len(labels), dtype=np.intp)
    for row, pairs in enumerate(labels):
        if by:
            key = tuple(pair for pair in pairs if pair[0] in wanted) if wanted else ()
        else:
            key = tuple(pair for pair in pairs if pair[0] not in wanted)
        group_of[row] = number.setdefault(key, len(number))
    return list(number), group_of


def aggregate(node: Aggregation, frame: Frame, parameter: Floats | None, text: str | None) -> Frame:
    """
    Aggregate a frame.

    Args:
        parameter: [k], for topk, bottomk and quantile.
        text: the label name, for count_values.
    """
    steps = frame.values.shape[1]
    if node.operator == "count_values" and not LABEL_NAME.fullmatch(text or ""):
        raise ExecutionError(f"invalid label name {quoted(text or '')}")
    if not frame.labels:
        return empty_frame(steps)
    groups = Groups(frame, by=node.by, names=node.labels)
    if parameter is not None and node.operator in {"topk", "bottomk"}:
        return _ranked(frame, groups, parameter, largest=node.operator == "topk")
    if parameter is not None and node.operator == "quantile":
        return _quantile(frame, groups, parameter)
    if node.operator == "count_values" and text is not None:
        return _count_values(frame, groups, text)
    counts = groups.counts()
    return Frame(tuple(groups.keys), _reduced(node.operator, frame, groups, counts), counts > 0)


def _reduced(operator: str, frame: Frame, groups: Groups, counts: NDArray[np.int64]) -> Floats:
    values = frame.values
    divisor = np.maximum(counts, 1)
    match operator:
        case "sum":
            return groups.reduce(np.add, values, 0.0)
        case "count":
            return counts.astype(np.float64)
        case "group":
            return np.ones(counts.shape)
        case "min":
            return groups.reduce(np.fmin, values, np.nan)
        case "max":
            return groups.reduce(np.fmax, values, np.nan)
        case "avg":
            return _mean(groups, values, divisor)
    mean = _mean(groups, values, divisor)
    deviations = values - mean[groups.group_of]
    variance = groups.reduce(np.add, deviations * deviations, 0.0) / divisor
    return variance if operator == "stdvar" else np.sqrt(variance)


def _mean(groups: Groups, values: Floats, divisor: NDArray[np.int64]) -> Floats:
    mean = groups.reduce(np.add, values, 0.0) / divisor
    if np.isinf(mean).any() and not np.isinf(values[groups.present]).any():  # the sum overflowed, the mean does not
        scale = 2.0**-64
        mean = groups.reduce(np.add, values * scale, 0.0) / divisor / scale
    return mean


def _ranked(frame: Frame, groups: Groups, limits: Floats, *, largest: bool) -> Frame:
    invalid = np.isnan(limits) | (np.abs(limits) >= _MAX_INT64)
    if invalid.any():
        raise ExecutionError(f"Scalar value {format_float(float(limits[invalid][0]))} overflows int64")
    wanted = np.trunc(limits)
    kept: list[Frame] = []
    for group in range(len(groups.keys)):
        rows = groups.rows(group)
        values, present = frame.values[rows], frame.present[rows]
        # Rising key: best first, NaN after every number, what is not present last. Equal values keep their order.
        key = -values if largest else values
        category = np.where(present, np.where(np.isnan(values), 1, 0), 2)
        order = np.lexsort((np.where(category == 0, key, 0.0), category), axis=0)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.broadcast_to(np.arange(len(rows))[:, None], order.shape), axis=0)
        chosen = present & (rank < wanted)
        # Instant answers list the best first, so the rows take the order of the first step.
        by_first = order[:, 0]
        kept.append(Frame(tuple(frame.labels[row] for row in rows[by_first]), values[by_first], chosen[by_first]))
    return stacked(kept, frame.values.shape[1])


def _quantile(frame: Frame, groups: Groups, ratios: Floats) -> Frame:
    values: list[Floats] = []
    present: list[Mask] = []
    for group in range(len(groups.keys)):
        rows = groups.rows(group)
        mask = frame.present[rows].T
        values.append(sorted_quantile(frame.values[rows].T, mask, ratios))
        present.append(np.asarray(mask.any(axis=1)))
    return Frame(tuple(groups.keys), np.stack(values), np.stack(present))


def _count_values(frame: Frame, groups: Groups, name: str) -> Frame:
    # The value's label takes the place of a grouping label of the same name, which can make groups one.
    counts: dict[Labels, NDArray[np.int64]] = {}
    for group, key in enumerate(groups.keys):
        rows = groups.rows(group)
        values, present = frame.values[rows], frame.present[rows]
        for value in np.unique(values[present]).tolist():
            same = np.isnan(values) if np.isnan(value) else values == value
            labels = labels_of(dict(key) | {name: format_float(value)})
            here = np.asarray(np.sum(same & present, axis=0), dtype=np.int64)
            counts[labels] = np.add(counts[labels], here) if labels in counts else here
    if not counts:
        return empty_frame(frame.values.shape[1])
    table = np.stack(list(counts.values()))
    return Frame(tuple(counts), table.astype(np.float64), table > 0)
