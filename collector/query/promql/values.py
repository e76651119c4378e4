"""What an expression evaluates to: on the way (Frame) and as an answer (Scalar, StringValue, Matrix, RangeVector)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.model.series import ABSENT, METRIC_NAME, Block, Labels, Vector
from collector.query.errors import ExecutionError

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scalar:
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class StringValue:
    value: str
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """The answer of a range query: every series has at least one value."""

    labels: tuple[Labels, ...]  # s of them, sorted; () names the series of a scalar expression
    timestamps_ms: Times  # [k], every step of the query
    values: Floats  # [s, k], ABSENT where a series has no value at that step


@dataclass(frozen=True, slots=True)
class RangeVector:
    """The answer of an instant query whose expression is a range, `x[5m]`: the samples as they are stored."""

    blocks: tuple[Block, ...]


Answer = Vector | Scalar | StringValue | RangeVector


@dataclass(frozen=True, slots=True)
class Frame:
    """
    An instant vector at every step of a query.

    Rows may repeat labels on the way through one operator; `merged` makes them distinct again. Values where `present`
    is false are arbitrary: every operator masks them. The arrays may be read-only views: never write into them.
    """

    labels: tuple[Labels, ...]  # s of them
    values: Floats  # [s, k]
    present: Mask  # [s, k]

    def take(self, rows: NDArray[np.intp] | list[int]) -> Frame:
        index = np.asarray(rows, dtype=np.intp)
        return Frame(tuple(self.labels[i] for i in index.tolist()), self.values[index], self.present[index])

    def with_values(self, values: Floats) -> Frame:
        return Frame(self.labels, values, self.present)

    def without_names(self) -> Frame:
        """The same without metric names; series that become the same are merged, see `merged`."""
        return merged(Frame(tuple(without_name(labels) for labels in self.labels), self.values, self.present))


def empty_frame(steps: int) -> Frame:
    return Frame((), np.empty((0, steps)), np.empty((0, steps), dtype=np.bool_))


def without_name(labels: Labels) -> Labels:
    # "__name__" sorts before lowercase letters but after uppercase ones, so it need not be first
    return tuple(pair for pair in labels if pair[0] != METRIC_NAME)


def stacked(frames: list[Frame], steps: int) -> Frame:
    if len(frames) == 1:
        return frames[0]
    if not frames:
        return empty_frame(steps)
    return Frame(
        tuple(labels for frame in frames for labels in frame.labels),
        np.concatenate([frame.values for frame in frames]),
        np.concatenate([frame.present for frame in frames]),
    )


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
    values = frame.values[[rows[0] for rows in rows_of.values()]]
    present = frame.present[[rows[0] for rows in rows_of.values()]]
    for target, rows in enumerate(rows_of.values()):
        for row in rows[1:]:
            if np.any(present[target] & frame.present[row]):
                raise ExecutionError(conflict)
            values[target] = np.where(frame.present[row], frame.values[row], values[target])
            present[target] |= frame.present[row]
    return Frame(tuple(rows_of), values, present)


def to_matrix(frame: Frame, times: Times) -> Matrix:
    kept = np.flatnonzero(frame.present.any(axis=1)).tolist()
    order = sorted(kept, key=frame.labels.__getitem__)
    values = np.where(frame.present[order], frame.values[order], ABSENT)
    return Matrix(tuple(frame.labels[row] for row in order), times, values)


def to_vector(frame: Frame) -> Vector:
    """The first step of a frame; the order of its series stays."""
    rows = np.flatnonzero(frame.present[:, 0])
    return Vector(tuple(frame.labels[row] for row in rows.tolist()), frame.values[rows, 0])


def display(labels: Labels) -> str:
    """Labels as Prometheus prints them, `name{a="b"}`."""
    name = next((value for key, value in labels if key == METRIC_NAME), "")
    pairs = ", ".join(f"{key}={quoted(value)}" for key, value in labels if key != METRIC_NAME)
    return name if name and not pairs else f"{name}{{{pairs}}}"


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
