"""Spans and log records go out and come back, exactly, however often."""

from __future__ import annotations

import asyncio
import contextlib
import os

import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, example, given, settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_requests import log_requests, trace_requests

from collector.api.archive import archive_router
from collector.app import open_collector
from collector.config import parse
from collector.errors import BadRequestError
from collector.model.attributes import ValueType
from collector.pipeline.admission import Admission, Limits
from collector.pipeline.archived import batch_of
from collector.pipeline.logs import decode_logs
from collector.pipeline.redaction import MASK, Redactor, Rules
from collector.pipeline.spans import decode_spans
from collector.storage.traces import archive_reader
from collector.storage.traces.archive import KINDS, LOGS, RESOURCES, SPANS, end_of, parts_of, read_part
from collector.storage.traces.archive_reader import ArchiveReader
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.parquet import check_files, read_files, write_files
from collector.storage.traces.search import Range

EVER = Range(0, 2**64 - 1)
examples = settings(
    deadline=None,
    max_examples=int(os.environ.get("STEERSMAN_ARCHIVE_EXAMPLES", "4")),
    phases=[phase for phase in Phase if phase is not Phase.shrink],  # each goes through two stores
    suppress_health_check=list(HealthCheck),
)


@contextlib.contextmanager
def store(path):
    database = TelemetryDatabase.open(path / "telemetry.duckdb")
    try:
        yield database
    finally:
        database.close()


def content(database) -> dict[str, list[tuple]]:
    """Every row of every table that spans and log records are in, but for when each was received."""
    with database.reading() as cursor:
        return {
            name: cursor.execute(f"SELECT {columns} FROM {name} ORDER BY ALL").fetchall()  # noqa: S608
            for name, columns in (
                ("spans", "* EXCLUDE (received_ms)"),
                ("logs", "* EXCLUDE (received_ms)"),
                ("resources", "*"),
                ("scopes", "*"),
            )
        }


def filled(database, traces, logs) -> None:
    number = 0
    for per_resource in traces.resource_spans:
        for per_scope in per_resource.scope_spans:
            for span in per_scope.spans:
                number += 1
                span.trace_id, span.span_id = os.urandom(16), number.to_bytes(8)
    batches = [
        decode_spans(traces.SerializeToString(), received_ms=1),
        decode_logs(logs.SerializeToString(), received_ms=1),
    ]
    database.write(batches)


def copied(source, folder, target, *, written=False) -> int:
    stored = 0
    for kind in KINDS.values():
        if not written:
            write_files(folder, kind, ArchiveReader(source, kind, EVER).parts())
        assert check_files(folder, kind) is not None
        for part in read_files(folder, kind):
            batch = batch_of(read_part(pa.BufferReader(part.encoded()), kind), kind, received_ms=2)
            stored += target.restore(batch)
    return stored


def twins() -> ExportLogsServiceRequest:
    """Two log records that are alike, a third of the same moment, and one of a sender without a clock."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for text in ("again", "again", "other"):
        records.add(time_unix_nano=7).body.string_value = text
    records.add()
    return request


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two, which each example empties: to open one takes longer than an example."""
    with store(tmp_path_factory.mktemp("a")) as source, store(tmp_path_factory.mktemp("b")) as target:
        yield source, target


@given(traces=trace_requests, logs=log_requests)
@example(traces=ExportTraceServiceRequest(), logs=twins())
@examples
def test_what_is_exported_and_imported_is_what_was_there(tmp_path_factory, stores, traces, logs):
    folder = tmp_path_factory.mktemp("archive")
    source, target = stores
    for database in stores:
        database.remove_before(2**62)
    filled(source, traces, logs)
    before = content(source)
    copied(source, folder / "first", target)
    after = content(target)
    assert after["spans"] == before["spans"]
    assert after["logs"] == before["logs"]
    assert after["resources"] == [row for row in before["resources"] if row in after["resources"]]
    assert copied(source, folder / "first", target, written=True) == 0
    assert copied(target, folder / "back", source) == 0
    assert content(target) == after
    assert content(source) == before


def test_a_large_store_leaves_in_bounded_parts_each_record_once(tmp_path, monkeypatch):
    """Bursts, gaps, one nanosecond with more than a part holds, and clocks that are off."""
    monkeypatch.setattr(archive_reader, "PART_ROWS", 50)
    monkeypatch.setattr(archive_reader, "_MOST_ROWS", 200)
    monkeypatch.setattr(archive_reader, "_BATCH_ROWS", 16)
    starts = [
        0,
        2**64 - 1,
        *[10**18] * 170,
        *range(10**18, 10**18 + 500),
        *range(10**18 + 10**15, 10**18 + 10**15 + 90),
    ]
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number, start in enumerate(starts, 1):
        spans.add(trace_id=b"t" * 16, span_id=number.to_bytes(8), start_time_unix_nano=start)
    with store(tmp_path) as database:
        database.write([decode_spans(request.SerializeToString(), received_ms=1)])
        parts = list(ArchiveReader(database, SPANS, EVER).parts())
        within = Range(10**18, 10**18 + 499)
        some = list(ArchiveReader(database, SPANS, within).parts())
    assert max(part.records.num_rows for part in parts) <= 50
    assert len(parts) < 40
    ids = [number for part in parts for number in part.records.column("span_id").to_pylist()]
    assert sorted(ids) == list(range(1, len(starts) + 1))
    times = [time for part in parts for time in part.records.column("start_unix_nano").to_pylist()]
    assert times == sorted(starts)
    assert sum(part.resources.num_rows for part in parts) == 1  # in the first part that refers to it
    assert sum(part.records.num_rows for part in some) == 170 + 500


def part_of(request: ExportLogsServiceRequest | ExportTraceServiceRequest, tmp_path):
    is_trace = isinstance(request, ExportTraceServiceRequest)
    decode, kind = (decode_spans, SPANS) if is_trace else (decode_logs, LOGS)
    with store(tmp_path) as database:
        database.write([decode(request.SerializeToString(), received_ms=1)])
        (part,) = ArchiveReader(database, kind, EVER).parts()
    return part


def changed(table: pa.Table, name: str, values) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def test_a_part_that_contradicts_itself_is_refused_by_name(tmp_path, trace_request):
    part = part_of(trace_request, tmp_path)
    rows, records = part.records.num_rows, part.records
    wrong_value = [[{"k": "n", "t": int(ValueType.INT), "v": "three"}]] * rows
    wrong_type = [[{"k": "n", "t": 99, "v": "x"}]] * rows
    for broken, why in (
        (part.__class__(part.resources.slice(0, 0), part.scopes, records), "resource .* is referred to and not there"),
        (part.__class__(part.resources, part.scopes.slice(0, 0), records), "scope .* is referred to and not there"),
        (
            part.__class__(changed(part.resources, "id", [5]), part.scopes, records),
            "resource 5 is not what its id says",
        ),
        (part.__class__(changed(part.resources, "message", [b"\xff"]), part.scopes, records), "is malformed"),
        (
            part.__class__(part.resources, part.scopes, changed(records, "span_id", [0] * rows)),
            "no trace id or no span id",
        ),
        (
            part.__class__(part.resources, part.scopes, changed(records, "name", [None] * rows)),
            "column name has 2 records",
        ),
        (
            part.__class__(part.resources, part.scopes, changed(records, "attributes", wrong_value)),
            "'three' is not of type 3",
        ),
        (
            part.__class__(part.resources, part.scopes, changed(records, "attributes", wrong_type)),
            "'x' is not of type 99",
        ),
    ):
        with pytest.raises(BadRequestError, match=why):
            batch_of(broken, SPANS, received_ms=1)


def test_an_import_masks_what_the_export_did_not(tmp_path, trace_request):
    resource = trace_request.resource_spans[0].resource
    resource.attributes.add(key="password").value.string_value = "hunter2"
    span = trace_request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="cookie").value.string_value = "hunter2"
    span.events[0].attributes.add(key="card").value.string_value = "4111 1111 1111 1111"
    span.links[0].attributes.add(key="api_key").value.int_value = 3
    span.name = "GET https://u:hunter2@h/"
    part = part_of(trace_request, tmp_path / "a")
    batch = batch_of(part, SPANS, received_ms=1, redactor=Redactor(Rules()))
    with store(tmp_path / "b") as database:
        assert database.restore(batch) == 2
        text = str(content(database))
    assert "hunter2" not in text
    assert "4111 1111" not in text
    assert text.count(MASK) >= 5


def test_a_stream_that_was_cut_is_known_wherever_it_was(tmp_path, trace_request):
    part = part_of(trace_request, tmp_path)
    whole = part.encoded() + end_of(SPANS).encoded()
    assert [each.records for each in parts_of(pa.BufferReader(whole), SPANS)] == [part.records]
    for size in range(0, len(whole) - 8, 211):
        with pytest.raises(BadRequestError, match="not an archive of spans, or cut short"):
            list(parts_of(pa.BufferReader(whole[:size]), SPANS))
    with pytest.raises(BadRequestError, match="the archive's kind is spans, this is logs"):
        read_part(pa.BufferReader(whole), LOGS)
    future = {**part.records.schema.metadata, b"steersman.archive": b"2"}
    odd = part.__class__(part.resources, part.scopes, part.records.replace_schema_metadata(future))
    with pytest.raises(BadRequestError, match="the archive's version is 2, this is 1"):
        read_part(pa.BufferReader(odd.encoded()), SPANS)


def test_files_that_are_cut_changed_or_a_strangers_are_refused(tmp_path, trace_request):
    part = part_of(trace_request, tmp_path / "store")
    folder = tmp_path / "folder"
    assert write_files(folder, SPANS, [part]) == 2
    assert check_files(folder, SPANS) == 2
    assert check_files(folder, LOGS) is None
    with pytest.raises(FileExistsError, match="is there already"):
        write_files(folder, SPANS, [part])
    file = folder / "spans.parquet"
    whole = file.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(BadRequestError, match="is not a whole Parquet file"):
            check_files(folder, SPANS)
    file.write_bytes(whole[:300] + bytes([whole[300] ^ 255]) + whole[301:])
    with pytest.raises(BadRequestError, match=r"was cut or changed|is not a whole"):
        check_files(folder, SPANS)
    pa.parquet.write_table(pa.table({"x": [1]}), file)
    with pytest.raises(BadRequestError, match=r"spans\.parquet: the archive's version is none, this is 1"):
        check_files(folder, SPANS)
    file.write_bytes(whole)
    (folder / "spans.resources.parquet").unlink()
    with pytest.raises(BadRequestError, match=r"spans\.resources\.parquet is missing"):
        check_files(folder, SPANS)


def test_an_export_that_fails_leaves_no_file(tmp_path, trace_request):
    part = part_of(trace_request, tmp_path / "store")

    def parts():
        yield part
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        write_files(tmp_path / "folder", SPANS, parts())
    assert list((tmp_path / "folder").iterdir()) == []


async def test_over_http_both_want_the_token_and_import_repeats_nothing(tmp_path, trace_request):
    config = parse({}, source="config", directory=tmp_path)
    async with open_collector(config, tmp_path / "data", external_url="http://collector") as collector:
        token = (tmp_path / "data" / "secrets" / "collector.token").read_text().strip()
        transport = httpx.ASGITransport(app=collector.http_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://collector") as http:
            for request in (http.get("/api/v1/export?kind=spans"), http.post("/api/v1/import?kind=spans")):
                assert (await request).status_code == 401
            http.headers["authorization"] = f"Bearer {token}"
            part = part_of(trace_request, tmp_path / "other")
            for stored in (2, 0):
                answer = await http.post("/api/v1/import", params={"kind": "spans"}, content=part.encoded())
                assert answer.json() == {"status": "success", "data": {"received": 2, "stored": stored}}
            answer = await http.get("/api/v1/export", params={"kind": "spans"})
            (read,) = parts_of(pa.BufferReader(answer.content), SPANS)
            assert read.records == part.records
            assert read.resources == part.resources
            nothing = await http.get("/api/v1/export", params={"kind": "spans", "end_unix_nano": 5})
            assert list(parts_of(pa.BufferReader(nothing.content), SPANS)) == []
            broken = await http.post("/api/v1/import", params={"kind": "spans"}, content=part.encoded()[:1000])
            assert broken.status_code == 400
            assert "cut short" in broken.json()["error"]
            assert (await http.get("/api/v1/export?kind=metrics")).status_code == 400
            large = await http.post("/api/v1/import?kind=logs", content=bytes((32 << 20) + 1))
            assert large.status_code == 413
            exports = [http.get("/api/v1/export", params={"kind": "logs"}) for _ in range(3)]
            assert {answer.status_code for answer in await asyncio.gather(*exports)} <= {200, 503}
            assert (await http.get("/api/v1/export", params={"kind": "logs"})).status_code == 200


async def test_an_export_whose_reader_has_gone_ends_and_gives_its_place_back(tmp_path, trace_request, monkeypatch):
    monkeypatch.setattr(archive_reader, "PART_ROWS", 1)
    app, bodies = FastAPI(), []

    async def nothing_restored(_batch):
        raise AssertionError

    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        bodies.append(message.get("body", b""))

    with store(tmp_path) as database:
        filled(database, trace_request, ExportLogsServiceRequest())
        admission = Admission(Limits())
        app.include_router(archive_router(database, nothing_restored, token="t", admission=admission, redactor=None))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
        }
        scope |= {"path": "/api/v1/export", "query_string": b"kind=spans", "headers": [(b"authorization", b"Bearer t")]}
        await app(scope, gone, send)
        assert not any(bodies)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://x", headers={"authorization": "Bearer t"}
        ) as http:
            answer = await http.get("/api/v1/export?kind=spans")
    assert len(list(parts_of(pa.BufferReader(answer.content), SPANS))) == 2


def test_the_form_holds_all_that_the_store_keeps():
    from collector.storage.traces.schema import LOG_COLUMNS, RESOURCE_COLUMNS, SPAN_COLUMNS

    assert {*SPANS.schema.names, "received_ms"} == SPAN_COLUMNS.keys()
    assert {*LOGS.schema.names, "received_ms"} == LOG_COLUMNS.keys()
    assert set(RESOURCES.names) == RESOURCE_COLUMNS.keys()
