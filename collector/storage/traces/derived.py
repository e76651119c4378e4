"""
Counts that are derived from spans, kept beside them: what a commit adds to them is in the transaction of its spans.

So every span that was acknowledged is counted once, whatever happens to the process. What a commit adds is one row, as
an insert costs by the row and by the column; `rewrite` puts one row with all sums in the place of many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.model.telemetry import SpanBatch
from collector.storage.traces.schema import create_table

FAMILIES = ("spanmetrics", "servicegraph")  # by their place, which is stored: never reorder
CELL = np.dtype(  # of a row's `cells`, packed one after the other
    [
        ("family", "u1"),
        ("histogram", "u1"),  # which of those that a series has
        ("bucket", "<u2"),
        ("series", "<u4"),
        ("spans", "<u8"),
        ("sum", "<f8"),
        ("at_ms", "<i8"),  # when the cell was last added to
    ]
)
SERIES_COLUMNS = {"family": "VARCHAR", "series": "UINTEGER", "labels": "VARCHAR"}  # labels are JSON
_TABLES = {
    "derived_series": SERIES_COLUMNS,
    "derived_cells": {"cells": "BLOB"},
    "derived_layouts": {"family": "VARCHAR", "layout": "VARCHAR"},  # under which a family is counted
}
Cells = NDArray[np.void]  # of CELL


@dataclass(frozen=True, slots=True)
class Derivation:
    """What is derived from the spans of a commit."""

    series: pa.Table | None  # those that are new, as SERIES_COLUMNS
    cells: Cells
    keep: Callable[[], None]  # to be called once it is durable


class Deriver(Protocol):
    """Belongs to the thread that writes."""

    def derive(self, spans: SpanBatch) -> Derivation:
        """Of the spans of a commit, at least one. Nothing counts before `keep` of what is returned has been called."""
        ...


class Stored(NamedTuple):
    layouts: dict[str, str]  # by family
    series: dict[str, dict[int, str]]  # labels by family and number, rising
    cells: Cells  # several may be of the same bucket


def create(connection: duckdb.DuckDBPyConnection) -> None:
    for name, columns in _TABLES.items():
        connection.execute(create_table(name, columns))


def append(connection: duckdb.DuckDBPyConnection, derivation: Derivation) -> None:
    if derivation.series is not None:
        connection.from_arrow(derivation.series).insert_into("derived_series")
    if len(derivation.cells):
        connection.execute("INSERT INTO derived_cells VALUES (?)", [derivation.cells.tobytes()])


def read(connection: duckdb.DuckDBPyConnection) -> Stored:
    series: dict[str, dict[int, str]] = {}
    for family, number, labels in connection.execute("SELECT * FROM derived_series ORDER BY family, series").fetchall():
        series.setdefault(family, {})[number] = labels
    rows = connection.execute("SELECT cells FROM derived_cells").fetchall()
    layouts = dict(connection.execute("SELECT * FROM derived_layouts").fetchall())
    return Stored(layouts, series, np.frombuffer(b"".join(row[0] for row in rows), CELL))


def rewrite(connection: duckdb.DuckDBPyConnection, layouts: Mapping[str, str], content: Derivation) -> None:
    """
    Put all that there is in the place of what is stored.

    Args:
        layouts: By family.
    """
    for name in _TABLES:
        connection.execute(f"DELETE FROM {name}")  # noqa: S608  (ours)
    for family, layout in layouts.items():
        connection.execute("INSERT INTO derived_layouts VALUES (?, ?)", [family, layout])
    append(connection, content)
