"""
Which attributes are on the spans of which part of the store, so that a search for a rare one reads only that part.

Spans are indexed in blocks, after they were committed and in the order they lie in: of each block the hashes of all
pairs of key and value on its spans, on their events and resources, and of their names; and the times between which its
spans start. A hash that is not among a block's is not in it; one that is may be there, so what is found is looked at as
before. What came after the last block is searched as it is.

It costs 0.5 to 1 µs a span, and 2.5 bytes on disk for each pair in each block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.storage.traces.needs import OPERATION, Needs
from collector.storage.traces.schema import create_table

# About half a row group of DuckDB's, which is what a search reads at least; takes 0.1 s to index.
BLOCK_SPANS = 65_536
# Of one block. Beyond it the index would be as large as the spans: such a block is searched whatever is looked for.
MAX_PAIRS = 8 * BLOCK_SPANS
MAX_ATTRIBUTES = 64 * BLOCK_SPANS  # of one block, read to index it: more would need more memory than DuckDB may use
# Spans of a block that start further from all others than this are an interval of their own: a wrong clock in one span
# must not make its block reach from 1970 to now.
APART_NANO = 60 * 10**9
MAX_INTERVALS = 64  # of one block; with more it counts as one

_TABLES = {
    "attribute_pairs": {"hash": "UINTEGER", "block": "UINTEGER"},
    "attribute_blocks": {
        "block": "UINTEGER",
        "first_unix_nano": "UBIGINT",  # of the starts of its spans, both inclusive; several rows if they are far apart
        "last_unix_nano": "UBIGINT",
        "received_ms": "BIGINT",  # the last of them
        "complete": "BOOLEAN",  # whether its pairs are there
    },
    # One row. How many spans are indexed, which are those that lie first; and what the hashes were made by, since
    # another version of DuckDB may hash otherwise.
    "attribute_index": {"spans": "UBIGINT", "hashed_by": "VARCHAR"},
}
_HASH = "(hash({0}, {1}) >> 32)::UINTEGER"


class Interval(NamedTuple):
    """Of starts of spans."""

    first_unix_nano: int  # both inclusive
    last_unix_nano: int


@dataclass(frozen=True, slots=True)
class Block:
    """Made by `next_block`, kept by `keep`."""

    hashes: NDArray[np.uint32] | None  # ascending; None: too many
    intervals: Sequence[Interval]
    received_ms: int
    spans: int  # how many of them were not indexed before, at least one


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """In a transaction of the caller's. What another version of DuckDB has hashed is indexed anew."""
    for name, columns in _TABLES.items():
        connection.execute(create_table(name, columns))
    row = connection.execute("SELECT hashed_by FROM attribute_index").fetchone()
    if row is None or row[0] != duckdb.__version__:
        for name in _TABLES:
            connection.execute(f"DELETE FROM {name}")  # noqa: S608  (ours)
        connection.execute("INSERT INTO attribute_index VALUES (0, ?)", [duckdb.__version__])


def next_block(cursor: duckdb.DuckDBPyConnection, *, at_least: int = BLOCK_SPANS) -> Block | None:
    """What is to be indexed next; None if fewer spans than `at_least` wait."""
    waiting = _count(cursor, "SELECT count(*) FROM spans") - _indexed(cursor)
    if waiting < max(1, at_least):
        return None
    first, before = _first_waiting(cursor, waiting)
    width = BLOCK_SPANS + before
    while True:
        rows = f"rowid BETWEEN {first:d} AND {first + width - 1:d}"
        sql = f"SELECT count(*), max(received_ms), sum(len(attributes)) FROM spans WHERE {rows}"  # noqa: S608  (ours)
        spans, received_ms, attributes = cursor.execute(sql).fetchone() or (0, 0, 0)
        if spans > before:  # else what was deleted has left a gap here, and the spans that wait lie behind it
            break
        width *= 2
    return Block(
        hashes=_hashes(cursor, rows) if attributes <= MAX_ATTRIBUTES else None,
        intervals=_intervals(cursor, rows),
        received_ms=received_ms,
        spans=spans - before,
    )


def keep(connection: duckdb.DuckDBPyConnection, block: Block) -> None:
    """In a transaction of the writer's."""
    number = 1 + _count(connection, "SELECT coalesce(max(block), 0) FROM attribute_blocks")
    if block.hashes is not None:
        # DuckDB finds it by its name.
        incoming = pa.table({"hash": block.hashes, "block": np.full(len(block.hashes), number, np.uint32)})  # noqa: F841
        connection.execute("INSERT INTO attribute_pairs SELECT * FROM incoming")
    for interval in block.intervals:
        row = [number, *interval, block.received_ms, block.hashes is not None]
        connection.execute("INSERT INTO attribute_blocks VALUES (?, ?, ?, ?, ?)", row)
    connection.execute("UPDATE attribute_index SET spans = spans + ?", [block.spans])


def forget(connection: duckdb.DuckDBPyConnection, *, received_ms: int, spans: int) -> None:
    """In the transaction that has removed `spans`, all received before `received_ms`."""
    gone = f"SELECT block FROM attribute_blocks GROUP BY block HAVING max(received_ms) < {received_ms:d}"  # noqa: S608
    for table in ("attribute_pairs", "attribute_blocks"):
        connection.execute(f"DELETE FROM {table} WHERE block IN ({gone})")  # noqa: S608  (ours)
    # As if all had been indexed; if some had not, as many are indexed twice, which does no harm.
    connection.execute("UPDATE attribute_index SET spans = greatest(spans, $1) - $1", [spans])


def waiting_intervals(cursor: duckdb.DuckDBPyConnection) -> list[Interval]:
    """Between which starts the spans are that no block has."""
    waiting = _count(cursor, "SELECT count(*) FROM spans") - _indexed(cursor)
    if waiting <= 0:
        return []
    first, _ = _first_waiting(cursor, waiting)
    return _intervals(cursor, f"rowid >= {first:d}")


def blocks_with(cursor: duckdb.DuckDBPyConnection, needs: Needs) -> list[Interval]:
    """
    The intervals of the blocks that may have, of each set, one pair at least; ascending, those that touch joined.

    Args:
        needs: at least one set.
    """
    pairs = sorted(set().union(*needs))
    hashed = ", ".join(_HASH.format(f"$k{at}", f"$v{at}") for at in range(len(pairs)))
    values = {f"k{at}": pair.key for at, pair in enumerate(pairs)} | {
        f"v{at}": pair.text for at, pair in enumerate(pairs)
    }
    row = cursor.execute(f"SELECT {hashed}", values).fetchone() or ()
    numbers = dict(zip(pairs, row, strict=True))
    wanted = ", ".join(str(number) for number in sorted(set(row)))
    found: dict[int, set[int]] = {number: set() for number in row}
    # The numbers are ours, and as literals DuckDB can push them into the scan.
    sql = f"SELECT hash, block FROM attribute_pairs WHERE hash IN ({wanted})"  # noqa: S608
    for number, block in cursor.execute(sql).fetchall():
        found[number].add(block)
    held = [set().union(*(found[numbers[pair]] for pair in need)) for need in needs]
    having = set.intersection(*held)
    rows = cursor.execute(
        "SELECT first_unix_nano, last_unix_nano, block, complete FROM attribute_blocks ORDER BY ALL"
    ).fetchall()
    return joined([Interval(first, last) for first, last, block, complete in rows if block in having or not complete])


def joined(intervals: Sequence[Interval]) -> list[Interval]:
    """Ascending; those that overlap, or lie nearer than a quarter of the first one's length, are one."""
    out: list[Interval] = []
    for first, last in sorted(intervals):
        if out and first - out[-1].last_unix_nano <= (last - first) // 4:
            out[-1] = Interval(out[-1].first_unix_nano, max(last, out[-1].last_unix_nano))
        else:
            out.append(Interval(first, last))
    return out


def _hashes(cursor: duckdb.DuckDBPyConnection, rows: str) -> NDArray[np.uint32] | None:
    pair = _HASH.format("a.k", "a.v")
    sql = f"""
        SELECT DISTINCT h FROM (
            SELECT {pair} AS h FROM (SELECT unnest(attributes) AS a FROM spans WHERE {rows})
            UNION ALL SELECT {_HASH.format(f"'{OPERATION}'", "name")} FROM spans WHERE {rows}
            UNION ALL SELECT {pair} FROM (
                SELECT unnest(e.attributes) AS a FROM (SELECT unnest(events) AS e FROM spans WHERE {rows})
            )
            UNION ALL SELECT {pair} FROM (
                SELECT unnest(attributes) AS a FROM resources
                WHERE id IN (SELECT DISTINCT resource_id FROM spans WHERE {rows})
            )
        ) ORDER BY h LIMIT {MAX_PAIRS + 1:d}
    """  # noqa: S608  (ours)
    hashes: NDArray[np.uint32] = cursor.execute(sql).fetchnumpy()["h"]
    return hashes if len(hashes) <= MAX_PAIRS else None


def _intervals(cursor: duckdb.DuckDBPyConnection, rows: str) -> list[Interval]:
    sql = f"""
        SELECT min(start_unix_nano), max(start_unix_nano) FROM spans WHERE {rows}
        GROUP BY start_unix_nano // {APART_NANO} ORDER BY 1
    """  # noqa: S608  (ours)
    out: list[Interval] = []
    for first, last in cursor.execute(sql).fetchall():
        if out and first - out[-1].last_unix_nano <= APART_NANO:
            out[-1] = Interval(out[-1].first_unix_nano, last)
        else:
            out.append(Interval(first, last))
    return out if len(out) <= MAX_INTERVALS else [Interval(out[0].first_unix_nano, out[-1].last_unix_nano)]


def _first_waiting(cursor: duckdb.DuckDBPyConnection, waiting: int) -> tuple[int, int]:
    """
    From which row on the last `waiting` spans lie, and how many indexed ones lie there too.

    Rows are numbered in the order they were appended, with gaps where some were deleted.
    """
    last = _count(cursor, "SELECT coalesce(max(rowid), -1) FROM spans")
    width = waiting
    while True:
        first = max(0, last + 1 - width)
        there = _count(cursor, f"SELECT count(*) FROM spans WHERE rowid >= {first:d}")  # noqa: S608  (ours)
        if there >= waiting or not first:
            return first, there - waiting
        width *= 2


def _indexed(cursor: duckdb.DuckDBPyConnection) -> int:
    return _count(cursor, "SELECT spans FROM attribute_index")


def _count(cursor: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = cursor.execute(sql).fetchone()
    return int(row[0]) if row else 0
