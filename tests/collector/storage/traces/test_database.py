from __future__ import annotations

import duckdb
import pytest

from collector.errors import CollectorError, LimitExceededError, TemporaryError
from collector.model.ids import parse_trace_id
from collector.pipeline.spans import decode_spans
from collector.storage.traces import database as database_module
from collector.storage.traces import reader
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.extents import sort_recent

TRACE_ID = parse_trace_id("0af7651916cd43dd8448eb211c80319c")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "telemetry.duckdb"


def test_retention_removes_old_spans_and_the_resources_only_they_used(path, new_trace_request):
    database = TelemetryDatabase.open(path)
    old, new = new_trace_request(), new_trace_request()
    for span in new.resource_spans[0].scope_spans[0].spans:
        span.trace_id = b"2" * 16
    new.resource_spans[0].resource.attributes[0].value.string_value = "cart"
    database.write([decode_spans(old.SerializeToString(), received_ms=1_000)])
    database.write([decode_spans(new.SerializeToString(), received_ms=2_000)])
    removed = database.remove_before(2_000)
    assert (removed.spans, removed.logs, removed.more) == (2, 0, False)
    database.watch_origins()
    database.remove_origins(database.unused_origins())
    traces = reader.TraceReader(database)
    assert traces.trace(TRACE_ID) is None
    assert traces.services() == ["cart"]
    with database.reading() as cursor:
        assert cursor.execute("SELECT service FROM resources").fetchall() == [("cart",)]
    # What was forgotten is learned again when it comes back.
    database.write([decode_spans(old.SerializeToString(), received_ms=3_000)])
    assert traces.trace(TRACE_ID).spans[0].resource.service == "catalog"
    database.close()


def test_everything_is_there_after_reopening(path, new_trace_request):
    database = TelemetryDatabase.open(path)
    database.write([decode_spans(new_trace_request().SerializeToString(), received_ms=1)])
    before = reader.TraceReader(database).trace(TRACE_ID)
    database.close()
    database = TelemetryDatabase.open(path)
    database.write([decode_spans(new_trace_request().SerializeToString(), received_ms=2)])
    assert reader.TraceReader(database).trace(TRACE_ID) == before
    with database.reading() as cursor:
        assert cursor.execute("SELECT count(*) FROM resources").fetchall() == [(1,)]
    database.close()


def test_an_answer_beyond_the_limit_is_refused(path, new_trace_request, monkeypatch):
    database = TelemetryDatabase.open(path)
    database.write([decode_spans(new_trace_request().SerializeToString(), received_ms=1)])
    monkeypatch.setattr(reader, "MAX_SPANS", 1)
    with pytest.raises(LimitExceededError, match="more than 1 spans"):
        reader.TraceReader(database).trace(TRACE_ID)
    database.close()


def test_a_file_of_another_version_is_refused(path):
    TelemetryDatabase.open(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(CollectorError, match="schema version 99"):
        TelemetryDatabase.open(path)


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(CollectorError, match=r"telemetry\.duckdb"):
        TelemetryDatabase.open(path)


def test_a_file_of_the_version_before_is_brought_up_to_date(path, new_trace_request):
    database = TelemetryDatabase.open(path)
    database.write([decode_spans(new_trace_request().SerializeToString(), received_ms=1_000)])
    before = reader.TraceReader(database).trace(TRACE_ID)
    database.close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE trace_extents")
        connection.execute("DROP TABLE recent_extents")
        connection.execute("UPDATE schema_version SET version = 1")
    database = TelemetryDatabase.open(path)
    assert reader.TraceReader(database).trace(TRACE_ID) == before
    assert database.remove_before(2_000).spans == 2
    with database.reading() as cursor:
        assert cursor.execute("SELECT count(*) FROM recent_extents").fetchall() == [(0,)]
    database.close()


def test_a_trace_in_many_commits_and_far_apart_is_found_whole(path, new_trace_request):
    """Beside others whose ids end alike."""
    database = TelemetryDatabase.open(path)
    for hours in range(5):
        request = new_trace_request()
        root, child = request.resource_spans[0].scope_spans[0].spans
        root.span_id, root.start_time_unix_nano = (hours + 1).to_bytes(8), 1_700_000_000 * 10**9 + hours * 3600 * 10**9
        child.trace_id = b"other---" + child.trace_id[8:]
        database.write([decode_spans(request.SerializeToString(), received_ms=hours)])
    traces = reader.TraceReader(database)
    assert [span.span_id for span in traces.trace(TRACE_ID).spans] == [1, 2, 3, 4, 5]
    with database.writing() as connection:
        assert sort_recent(connection, at_least=6) == 0
        assert sort_recent(connection, at_least=5) == 5
    assert [span.span_id for span in traces.trace(TRACE_ID).spans] == [1, 2, 3, 4, 5]
    several = traces.traces([parse_trace_id(f"{number:x}") for number in range(1, 9)] + [TRACE_ID])
    assert [len(trace.spans) for trace in several] == [5]
    database.close()


def test_a_query_that_takes_too_long_is_broken_off(path, monkeypatch):
    monkeypatch.setattr(database_module, "READ_WITHIN_S", 0.05)
    database = TelemetryDatabase.open(path)
    with pytest.raises(TemporaryError, match=r"longer than 0\.05 s"), database.reading() as cursor:
        cursor.execute("SELECT count(*) FROM range(100000000) a(i), range(1000) b(j) WHERE hash(i) = hash(j) + 1")
    with database.reading() as cursor:
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
    database.close()
