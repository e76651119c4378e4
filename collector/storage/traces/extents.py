"""Where the spans of a trace are, in time: what keeps a look-up by trace id from reading every span."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from collector.model.ids import TraceId, trace_id_halves

# Traces nearer to one another than this are read in one go. A row group holds about two minutes at 1,000 spans/s, and a
# further part of the statement costs about as much as reading one.
NEAR_NANO = 120 * 10**9
# From so many on the recent extents become a run: two of DuckDB's row groups, of which 256 KiB are the least
# that is read, so a sixth of each run is. It takes 0.1 s.
RUN_ROWS = 245_760
MAX_COMPARED = 4  # ids; a filter compares each row with every one, a join costs 3 ms and then no more


class _Extent(NamedTuple):
    first: int
    last: int
    trace_lo: int


def extents_of(spans: pa.Table) -> pa.Table:
    """The rows of `recent_extents` for spans that are committed together. DuckDB would take ten times as long."""
    lows = spans.column("trace_lo").to_numpy()
    starts = spans.column("start_unix_nano").to_numpy()
    order = np.argsort(lows, kind="stable")
    lows, starts = lows[order], starts[order]
    begins = np.flatnonzero(np.concatenate(([True], lows[1:] != lows[:-1])))
    received = spans.column("received_ms").to_numpy()[order]
    return pa.table(
        {
            "trace_lo": lows[begins],
            "first_unix_nano": np.minimum.reduceat(starts, begins),
            "last_unix_nano": np.maximum.reduceat(starts, begins),
            "received_ms": np.maximum.reduceat(received, begins),
        }
    )


def sort_recent(connection: duckdb.DuckDBPyConnection, *, at_least: int = RUN_ROWS) -> int:
    """
    Make the recent extents a run, if they are so many; returns how many they were, or 0.

    In a transaction of the writer's.
    """
    row = connection.execute("SELECT count(*) FROM recent_extents").fetchone()
    rows = row[0] if row else 0
    if rows < max(1, at_least):
        return 0
    connection.execute("""
        INSERT INTO trace_extents
        SELECT trace_lo, min(first_unix_nano), max(last_unix_nano), max(received_ms)
        FROM recent_extents GROUP BY trace_lo ORDER BY trace_lo
    """)
    connection.execute("DELETE FROM recent_extents")
    return int(rows)


def spans_of(cursor: duckdb.DuckDBPyConnection, trace_ids: Sequence[TraceId], columns: str) -> str | None:
    """
    SQL for `columns` of all spans of the traces; None if none of them is there.

    It may yield spans of others whose ids end alike; the caller has the whole id in its columns, and compares.
    """
    lows = [str(trace_id_halves(trace_id)[1]) for trace_id in trace_ids]
    if len(lows) <= MAX_COMPARED:
        wanted = f"WHERE trace_lo IN ({', '.join(lows)})"
    else:
        values = ", ".join(f"({low}::UBIGINT)" for low in lows)
        wanted = f"SEMI JOIN (VALUES {values}) wanted(trace_lo) USING (trace_lo)"
    known: dict[int, _Extent] = {}
    for table in ("trace_extents", "recent_extents"):  # one after the other: to plan a union would take twice as long
        sql = f"SELECT first_unix_nano, last_unix_nano, trace_lo FROM {table} {wanted}"  # noqa: S608  (integers of ours)
        for first, last, low in cursor.execute(sql).fetchall():
            at = known.get(low, _Extent(first, last, low))
            known[low] = _Extent(min(first, at.first), max(last, at.last), low)
    parts = [
        # The ids are integers of ours, and as literals DuckDB can push them into the scan.
        f"SELECT {columns} FROM spans WHERE start_unix_nano BETWEEN {first:d} AND {last:d} AND trace_lo IN ({ids})"  # noqa: S608
        for first, last, ids in _together(sorted(known.values()))
    ]
    return " UNION ALL ".join(parts) or None


def _together(extents: Sequence[_Extent]) -> list[tuple[int, int, str]]:
    """Extents, which are by their first, joined to those near them: from, to and the ids."""
    groups: list[tuple[int, int, list[str]]] = []
    for extent in extents:
        if groups and extent.first - groups[-1][1] <= NEAR_NANO:
            first, last, ids = groups[-1]
            groups[-1] = (first, max(last, extent.last), [*ids, str(extent.trace_lo)])
        else:
            groups.append((extent.first, extent.last, [str(extent.trace_lo)]))
    return [(first, last, ", ".join(ids)) for first, last, ids in groups]
