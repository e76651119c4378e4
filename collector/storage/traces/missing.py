"""Which records of an import are not in the store yet."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from collector.storage.traces.archive import Kind


def missing_rows(connection: duckdb.DuckDBPyConnection, kind: Kind, incoming: pa.Table) -> pa.Table:
    """
    The rows of `incoming` that the store lacks, with its columns and in its order.

    Two rows are one if they are equal in everything but when they were received. Of rows that are alike the store lacks
    as many as `incoming` has more than it: two log records may well be alike.
    """
    same = [name for name in incoming.column_names if name != "received_ms"]
    columns = ", ".join(same)
    number = f"row_number() OVER (PARTITION BY {columns})"
    alike = " AND ".join(f"i.{name} IS NOT DISTINCT FROM s.{name}" for name in same)
    ((first, last),) = connection.execute(f"SELECT min({kind.moment}), max({kind.moment}) FROM incoming").fetchall()  # noqa: S608
    sql = f"""
        WITH numbered AS (SELECT *, {number} AS copy, row_number() OVER () AS place FROM incoming),
        there AS (
            SELECT {columns}, {number} AS copy FROM {kind.name}
            WHERE {kind.moment} BETWEEN $first AND $last AND trace_lo IN (SELECT trace_lo FROM incoming)
        )
        SELECT * EXCLUDE (copy, place) FROM numbered AS i
        WHERE NOT EXISTS (SELECT 1 FROM there AS s WHERE i.copy = s.copy AND {alike})
        ORDER BY place
    """  # noqa: S608  (names of ours)
    return connection.sql(sql, params={"first": first, "last": last}).to_arrow_table()
