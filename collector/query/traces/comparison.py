"""
Two sets of traces compared: which attribute values are over-represented in the first.

One SQL statement finds both sets, unfolds every attribute of every span of theirs (and of their resources), counts the
traces of each set that have each value, and ranks the values by how unlikely the difference is by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from collector.model.telemetry import SpanKind, StatusCode
from collector.query.traces.expression import Filter
from collector.query.traces.matching import matching
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.search import Range

MAX_TRACES = 5_000  # of each set, the newest: about 1 s of work at ten spans of ten attributes each
MIN_TRACES = 2  # a value of a single trace (an order's number) says nothing of the set
MAX_VALUE = 200  # characters of a value that is shown; those that begin alike count as one


class ValueCount(NamedTuple):
    scope: str  # span, resource, event; empty for what every span has (service, name, kind, status)
    key: str
    value: str
    selection: int  # traces with the value
    baseline: int
    score: float  # standard deviations between the two shares, if both sets were drawn from one


@dataclass(frozen=True, slots=True)
class Comparison:
    selection_traces: int
    baseline_traces: int
    capped: bool  # a set had more than MAX_TRACES traces, and only the newest count
    values: tuple[ValueCount, ...]  # the most over-represented first


def compare(
    database: TelemetryDatabase, *, selection: Filter, baseline: Filter, within: Range, limit: int
) -> Comparison:
    """A trace that both filters match counts for the selection alone, so the baseline may be `{}`: all others."""
    chosen, others = matching(selection, prefix="s"), matching(baseline, prefix="b")
    kinds = ", ".join(f"{int(kind)}: '{kind.name.lower()}'" for kind in SpanKind)
    statuses = ", ".join(f"{int(code)}: '{code.name.lower()}'" for code in StatusCode)
    newest = f"GROUP BY trace_hi, trace_lo ORDER BY max(start_unix_nano) DESC LIMIT {MAX_TRACES + 1}"
    sql = f"""
        WITH selected AS MATERIALIZED (SELECT trace_hi, trace_lo FROM ({chosen.sql}) {newest}),
        others AS MATERIALIZED (
            SELECT trace_hi, trace_lo FROM ({others.sql}) ANTI JOIN selected USING (trace_hi, trace_lo) {newest}
        ),
        traces AS MATERIALIZED (
            SELECT *, (row_number() OVER ())::UINTEGER AS t FROM (
                SELECT *, TRUE AS chosen FROM (FROM selected LIMIT {MAX_TRACES})
                UNION ALL SELECT *, FALSE FROM (FROM others LIMIT {MAX_TRACES})
            )
        ),
        s AS MATERIALIZED (
            SELECT t, chosen, service, name, kind, status_code, attributes, resource_id, events
            FROM spans JOIN traces ON spans.trace_lo = traces.trace_lo AND spans.trace_hi = traces.trace_hi
        ),
        pairs AS (
            SELECT t, chosen, 'span' AS scope, a.k AS key, a.v AS value
                FROM (SELECT t, chosen, unnest(attributes) AS a FROM s)
            UNION ALL SELECT t, chosen, 'resource', a.k, a.v FROM (
                SELECT t, chosen, unnest(r.attributes) AS a
                FROM (SELECT DISTINCT t, chosen, resource_id FROM s) JOIN resources r ON r.id = resource_id
            )
            UNION ALL SELECT t, chosen, 'event', a.k, a.v FROM (
                SELECT t, chosen, unnest(e.attributes) AS a FROM (SELECT t, chosen, unnest(events) AS e FROM s)
            )
            UNION ALL SELECT DISTINCT t, chosen, '', 'service', service FROM s
            UNION ALL SELECT DISTINCT t, chosen, '', 'name', name FROM s
            UNION ALL SELECT DISTINCT t, chosen, '', 'kind', MAP {{{kinds}}}[kind] FROM s
            UNION ALL SELECT DISTINCT t, chosen, '', 'status', MAP {{{statuses}}}[status_code] FROM s
        ),
        sizes AS (SELECT count(*) FILTER (chosen) AS ns, count(*) FILTER (NOT chosen) AS nb FROM traces),
        once AS (SELECT DISTINCT t, chosen, scope, key, left(value, {MAX_VALUE}) AS value FROM pairs),
        counted AS (
            SELECT scope, key, value, count(*) FILTER (chosen) AS cs, count(*) FILTER (NOT chosen) AS cb
            FROM once WHERE value IS NOT NULL AND key <> 'service.name' GROUP BY ALL HAVING cs >= {MIN_TRACES}
        ),
        shares AS (SELECT *, (cs + cb) / (ns + nb) AS overall FROM counted, sizes)
        SELECT (SELECT count(*) FROM selected), (SELECT count(*) FROM others), list(
            {{'scope': scope, 'key': key, 'value': value, 'selection': cs, 'baseline': cb, 'score': score}}
            ORDER BY score DESC, cs DESC, scope, key, value)
        FROM (
            SELECT *, (cs / ns - cb / nb) / sqrt(overall * (1 - overall) * (1 / ns + 1 / nb)) AS score
            FROM shares WHERE overall < 1 AND ns > 0 AND nb > 0 AND cs / ns > cb / nb ORDER BY score DESC LIMIT $limit
        )
    """  # noqa: S608  (ours, the values are bound)
    values = {
        **chosen.values,
        **others.values,
        "start": within.start_unix_nano,
        "end": within.end_unix_nano,
        "limit": limit,
    }
    with database.reading() as cursor:
        row = cursor.execute(sql, values).fetchone()
    selected, rest, found = row or (0, 0, None)
    return Comparison(
        selection_traces=min(selected, MAX_TRACES),
        baseline_traces=min(rest, MAX_TRACES),
        capped=max(selected, rest) > MAX_TRACES,
        values=tuple(ValueCount(**value) for value in found or ()),
    )
