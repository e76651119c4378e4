"""Aggregations over the series of an instant vector (prometheus/promql/engine.go, aggregation)."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from collector.model.series import METRIC_NAME, Labels, labels_of
from collector.query.errors import ExecutionError
from collector.query.promql import group_runs
from collector.query.promql.annotations import Annotations
from collector.query.promql.native import summed
from collector.query.promql.native_text import text_of
from collector.query.promql.numerals import format_float
from collector.query.promql.quantile import sorted_quantile
from collector.query.promql.tree import UNKNOWN_START, Aggregation
from collector.query.promql.values import LABELS_REMEMBERED, Floats, Frame, Mask, empty_frame, quoted, stacked

_RANKED_ELEMENTS = 1_000_000  # of [series, steps] that are ranked at once: 8 MB, and as much for each of four copies
_MAX_INT64 = float(2**63)
_FLOATS_ONLY = frozenset({"min", "max", "stddev", "stdvar", "quantile", "topk", "bottomk"})


class Groups:
    """Rows of a frame by group; the groups in order of first appearance."""

    def __init__(self, frame: Frame, *, by: bool, names: tuple[str, ...]) -> None:
        self.keys, self.group_of = group_keys(frame.labels, by=by, names=names)
        self._labels = frame.labels
        order = np.argsort(self.group_of, kind="stable")
        self._starts = np.searchsorted(self.group_of[order], np.arange(len(self.keys)))
        self._values, self.present = frame.values, frame.present
        self._order = None if np.array_equal(order, np.arange(len(order))) else order

    def reduce(self, ufunc: np.ufunc, values: Floats, fill: float) -> Floats:
        """`ufunc` over the rows of each group, [g, k], with `fill` for what is not present."""
        if group_runs.worthwhile(self.group_of, values.shape[1]):
            return group_runs.reduced(ufunc, values, self.present, self.group_of, len(self.keys), fill)
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
        if group_runs.worthwhile(self.group_of, self.present.shape[1]):
            return group_runs.counted(self.present, self.group_of, len(self.keys))
        ordered = self.present if self._order is None else self.present[self._order]
        return np.asarray(np.add.reduceat(ordered.astype(np.int64), self._starts, axis=0))

    def renumbered(self, labels: tuple[Labels, ...]) -> NDArray[np.intp]:
        """The groups of the same series in another order."""
        number = dict(zip(self._labels, self.group_of.tolist(), strict=True))
        return np.array([number[one] for one in labels], dtype=np.intp)

    def rows(self, group: int) -> NDArray[np.intp]:
        return np.flatnonzero(self.group_of == group)


def group_keys(
    labels: tuple[Labels, ...], *, by: bool, names: tuple[str, ...]
) -> tuple[list[Labels], NDArray[np.intp]]:
    """The labels of each group, and the group of each series."""
    wanted = frozenset(names) if by else frozenset((*names, METRIC_NAME))
    number: dict[Labels, int] = {}
    group_of = np.empty(len(labels), dtype=np.intp)
    if by and not wanted:
        group_of[:] = 0
        return [()] if labels else [], group_of
    for row, pairs in enumerate(labels):
        group_of[row] = number.setdefault(_kept(pairs, wanted, by), len(number))
    return list(number), group_of


@lru_cache(LABELS_REMEMBERED)
def _kept(labels: Labels, names: frozenset[str], those: bool) -> Labels:
    """Only the labels of these names, or only the others."""
    return tuple(pair for pair in labels if (pair[0] in names) is those)


def aggregate(node: Aggregation, frame: Frame, parameter: Floats | None, text: str | None, notes: Annotations) -> Frame:
    """
    Aggregate a frame.

    Args:
        parameter: [k], for topk, bottomk, quantile, limitk and limit_ratio.
        text: the label name, for count_values.
    """
    operator, steps = node.operator, frame.steps
    if operator == "count_values" and not text:
        raise ExecutionError(f"invalid label name {quoted(text or '')}")
    if operator in _FLOATS_ONLY and frame.cells is not None and frame.is_histogram.any():
        start = node.start if operator in {"topk", "bottomk"} else node.body.start
        notes.ignored_in_aggregation(operator, start)
        frame = frame.floats()
    if parameter is not None:
        _check_parameter(node, frame, parameter, notes)
    if not frame.labels:
        return empty_frame(steps)
    groups = Groups(frame, by=node.by, names=node.labels)
    if parameter is not None:
        return _with_parameter(operator, frame, groups, parameter)
    if operator == "count_values" and text is not None:
        return _count_values(frame, groups, None if not node.by and text in node.labels else text)
    counts = groups.counts()
    if operator in {"sum", "avg"} and frame.cells is not None and frame.is_histogram.any():
        return _of_histograms(node, frame, groups, notes)
    return Frame(tuple(groups.keys), _reduced(operator, frame, groups, counts), counts > 0)


def _with_parameter(operator: str, frame: Frame, groups: Groups, parameter: Floats) -> Frame:
    match operator:
        case "topk" | "bottomk":
            return _ranked(frame, groups, parameter, largest=operator == "topk")
        case "limitk":
            return _limited(frame, groups, parameter)
        case "limit_ratio":
            return _sampled(frame, parameter)
    return _quantile(frame, groups, parameter)


def _check_parameter(node: Aggregation, frame: Frame, parameter: Floats, notes: Annotations) -> None:
    start = UNKNOWN_START if node.parameter is None else node.parameter.start
    if node.operator in {"topk", "bottomk", "limitk"} and frame.present.any():
        if np.isnan(parameter).any():
            raise ExecutionError("Parameter value is NaN")
        outside = parameter[np.abs(parameter) >= _MAX_INT64]
        if len(outside):
            raise ExecutionError(f"Scalar value {format_float(float(outside[0]))} overflows int64")
    elif node.operator == "limit_ratio":
        if np.isnan(parameter).any() and frame.present.any():
            raise ExecutionError("Ratio value is NaN")
        for ratio in np.unique(parameter[np.abs(parameter) > 1]).tolist():
            notes.invalid_ratio(ratio, 1.0 if ratio > 0 else -1.0, start)
    elif node.operator == "quantile":
        for ratio in np.unique(parameter[~((parameter >= 0) & (parameter <= 1))]).tolist():
            notes.invalid_quantile(ratio, start)


def _of_histograms(node: Aggregation, frame: Frame, groups: Groups, notes: Annotations) -> Frame:
    """sum and avg where some cells are histograms. A group with both kinds at a step has no result there."""
    steps, number = frame.steps, len(groups.keys)
    floats = frame.floats()
    float_groups = Groups(floats, by=node.by, names=node.labels)
    float_counts = float_groups.counts()
    values = _reduced(node.operator, floats, float_groups, float_counts)
    rows, columns, table = frame.histograms()
    cell_of = groups.group_of[rows] * steps + columns
    cells, target_of = np.unique(cell_of, return_inverse=True)
    target_of = target_of.reshape(-1)
    sums = summed(table, target_of, len(cells))
    if node.operator == "avg":
        sums = sums.divided(np.bincount(target_of, minlength=len(cells)).astype(np.float64))
    has_histogram = np.zeros(number * steps, dtype=np.bool_)
    has_histogram[cells] = True
    has_float = float_counts > 0
    mixed = has_histogram.reshape(number, steps) & has_float
    if mixed.any():
        notes.mixed_aggregation(node.body.start)
    present = (has_histogram.reshape(number, steps) | has_float) & ~mixed
    return Frame(tuple(groups.keys), values, present).with_histograms(cells // steps, cells % steps, sums)


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
    wanted = np.trunc(limits)
    kept: list[Frame] = []
    for group in range(len(groups.keys)):
        rows = groups.rows(group)
        values, present = frame.values[rows], frame.present[rows]
        chosen = _best(values, present, wanted, largest=largest)
        if chosen is None:
            chosen, by_first = _sorted_best(values, present, wanted, largest=largest)
            rows, values, chosen = rows[by_first], values[by_first], chosen[by_first]
        seen = np.flatnonzero(chosen.any(axis=1))
        kept.append(Frame(tuple(frame.labels[row] for row in rows[seen]), values[seen], chosen[seen]))
    return stacked(kept, frame.steps)


def _best(values: Floats, present: Mask, wanted: Floats, *, largest: bool) -> Mask | None:
    """Which series are among the best, by a partial sort of each step; None where that would not do."""
    limit = int(wanted[0])
    if len(wanted) == 1 or not 0 < limit < len(values) or (wanted != limit).any() or not np.isfinite(values).all():
        return None
    chosen = np.empty(values.shape, dtype=np.bool_)
    width = max(1, _RANKED_ELEMENTS // len(values))
    for start in range(0, len(wanted), width):
        part = slice(start, start + width)
        chosen[:, part] = _best_of(values[:, part], present[:, part], limit, largest=largest)
    return chosen


def _best_of(values: Floats, present: Mask, limit: int, *, largest: bool) -> Mask:
    key = np.where(present, -values if largest else values, np.inf)
    bound = np.partition(np.ascontiguousarray(key.T), limit - 1, axis=1)[:, limit - 1]
    chosen = np.asarray(present & (key <= bound))
    if (chosen.sum(axis=0) > limit).any():  # of equals the first ones
        better = key < bound
        equals = chosen & ~better
        chosen = better | (equals & (np.cumsum(equals, axis=0) <= limit - better.sum(axis=0)))
    return chosen


def _sorted_best(values: Floats, present: Mask, wanted: Floats, *, largest: bool) -> tuple[Mask, NDArray[np.intp]]:
    """
    Returns:
        which series are among the best, and their order at the first step: instant answers list the best first.
    """
    # Rising key: best first, NaN after every number, what is not present last. Equal values keep their order.
    key = -values if largest else values
    category = np.where(present, np.where(np.isnan(values), 1, 0), 2)
    order = np.lexsort((np.where(category == 0, key, 0.0), category), axis=0)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(len(values))[:, None], order.shape), axis=0)
    return np.asarray(present & (rank < wanted)), order[:, 0]


def _limited(frame: Frame, groups: Groups, limits: Floats) -> Frame:
    """The first so many series of each group, in the order of their labels."""
    frame = frame.take(sorted(range(len(frame.labels)), key=frame.labels.__getitem__))
    group_of = groups.renumbered(frame.labels)
    order = np.argsort(group_of, kind="stable")
    rank = np.empty(frame.present.shape, dtype=np.int64)
    for group in range(len(groups.keys)):
        rows = order[group_of[order] == group]
        rank[rows] = np.cumsum(frame.present[rows], axis=0)
    return frame.where(frame.present & (rank <= np.trunc(limits)))


def _sampled(frame: Frame, ratios: Floats) -> Frame:
    """
    The share of the series whose hash is below the ratio; below zero those that the complement leaves out.

    Prometheus hashes otherwise, so it picks other series, as many.
    """
    hashes = [hashlib.blake2b(repr(labels).encode(), digest_size=8).digest() for labels in frame.labels]
    offsets = (np.array([int.from_bytes(one, "big") for one in hashes], dtype=np.float64) / 2.0**64)[:, None]
    capped = np.clip(ratios, -1.0, 1.0)
    chosen = np.where(capped >= 0, offsets < capped, offsets >= 1.0 + capped)
    return frame.where(frame.present & chosen)


def _quantile(frame: Frame, groups: Groups, ratios: Floats) -> Frame:
    values: list[Floats] = []
    present: list[Mask] = []
    for group in range(len(groups.keys)):
        rows = groups.rows(group)
        mask = frame.present[rows].T
        values.append(sorted_quantile(frame.values[rows].T, mask, ratios))
        present.append(np.asarray(mask.any(axis=1)))
    return Frame(tuple(groups.keys), np.stack(values), np.stack(present))


def _count_values(frame: Frame, groups: Groups, name: str | None) -> Frame:
    """`name` is the label that gets the value; None where `without` drops it again."""
    # The value's label takes the place of a grouping label of the same name, which can make groups one.
    counts: dict[Labels, NDArray[np.int64]] = {}

    def add(key: Labels, text: str, here: NDArray[np.int64]) -> None:
        labels = key if name is None else labels_of(dict(key) | {name: text})
        counts[labels] = np.add(counts[labels], here) if labels in counts else here

    floats = frame.floats()
    for group, key in enumerate(groups.keys):
        rows = groups.rows(group)
        values, present = floats.values[rows], floats.present[rows]
        bits = np.ascontiguousarray(values).view(np.uint64)  # tell 0 from -0
        for one in np.unique(bits[present]):
            here = np.asarray(np.sum((bits == one) & present, axis=0), dtype=np.int64)
            add(key, format_float(float(one.view(np.float64))), here)
        if frame.cells is not None:
            for text, here in _texts_of(frame.take(rows)).items():
                add(key, text, here)
    if not counts:
        return empty_frame(frame.steps)
    table = np.stack(list(counts.values()))
    return Frame(tuple(counts), table.astype(np.float64), table > 0)


def _texts_of(frame: Frame) -> dict[str, NDArray[np.int64]]:
    """How often each histogram, as text, stands at each step, [k]."""
    found: dict[str, NDArray[np.int64]] = {}
    _, steps, table = frame.histograms()
    for step, one in zip(steps.tolist(), table.to_values(), strict=True):
        found.setdefault(text_of(one), np.zeros(frame.steps, dtype=np.int64))[step] += 1
    return found
