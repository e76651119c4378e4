"""What an expression evaluates to: on the way (Frame) and as an answer (Scalar, StringValue, Matrix, RangeVector)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from collector.model.histogram import HistogramSeries, NativeHistogram
from collector.model.series import ABSENT, METRIC_NAME, Block, Labels, Vector
from collector.query.errors import ExecutionError
from collector.query.promql.arrays import Floats as Floats
from collector.query.promql.arrays import Mask as Mask
from collector.query.promql.arrays import Rows
from collector.query.promql.arrays import Times as Times
from collector.query.promql.native import Histograms, concatenated


@dataclass(frozen=True, slots=True)
class Scalar:
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class StringValue:
    value: str
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class InstantVector(Vector):
    """A vector that may hold native histograms: `values` are ABSENT where `histograms` has one."""

    histograms: dict[int, NativeHistogram] = field(default_factory=dict)  # by row


@dataclass(frozen=True, slots=True)
class Matrix:
    """The answer of a range query: every series has at least one value."""

    labels: tuple[Labels, ...]  # s of them, sorted; () names the series of a scalar expression
    timestamps_ms: Times  # [k], every step of the query
    values: Floats  # [s, k], ABSENT where a series has no float at that step
    histograms: dict[int, dict[int, NativeHistogram]] = field(default_factory=dict)  # by row, then by step, rising


@dataclass(frozen=True, slots=True)
class RangeVector:
    """The answer of an instant query whose expression is a range, `x[5m]`: the samples as they are stored."""

    blocks: tuple[Block, ...]
    histograms: tuple[HistogramSeries, ...] = ()  # of series that may stand in a block as well


Answer = Vector | Scalar | StringValue | RangeVector


@dataclass(frozen=True, slots=True)
class Cells:
    """Which cells of a frame are native histograms."""

    table: Histograms
    index: NDArray[np.int64]  # [s, k], the row of the table; -1 for a float

    def take(self, rows: Rows) -> Cells:
        return Cells(self.table, self.index[rows])


@dataclass(frozen=True, slots=True)
class Frame:
    """
    An instant vector at every step of a query.

    Rows may repeat labels on the way through one operator; `merged` makes them distinct again. Values where `present`
    is false are arbitrary: every operator masks them. The arrays may be read-only views: never write into them.
    A cell is a float unless `cells` says that it is a histogram; its value is arbitrary then.
    """

    labels: tuple[Labels, ...]  # s of them
    values: Floats  # [s, k]
    present: Mask  # [s, k]
    cells: Cells | None = None  # None: floats only

    @property
    def steps(self) -> int:
        return int(self.values.shape[1])

    @property
    def is_histogram(self) -> Mask:
        """[s, k]; none where it is not present."""
        if self.cells is None:
            return np.zeros(self.present.shape, dtype=np.bool_)
        return np.asarray(self.present & (self.cells.index >= 0))

    def take(self, rows: Rows | list[int]) -> Frame:
        index = np.asarray(rows, dtype=np.intp)
        cells = None if self.cells is None else self.cells.take(index)
        return Frame(tuple(self.labels[i] for i in index.tolist()), self.values[index], self.present[index], cells)

    def floats(self) -> Frame:
        """Without the histograms."""
        if self.cells is None:
            return self
        return Frame(self.labels, self.values, self.present & (self.cells.index < 0))

    def histograms(self) -> tuple[Rows, Rows, Histograms]:
        """The cells that are histograms: rows, steps, and as many histograms."""
        rows, steps = np.nonzero(self.is_histogram)
        if self.cells is None:
            raise TypeError("a frame of floats has no histograms")
        return rows, steps, self.cells.table.take(self.cells.index[rows, steps])

    def with_values(self, values: Floats) -> Frame:
        """The floats with other values, and no histograms: what functions of floats make of a frame."""
        frame = self.floats()
        return Frame(frame.labels, values, frame.present)

    def with_histograms(self, rows: Rows, steps: Rows, table: Histograms) -> Frame:
        """The same with these cells as histograms, and all others as floats."""
        if not len(table):
            return Frame(self.labels, self.values, self.present)
        index = np.full(self.present.shape, -1, dtype=np.int64)
        index[rows, steps] = np.arange(len(table))
        return Frame(self.labels, self.values, self.present, Cells(table, index))

    def repeated(self, steps: int) -> Frame:
        """The only step of this frame, so many times."""
        shape = (len(self.labels), steps)
        cells = self.cells
        if cells is not None:
            cells = Cells(cells.table, np.broadcast_to(cells.index, shape))
        return Frame(self.labels, np.broadcast_to(self.values, shape), np.broadcast_to(self.present, shape), cells)

    def where(self, present: Mask) -> Frame:
        return Frame(self.labels, self.values, present, self.cells)

    def relabelled(self, labels: tuple[Labels, ...]) -> Frame:
        return Frame(labels, self.values, self.present, self.cells)

    def without_names(self) -> Frame:
        """The same without metric names; series that become the same are merged, see `merged`."""
        return merged(self.relabelled(tuple(without_name(labels) for labels in self.labels)))


def empty_frame(steps: int) -> Frame:
    return Frame((), np.empty((0, steps)), np.empty((0, steps), dtype=np.bool_))


# Series whose labels were taken apart lately: rules and dashboards ask for the same ones again and again. To find one
# here takes a fifth of what it takes to build; each is some 300 bytes.
LABELS_REMEMBERED = 20_000


@lru_cache(LABELS_REMEMBERED)
def _parted(labels: Labels) -> tuple[str, Labels]:
    # "__name__" sorts before lowercase letters but after uppercase ones, so it need not be first
    name = next((value for key, value in labels if key == METRIC_NAME), "")
    return name, tuple(pair for pair in labels if pair[0] != METRIC_NAME)


def without_name(labels: Labels) -> Labels:
    return _parted(labels)[1]


def name_of(labels: Labels) -> str:
    return _parted(labels)[0]


def stacked(frames: list[Frame], steps: int) -> Frame:
    if len(frames) == 1:
        return frames[0]
    if not frames:
        return empty_frame(steps)
    return Frame(
        tuple(labels for frame in frames for labels in frame.labels),
        np.concatenate([frame.values for frame in frames]),
        np.concatenate([frame.present for frame in frames]),
        _stacked_cells(frames),
    )


def _stacked_cells(frames: list[Frame]) -> Cells | None:
    tables = [frame.cells.table for frame in frames if frame.cells is not None]
    if not tables:
        return None
    indexes, before = [], 0
    for frame in frames:
        if frame.cells is None:
            indexes.append(np.full(frame.present.shape, -1, dtype=np.int64))
        else:
            indexes.append(np.where(frame.cells.index < 0, -1, frame.cells.index + before))
            before += len(frame.cells.table)
    return Cells(concatenated(tables), np.concatenate(indexes))


def merged(frame: Frame, *, conflict: str = "vector cannot contain metrics with the same labelset") -> Frame:
    """
    Join rows that have the same labels.

    Raises:
        ExecutionError: two of them have a value at the same step.
    """
    if len(set(frame.labels)) == len(frame.labels):
        return frame
    rows_of: dict[Labels, list[int]] = {}
    for row, labels in enumerate(frame.labels):
        rows_of.setdefault(labels, []).append(row)
    first = [rows[0] for rows in rows_of.values()]
    values, present = frame.values[first], frame.present[first]
    index = None if frame.cells is None else frame.cells.index[first]
    for target, rows in enumerate(rows_of.values()):
        for row in rows[1:]:
            if np.any(present[target] & frame.present[row]):
                raise ExecutionError(conflict)
            values[target] = np.where(frame.present[row], frame.values[row], values[target])
            if index is not None and frame.cells is not None:
                index[target] = np.where(frame.present[row], frame.cells.index[row], index[target])
            present[target] |= frame.present[row]
    cells = None if frame.cells is None or index is None else Cells(frame.cells.table, index)
    return Frame(tuple(rows_of), values, present, cells)


def to_matrix(frame: Frame, times: Times) -> Matrix:
    kept = np.flatnonzero(frame.present.any(axis=1)).tolist()
    order = sorted(kept, key=frame.labels.__getitem__)
    if order != list(range(len(frame.labels))):  # an answer may take 100 MB: no copy without need
        frame = frame.take(order)
    floats = frame.floats()
    values = floats.values if floats.present.all() else np.where(floats.present, floats.values, ABSENT)
    found: dict[int, dict[int, NativeHistogram]] = {}
    if frame.cells is not None:
        rows, steps, table = frame.histograms()
        for row, step, one in zip(rows.tolist(), steps.tolist(), table.to_values(), strict=True):
            found.setdefault(row, {})[step] = one
    return Matrix(frame.labels, times, values, found)


def to_vector(frame: Frame) -> Vector:
    """The first step of a frame; the order of its series stays."""
    frame = frame.take(np.flatnonzero(frame.present[:, 0]))
    if frame.cells is None or not frame.is_histogram[:, 0].any():
        return Vector(frame.labels, frame.values[:, 0])
    is_histogram = frame.is_histogram[:, 0]
    table = frame.cells.table.take(frame.cells.index[is_histogram, 0])
    found = dict(zip(np.flatnonzero(is_histogram).tolist(), table.to_values(), strict=True))
    return InstantVector(frame.labels, np.where(is_histogram, ABSENT, frame.values[:, 0]), found)


def display(labels: Labels) -> str:
    """Labels as Prometheus prints them, `name{a="b"}`."""
    name = next((value for key, value in labels if key == METRIC_NAME), "")
    pairs = ", ".join(f"{key}={quoted(value)}" for key, value in labels if key != METRIC_NAME)
    return name if name and not pairs else f"{name}{{{pairs}}}"


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
