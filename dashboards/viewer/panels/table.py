"""Rows and columns: what tables show, and what transformations work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dashboards.viewer.panels.frames import Frame

Cell = float | str | None
TIME = "Time"


@dataclass(frozen=True, slots=True)
class Column:
    """One field. `name` is what transformations and overrides call it."""

    name: str
    cells: tuple[Cell, ...]
    ref_id: str = ""

    @property
    def is_number(self) -> bool:
        return any(isinstance(cell, float) for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length."""

    columns: tuple[Column, ...]

    @property
    def height(self) -> int:
        return len(self.columns[0].cells) if self.columns else 0

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    def rows_kept(self, keep: Sequence[int]) -> Table:
        """These rows, in this order."""
        return Table(tuple(replace(each, cells=tuple(each.cells[row] for row in keep)) for each in self.columns))


def tables_of(frames: Sequence[Frame], *, as_table: bool) -> list[Table]:
    """
    As Grafana's Prometheus data source has them: one table a query whose format is table, else one for each series.

    Args:
        as_table: The newest value of each series with its labels as columns; else its points over time.
    """
    if not as_table:
        return [
            Table(
                (
                    Column(TIME, tuple(at * 1000 for at, _ in frame.points)),
                    Column(frame.config.name, tuple(value for _, value in frame.points), frame.ref_id),
                )
            )
            for frame in frames
        ]
    refs = list(dict.fromkeys(frame.ref_id for frame in frames))
    return [_of_query([frame for frame in frames if frame.ref_id == ref], ref, len(refs) > 1) for ref in refs]


def _of_query(frames: Sequence[Frame], ref: str, several: bool) -> Table:
    names = sorted({name for frame in frames for name in frame.labels})
    columns = [Column(TIME, tuple(frame.points[-1][0] * 1000 if frame.points else None for frame in frames))]
    columns += [Column(name, tuple(frame.labels.get(name, "") for frame in frames)) for name in names]
    values = tuple(frame.points[-1][1] if frame.points else None for frame in frames)
    return Table((*columns, Column(f"Value #{ref}" if several else "Value", values, ref)))
