"""
Counts that are derived from spans, kept beside them: what a commit adds to them is in the transaction of its spans.

So every span that was acknowledged is counted once, whatever happens to the process. A count is a row of its own in
each commit, as that costs one insert; `rewrite` puts the sums in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import duckdb
import pyarrow as pa

from collector.model.telemetry import SpanBatch
from collector.storage.traces.schema import create_table

SERIES_COLUMNS = {"family": "VARCHAR", "series": "UINTEGER", "labels": "VARCHAR"}  # labels are JSON
COUNT_COLUMNS = {
    "family": "VARCHAR",
    "series": "UINTEGER",
    "histogram": "UTINYINT",
    "bucket": "USMALLINT",
    "count": "UBIGINT",
    "sum": "DOUBLE",
    "at_ms": "BIGINT",
}
LAYOUT_COLUMNS = {"family": "VARCHAR", "layout": "VARCHAR"}  # under which a family was counted
_TABLES = {"derived_series": SERIES_COLUMNS, "derived_counts": COUNT_COLUMNS, "derived_layouts": LAYOUT_COLUMNS}


@dataclass(frozen=True, slots=True)
class Derivation:
    """What is derived from the spans of a commit."""

    series: pa.Table | None  # those that are new, as SERIES_COLUMNS
    counts: pa.Table | None  # as COUNT_COLUMNS
    keep: Callable[[], None]  # to be called once it is durable


class Deriver(Protocol):
    """Belongs to the thread that writes."""

    def derive(self, spans: SpanBatch) -> Derivation:
        """Of the spans of a commit, at least one. Nothing counts before `keep` of what is returned has been called."""
        ...


class DerivedCount(NamedTuple):
    series: int
    histogram: int
    bucket: int
    spans: int
    sum: float
    at_ms: int  # the last time that it was added to


def create(connection: duckdb.DuckDBPyConnection) -> None:
    for name, columns in _TABLES.items():
        connection.execute(create_table(name, columns))


def tables_of(derivation: Derivation | None) -> dict[str, pa.Table]:
    """What to append, by table."""
    if derivation is None:
        return {}
    tables = {"derived_series": derivation.series, "derived_counts": derivation.counts}
    return {name: table for name, table in tables.items() if table is not None and table.num_rows}


def read(connection: duckdb.DuckDBPyConnection, family: str, layout: str) -> tuple[dict[int, str], list[DerivedCount]]:
    """
    The labels of the series of a family, and its counts; nothing if it was counted under another layout.

    Raises:
        duckdb.Error: it cannot be read.
    """
    row = connection.execute("SELECT layout FROM derived_layouts WHERE family = ?", [family]).fetchone()
    if row is None or row[0] != layout:
        return {}, []
    labels = connection.execute("SELECT series, labels FROM derived_series WHERE family = ? ORDER BY series", [family])
    series = dict(labels.fetchall())
    sql = """
        SELECT series, histogram, bucket, sum(count)::BIGINT, sum(sum), max(at_ms) FROM derived_counts
        WHERE family = ? GROUP BY series, histogram, bucket ORDER BY ALL
    """
    return series, [DerivedCount(*each) for each in connection.execute(sql, [family]).fetchall()]


def clear(connection: duckdb.DuckDBPyConnection, family: str, layout: str) -> None:
    """Forget a family, which is counted under `layout` from now on."""
    for name in _TABLES:
        connection.execute(f"DELETE FROM {name} WHERE family = ?", [family])  # noqa: S608  (ours)
    connection.execute("INSERT INTO derived_layouts VALUES (?, ?)", [family, layout])


def rewrite(connection: duckdb.DuckDBPyConnection, families: Sequence[str], derivation: Derivation) -> None:
    """Put all that there is of some families in the place of what a number of commits added."""
    for family in families:
        for name in ("derived_series", "derived_counts"):
            connection.execute(f"DELETE FROM {name} WHERE family = ?", [family])  # noqa: S608  (ours)
    for name, table in tables_of(derivation).items():
        connection.from_arrow(table).insert_into(name)
