"""
Searches for traces at 1 and 10 million spans, first and repeated.

    python bench/trace_queries.py [--spans 1000000 10000000] [--repeat 7] [--keep DIR]

The spans are made by DuckDB itself, in the collector's own schema, of a shop's shape (eight spans a trace, six
services, 1 % errors) and in the order in which they would have been received. Each question is asked as the API asks
it, through the collector's own reader with its own limits of memory and threads: first on a file just opened (the
machine's own cache of the file stays warm), then repeated. Prints milliseconds; `cpu` is the median of the time of all
threads, which other load on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from collector.model.ids import TraceId, trace_id_of
from collector.query.traces.matching import matching
from collector.query.traces.syntax import parse_filter
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.extents import sort_recent
from collector.storage.traces.reader import TraceReader
from collector.storage.traces.schema import TRACE_EXTENTS
from collector.storage.traces.search import Range

SPANS_A_TRACE = 8
RATE = 1_000  # spans a second that the times stand for
ORIGIN_NANO = 1_700_000_000_000_000_000
BATCH_SPANS = 500_000
COMMIT_MS = 100  # between two commits, as the collector's own (pipeline/commit.py)
PAGE = 20  # Jaeger's page asks for this many
EVERYTHING = Range(0, 2**63 - 1)

SEARCHES = {
    "everything": "{}",
    "service": '{service = "checkout"}',
    "service and operation": '{service = "catalog" && name = "GET /products/{id}"}',
    "errors": "{status = error}",
    "errors of a service": '{service = "payment" && status = error}',
    "slower than 900 ms": "{duration > 900ms}",
    "attribute, 1 in 50": '{span.http.route = "/route/7"}',
    "attribute, one span": '{span.order.id = "order-77777"}',
    "resource attribute": '{resource.service.instance.id = "payment-1"}',
    "regular expression": '{name =~ "POST .*"}',
    "nothing matches": '{service = "checkout" && span.http.status_code = 418}',
    "errors below slow checkouts": '{service = "gateway" && duration > 900ms} >> {status = error}',
    "two spansets": '{service = "gateway" && duration > 950ms} && {service = "payment" && status = error}',
    "more than one error": "{status = error} | count() > 1",
}

_SERVICES = "['gateway', 'catalog', 'cart', 'checkout', 'payment', 'inventory']"
_NAMES = "['GET /products/{id}', 'POST /cart', 'worker_pool.wait', 'SELECT products', 'POST /pay', 'GET /stock']"
_FILL = f"""
    INSERT INTO spans BY NAME
    SELECT hash(trace) AS trace_hi, hash(trace + 1000000007) AS trace_lo, hash(i) | 1 AS span_id,
        CASE WHEN place = 0 THEN 0 ELSE hash(i - 1 - (i % 2) * (place > 1)::BIGINT) | 1 END AS parent_span_id,
        {_SERVICES}[1 + CASE WHEN place = 0 THEN 0 ELSE (hash(i // 2) % 6)::BIGINT END] AS service,
        {_NAMES}[1 + (hash(i // 3) % 6)::BIGINT] AS name,
        1 + (i % 5)::INTEGER AS kind,
        ($origin + i * 1000000000 // {RATE})::UBIGINT AS start_unix_nano,
        ((hash(i + 7) % 1000) * 1000000 // (place + 1))::BIGINT AS duration_nano,
        CASE WHEN hash(i + 3) % 100 = 0 THEN 2 ELSE 0 END AS status_code, '' AS status_message, '' AS trace_state,
        257::UINTEGER AS flags,
        [{{'k': 'http.request.method', 't': 1::UTINYINT, 'v': 'GET'}},
         {{'k': 'http.route', 't': 1::UTINYINT, 'v': '/route/' || (hash(i) % 50)}},
         {{'k': 'http.status_code', 't': 3::UTINYINT, 'v': CASE WHEN hash(i + 3) % 100 = 0 THEN '500' ELSE '200' END}},
         {{'k': 'server.address', 't': 1::UTINYINT, 'v': '127.0.0.1'}},
         {{'k': 'order.id', 't': 1::UTINYINT, 'v': 'order-' || i}}] AS attributes,
        CASE WHEN hash(i + 3) % 100 = 0 THEN [{{'time_unix_nano': ($origin + i)::UBIGINT, 'name': 'exception',
            'attributes': [{{'k': 'exception.type', 't': 1::UTINYINT, 'v': 'TimeoutError'}}],
            'dropped_attributes': 0::UINTEGER}}] ELSE [] END AS events,
        [] AS links, 0 AS dropped_attributes, 0 AS dropped_events, 0 AS dropped_links,
        (1 + list_position({_SERVICES}, service) * 2 + i % 2)::UBIGINT AS resource_id, 1 AS scope_id,
        ($origin // 1000000 + i * 1000 // {RATE})::BIGINT AS received_ms
    FROM (SELECT i, i // {SPANS_A_TRACE} AS trace, i % {SPANS_A_TRACE} AS place FROM range($first, $last) t(i))
"""  # noqa: S608  (ours)
_RESOURCES = f"""
    INSERT INTO resources SELECT 1 + s * 2 + n, {_SERVICES}[s], ''::BLOB, '',
        [{{'k': 'service.name', 't': 1::UTINYINT, 'v': {_SERVICES}[s]}},
         {{'k': 'service.instance.id', 't': 1::UTINYINT, 'v': {_SERVICES}[s] || '-' || n}}]
    FROM range(1, 7) a(s), range(0, 2) b(n)
"""  # noqa: S608


def fill(path: Path, spans: int) -> None:
    TelemetryDatabase.open(path).close()  # the schema
    with duckdb.connect(str(path), config={"threads": 1, "memory_limit": "1GiB"}) as connection:
        connection.execute(_RESOURCES)
        connection.execute("INSERT INTO scopes VALUES (1, 'shop', '1', ''::BLOB, '')")
        for first in range(0, spans, BATCH_SPANS):
            received = ORIGIN_NANO // 10**6 + first * 1000 // RATE
            values = {"origin": ORIGIN_NANO, "first": first, "last": min(spans, first + BATCH_SPANS)}
            connection.execute(_FILL, values)
            commits = f"(SELECT * FROM spans WHERE received_ms >= {received})"  # noqa: S608
            connection.execute(TRACE_EXTENTS.format(source=commits) + f", received_ms // {COMMIT_MS}")
            sort_recent(connection)
        connection.execute("CHECKPOINT")
    database = TelemetryDatabase.open(path)
    while (block := database.next_block()) is not None:
        database.keep_block(block)
    database.close()


def some_traces(path: Path) -> list[TraceId]:
    """Ids from all over the file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "SELECT DISTINCT trace_hi, trace_lo FROM spans USING SAMPLE 200 ROWS (reservoir, 7)"
        ).fetchall()
    return [trace_id_of(*row) for row in rows]


def questions(ids: Iterator[TraceId]) -> dict[str, Callable[[TraceReader], object]]:
    def search(text: str) -> Callable[[TraceReader], object]:
        return lambda reader: reader.find_summaries(matching(parse_filter(text)), EVERYTHING, limit=PAGE)

    return {
        "trace by id": lambda reader: reader.trace(next(ids)),
        "services": lambda reader: reader.services(),
        "operations of a service": lambda reader: reader.operations("checkout"),
        **{name: search(text) for name, text in SEARCHES.items()},
    }


def timed_ms(ask: Callable[[TraceReader], object], reader: TraceReader) -> tuple[float, float]:
    """Of the wall clock and of the processor."""
    began, busy = time.perf_counter(), time.process_time()
    assert ask(reader) is not None
    return (time.perf_counter() - began) * 1000, (time.process_time() - busy) * 1000


def measure(path: Path, spans: int, repeat: int) -> None:
    ids = iter(some_traces(path) * (repeat + 1))
    print(f"\n{spans:,} spans, {path.stat().st_size / 1e6:,.0f} MB ({path.stat().st_size / spans:.0f} bytes a span)")
    print(f"{'':<32}{'first':>10}{'median':>10}{'worst':>10}{'cpu':>10}")
    for name, ask in questions(ids).items():
        database = TelemetryDatabase.open(path)
        try:
            reader = TraceReader(database)
            first, _ = timed_ms(ask, reader)
            times, cpu = zip(*(timed_ms(ask, reader) for _ in range(repeat)), strict=True)
        finally:
            database.close()
        median, busy = statistics.median(times), statistics.median(cpu)
        print(f"{name:<32}{first:>10.1f}{median:>10.1f}{max(times):>10.1f}{busy:>10.1f}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--spans", type=int, nargs="+", default=[1_000_000, 10_000_000])
    arguments.add_argument("--repeat", type=int, default=7)
    arguments.add_argument("--keep", type=Path, help="use and leave the files here")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for spans in options.spans:
            path = folder / f"{spans}.duckdb"
            if not path.exists():
                fill(path, spans)
            measure(path, spans, options.repeat)


if __name__ == "__main__":
    main()
