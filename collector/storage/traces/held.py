"""
Spans that wait for the decision whether their trace is kept. They are as durable as others, and no search finds them.

A decision moves or deletes the spans of its traces and is remembered in one transaction, so a kill leaves no trace half
kept. What comes late to a trace follows what was decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.model.telemetry import Origin, SpanBatch, StatusCode
from collector.storage.traces.conditions import Parameters, has, on_resource
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.schema import TRACE_EXTENTS, create_table

DECISION_COLUMNS = {"trace_hi": "UBIGINT", "trace_lo": "UBIGINT", "kept": "BOOLEAN", "decided_ms": "BIGINT"}
Mask = NDArray[np.bool_]
MOST_TRACES = 20_000  # decided in one go; each takes some 200 bytes
MOST_SPANS = 8_192  # moved in one transaction, as many as a commit of new ones holds, which waits no longer for it
UNDECIDED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeCondition:
    """Whether a span of the trace, or its resource, has an attribute with such a value."""

    key: str
    texts: tuple[str, ...] = ()  # one of these, or a match of one if they are patterns
    patterns: bool = False  # RE2; found anywhere, as in the Collector
    least: float | None = None  # else a number from here to `most`, both inclusive
    most: float | None = None

    def sql(self, parameters: Parameters) -> str:
        condition = f"a.k = {parameters.bind(self.key)} AND {self._value(parameters)}"
        return f"({has('attributes', condition)} OR {on_resource(has('attributes', condition))})"

    def _value(self, parameters: Parameters) -> str:
        if self.texts and self.patterns:
            return "(" + " OR ".join(f"regexp_matches(a.v, {parameters.bind(each)})" for each in self.texts) + ")"
        if self.texts:
            return f"a.v IN ({', '.join(parameters.bind(each) for each in self.texts)})"
        low, high = parameters.bind(self.least), parameters.bind(self.most)
        number = "try_cast(a.v AS DOUBLE)"
        return f"a.t IN (3, 4) AND {number} >= coalesce({low}, {number}) AND {number} <= coalesce({high}, {number})"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTraces:
    """Traces [n] that are to be decided, those that came first at the front."""

    trace_hi: NDArray[np.uint64]
    trace_lo: NDArray[np.uint64]
    came_ms: NDArray[np.int64]
    decided: NDArray[np.int64]  # 1: kept, 0: not, earlier; UNDECIDED
    spans: NDArray[np.int64]
    duration_ms: NDArray[np.int64]  # from the first start to the last end, whole ones
    statuses: Mapping[StatusCode, Mask]  # whether a span has it
    service: Sequence[str]  # of the root, else of the earliest span
    operation: Sequence[str]
    conditions: Sequence[Mask] = field(default=())  # as asked for

    def __len__(self) -> int:
        return len(self.trace_lo)

    def of(self, rows: NDArray[np.int64]) -> HeldTraces:
        return HeldTraces(
            trace_hi=self.trace_hi[rows],
            trace_lo=self.trace_lo[rows],
            came_ms=self.came_ms[rows],
            decided=self.decided[rows],
            spans=self.spans[rows],
            duration_ms=self.duration_ms[rows],
            statuses={code: flags[rows] for code, flags in self.statuses.items()},
            service=[self.service[row] for row in rows.tolist()],
            operation=[self.operation[row] for row in rows.tolist()],
            conditions=[flags[rows] for flags in self.conditions],
        )


def create(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(create_table("sampling_decisions", DECISION_COLUMNS))


def held_traces(cursor: duckdb.DuckDBPyConnection) -> int:
    rows = cursor.execute("SELECT count(DISTINCT (trace_hi, trace_lo)) FROM held_spans").fetchall()
    return int(rows[0][0])


def read_due(
    cursor: duckdb.DuckDBPyConnection,
    *,
    came_before_ms: int,
    most_held: int,
    conditions: Sequence[AttributeCondition] = (),
) -> HeldTraces:
    """
    The traces whose time has come: those that came before, those of which something was decided already, and the oldest
    of more than `most_held`; MOST_TRACES at most.
    """
    parameters = Parameters()
    wanted = [f", bool_or({each.sql(parameters)}) AS c{number}" for number, each in enumerate(conditions)]
    states = [f", bool_or(status_code = {int(code)}) AS s{int(code)}" for code in StatusCode]
    place = "(CASE WHEN parent_span_id = 0 THEN 0 ELSE 1 END, start_unix_nano, span_id)"
    sql = f"""
        WITH here AS (
            SELECT trace_hi, trace_lo, min(received_ms) AS came_ms FROM held_spans GROUP BY trace_hi, trace_lo
        ), due AS (
            SELECT here.*, coalesce(d.kept::INTEGER, {UNDECIDED}) AS decided,
                row_number() OVER (ORDER BY came_ms) AS place, count(*) OVER () AS held
            FROM here LEFT JOIN sampling_decisions d USING (trace_hi, trace_lo)
            QUALIFY decided <> {UNDECIDED} OR came_ms <= $before OR place <= held - $most
            ORDER BY came_ms LIMIT {MOST_TRACES}
        )
        SELECT trace_hi, trace_lo, any_value(came_ms) AS came_ms, any_value(decided) AS decided, count(*) AS spans,
            ((max(start_unix_nano::HUGEINT + greatest(duration_nano, 0)) - min(start_unix_nano)) // 1000000)::BIGINT
                AS duration_ms,
            min_by(service, {place}) AS service, min_by(name, {place}) AS operation {"".join(states)} {"".join(wanted)}
        FROM held_spans JOIN due USING (trace_hi, trace_lo) GROUP BY trace_hi, trace_lo ORDER BY came_ms
    """  # noqa: S608  (ours, the values are bound)
    values = {**parameters.values, "before": came_before_ms, "most": most_held}
    found: pa.Table = cursor.sql(sql, params=values).to_arrow_table()

    def numbers(name: str) -> NDArray[np.int64]:
        column: NDArray[np.int64] = found.column(name).to_numpy().astype(np.int64)
        return column

    def flags(name: str) -> Mask:
        return np.array([bool(each) for each in found.column(name).to_pylist()], np.bool_)

    return HeldTraces(
        trace_hi=found.column("trace_hi").to_numpy(),
        trace_lo=found.column("trace_lo").to_numpy(),
        came_ms=numbers("came_ms"),
        decided=numbers("decided"),
        spans=numbers("spans"),
        duration_ms=numbers("duration_ms"),
        statuses={code: flags(f"s{int(code)}") for code in StatusCode},
        service=found.column("service").to_pylist(),
        operation=found.column("operation").to_pylist(),
        conditions=[flags(f"c{number}") for number in range(len(conditions))],
    )


def slices(spans: NDArray[np.int64]) -> Iterator[slice]:
    """Parts of traces that have MOST_SPANS together, or one trace that has more."""
    begin = 0
    running = np.concatenate(([0], spans.cumsum()))
    while begin < len(spans):
        end = max(begin + 1, int(np.searchsorted(running, running[begin] + MOST_SPANS, side="right")) - 1)
        yield slice(begin, end)
        begin = end


def settle(
    database: TelemetryDatabase,
    trace_hi: NDArray[np.uint64],
    trace_lo: NDArray[np.uint64],
    kept: Mask,
    *,
    now_ms: int,
) -> SpanBatch | None:
    """
    Move the spans of the traces that are kept to where searches find them, and delete the others. On the writer's
    thread.

    Returns:
        The spans that were kept; None if there are none.

    Raises:
        TemporaryError: nothing was done.
    """
    decided = pa.table({"trace_hi": trace_hi, "trace_lo": trace_lo, "kept": kept})
    decisions = decided.append_column("decided_ms", pa.array(np.full(len(kept), now_ms)))
    with database.writing() as connection:
        # DuckDB finds the two tables by the names of the variables.
        connection.execute("""
            INSERT INTO sampling_decisions
            SELECT * FROM decisions ANTI JOIN sampling_decisions USING (trace_hi, trace_lo)
        """).fetchall()  # DuckDB wants a result read before a relation is made
        spans: pa.Table = connection.sql("""
            SELECT held_spans.* FROM held_spans SEMI JOIN (SELECT * FROM decided WHERE kept) USING (trace_hi, trace_lo)
        """).to_arrow_table()
        spans = spans.combine_chunks()
        if spans.num_rows:
            database.append_spans(spans)
        connection.execute(
            "DELETE FROM held_spans WHERE (trace_hi, trace_lo) IN (SELECT (trace_hi, trace_lo) FROM decided)"
        )
        del decisions
        return SpanBatch(spans, _origins(connection, spans), {}) if spans.num_rows else None


def release(database: TelemetryDatabase) -> int:
    """Keep all that is held, as nobody decides any more. Returns how many spans that were."""
    with database.writing() as connection:
        row = connection.execute("SELECT count(*) FROM held_spans").fetchone()
        if row is None or not row[0]:
            return 0
        connection.execute(TRACE_EXTENTS.format(source="held_spans"))
        connection.execute("INSERT INTO spans SELECT * FROM held_spans")
        connection.execute("DELETE FROM held_spans")
        return int(row[0])


def forget_decisions(database: TelemetryDatabase, *, kept: int, dropped: int) -> None:
    """Remember at most the newest so many decisions."""
    with database.writing() as connection:
        for which, most in ((True, kept), (False, dropped)):
            connection.execute(
                """
                DELETE FROM sampling_decisions WHERE kept = $which AND decided_ms < (
                    SELECT decided_ms FROM sampling_decisions WHERE kept = $which
                    ORDER BY decided_ms DESC LIMIT 1 OFFSET $most
                )
                """,
                {"which": which, "most": most - 1},
            )


def _origins(connection: duckdb.DuckDBPyConnection, spans: pa.Table) -> dict[int, Origin]:
    ids = np.unique(spans.column("resource_id").to_numpy()).tolist()
    rows = connection.execute(
        "SELECT id, message, schema_url FROM resources WHERE list_contains(?::UBIGINT[], id)", [ids]
    ).fetchall()
    return {key: Origin(message, url) for key, message, url in rows}
