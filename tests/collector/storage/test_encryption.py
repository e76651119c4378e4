from __future__ import annotations

import base64
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.app import open_collector
from collector.config import load
from collector.errors import CollectorError, ConfigError
from collector.model.ids import parse_trace_id
from collector.model.series import Exemplar, SampleBatch, labels_of
from collector.pipeline.logs import decode_logs
from collector.pipeline.spans import decode_spans
from collector.storage.encryption import MARK, EncryptionError, EncryptionKey, check_key
from collector.storage.encryption_config import EncryptionConfig
from collector.storage.metrics.store import MetricStore
from collector.storage.seal import AesSeal
from collector.storage.traces.connection import TelemetryConnection
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader

KEY = EncryptionKey(bytes(range(32)))
OTHER = EncryptionKey(bytes(32))
TRACE_ID = parse_trace_id("0af7651916cd43dd8448eb211c80319c")
NOW_MS = 1_700_000_000_000
KNOWN = b"a-text-that-is-known"


def known_logs() -> bytes:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=5)
    record.body.string_value = KNOWN.decode()
    return request.SerializeToString()


def fill(folder, key, trace_request) -> tuple[TelemetryDatabase, MetricStore]:
    span = trace_request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="known").value.string_value = KNOWN.decode()
    trace_request.resource_spans[0].resource.attributes.add(key="known").value.string_value = KNOWN.decode()
    database = TelemetryDatabase.open(folder / "telemetry.duckdb", key=key)
    spans = decode_spans(trace_request.SerializeToString(), received_ms=NOW_MS)
    database.write([spans, decode_logs(known_logs(), received_ms=NOW_MS)])
    metrics = MetricStore.open(folder / "metrics", retention_s=3600, key=key, clock=lambda: NOW_MS)
    labels = labels_of({"__name__": "m", "known": KNOWN.decode()})
    exemplar = Exemplar((("known", KNOWN.decode()),), 1.0, NOW_MS)
    metrics.submit([SampleBatch("t", NOW_MS, (labels,), np.array([4.5]), ((0, exemplar),)).as_table()]).result(10)
    return database, metrics


def on_disk(folder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("key", "there"), [(None, True), (KEY, False)])
def test_a_known_text_is_on_the_disk_only_without_a_key(tmp_path, trace_request, key, there):
    database, metrics = fill(tmp_path, key, trace_request)
    assert (KNOWN in on_disk(tmp_path)) is there  # in the write-ahead logs
    metrics.seal_up_to(NOW_MS)
    metrics.close()
    database.close()
    content = on_disk(tmp_path)
    assert (KNOWN in content) is there  # in the files
    assert (b"http" in content or b"GET /products" in content) is there
    assert list((tmp_path / "metrics").glob("*.segment"))


def test_what_was_encrypted_is_read_again_with_the_key(tmp_path, trace_request):
    database, metrics = fill(tmp_path, KEY, trace_request)
    before = TraceReader(database).trace(TRACE_ID)
    metrics.seal_up_to(NOW_MS)
    metrics.close()
    database.close()
    database = TelemetryDatabase.open(tmp_path / "telemetry.duckdb", key=KEY)
    assert TraceReader(database).trace(TRACE_ID) == before
    database.close()
    metrics = MetricStore.open(tmp_path / "metrics", retention_s=3600, key=KEY, clock=lambda: NOW_MS)
    (block,) = metrics.select([], min_ms=0, max_ms=NOW_MS)
    assert dict(block.labels[0])["known"] == KNOWN.decode()
    assert block.values.tolist() == [[4.5]]
    metrics.close()


@pytest.mark.parametrize(("key", "there"), [(None, True), (KEY, False)])
def test_what_a_query_spills_is_encrypted_too(tmp_path, key, there):
    settings = {"threads": 1, "memory_limit": "24MiB", "temp_directory": str(tmp_path / "spill")}
    connection = TelemetryConnection(tmp_path / "telemetry.duckdb", settings, key)
    text = f"'{KNOWN.decode()}' || i || repeat('x', 80)"
    connection.writer.execute(f"CREATE TABLE t AS SELECT hash(i) AS h, {text} AS s FROM range(200000) r(i)")  # noqa: S608
    cursor = connection.cursor()
    with cursor.sql("SELECT s, h FROM t ORDER BY h").to_arrow_reader(2048) as rows:
        next(rows)  # it is sorted, and the others wait in the spill
        content = on_disk(tmp_path / "spill")
    assert len(content) > 2_000_000
    assert (KNOWN in content) is there
    cursor.close()
    connection.close()


_WRITE_ON = """
import sys
from pathlib import Path
from collector.pipeline.spans import decode_spans
from collector.storage.encryption import EncryptionKey
from collector.storage.traces.database import TelemetryDatabase
path, request = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
database = TelemetryDatabase.open(path, key=EncryptionKey(bytes(range(32))))
while True:
    database.write([decode_spans(request, received_ms=1)])
    print("written", flush=True)
"""


def test_what_was_written_is_there_after_a_kill(tmp_path, trace_request):
    path, request = tmp_path / "telemetry.duckdb", tmp_path / "request"
    request.write_bytes(trace_request.SerializeToString())
    command = [sys.executable, "-c", _WRITE_ON, str(path), str(request)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        written = len([writer.stdout.readline() for _ in range(20)])
        writer.kill()
        written += len(writer.stdout.readlines())
    database = TelemetryDatabase.open(path, key=KEY)
    with database.reading() as cursor:
        (spans,) = cursor.execute("SELECT count(*) FROM spans").fetchone()
    assert spans // 2 in (written, written + 1)
    database.close()


@pytest.mark.parametrize("key", [OTHER, None])
def test_another_key_is_refused_and_touches_nothing(tmp_path, trace_request, key):
    check_key(tmp_path, KEY, stores=("metrics", "telemetry.duckdb"))
    database, metrics = fill(tmp_path, KEY, trace_request)
    metrics.close()
    database.close()
    before = on_disk(tmp_path)
    with pytest.raises(EncryptionError, match=r"is encrypted(: storage.encryption has to| with another key: )"):
        check_key(tmp_path, key, stores=("metrics", "telemetry.duckdb"))
    with pytest.raises(CollectorError, match=r"[Ww]rong encryption key|without a key"):
        TelemetryDatabase.open(tmp_path / "telemetry.duckdb", key=key)
    if key is not None:
        with pytest.raises(EncryptionError, match="sealed with another key, or changed"):
            MetricStore.open(tmp_path / "metrics", retention_s=3600, key=key)
    assert on_disk(tmp_path) == before
    check_key(tmp_path, KEY, stores=("metrics", "telemetry.duckdb"))


def test_a_folder_that_is_not_encrypted_does_not_become_half_so(tmp_path):
    (tmp_path / "metrics").mkdir()
    with pytest.raises(EncryptionError, match=r"is not encrypted, as metrics is there: collector\.rekey"):
        check_key(tmp_path, KEY, stores=("metrics", "telemetry.duckdb"))
    assert not (tmp_path / MARK).exists()


def test_the_mark_tells_keys_apart_and_not_the_key(tmp_path):
    check_key(tmp_path, KEY, stores=())
    mark = json.loads((tmp_path / MARK).read_text())
    assert mark == {"cipher": "AES-256-GCM", "key": mark["key"]}
    assert mark["key"] not in KEY.material.hex()
    assert "0001" not in repr(KEY)


def test_a_sealed_record_that_was_changed_is_noticed():
    seal = AesSeal(KEY, "test")
    sealed = bytearray(seal.sealed(KNOWN))
    assert seal.opened(bytes(sealed)) == KNOWN
    assert seal.sealed(KNOWN) != seal.sealed(KNOWN)
    for place in (0, 15, len(sealed) - 1):
        changed = sealed.copy()
        changed[place] ^= 1
        with pytest.raises(EncryptionError):
            seal.opened(bytes(changed))
    with pytest.raises(EncryptionError, match="3 bytes"):
        seal.opened(b"abc")


@pytest.mark.parametrize("text", [KEY.material.hex(), base64.b64encode(KEY.material).decode() + "\n"])
def test_a_key_is_read_from_a_file_or_the_environment(tmp_path, monkeypatch, text):
    (tmp_path / "key").write_text(text)
    assert EncryptionConfig(key_file="key").key(tmp_path) == KEY
    monkeypatch.setenv("STORAGE_KEY", text)
    assert EncryptionConfig(key_variable="STORAGE_KEY").key(tmp_path) == KEY


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has 0 bytes, not 32"),
        (b"c2hvcnQ=", "has 5 bytes, not 32"),
        (b"\xff\xfe", "neither hexadecimal nor base64"),
        (b"no key but a password!", "neither hexadecimal nor base64"),
        (None, "No such file"),
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(tmp_path, content, why):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=why) as refused:
        EncryptionConfig(key_file="key").key(tmp_path)
    assert "password" not in str(refused.value)
    with pytest.raises(ConfigError, match="environment variable NO_SUCH is not set"):
        EncryptionConfig(key_variable="NO_SUCH").key(tmp_path)


async def test_a_collector_opens_its_folder_with_its_own_key_only(tmp_path):
    config, key = tmp_path / "prometheus.yml", tmp_path / "key"
    config.write_text("storage: {encryption: {key_file: key}}\n")
    key.write_text(os.urandom(32).hex())
    async with open_collector(load(config), tmp_path / "data", external_url="http://x"):
        pass
    key.write_text(os.urandom(32).hex())
    with pytest.raises(EncryptionError, match="encrypted with another key"):
        async with open_collector(load(config), tmp_path / "data", external_url="http://x"):
            pass
    config.write_text("storage: {encryption: {key_file: key, key_variable: X}}\n")
    with pytest.raises(ConfigError, match=r"storage\.encryption: exactly one of"):
        load(config)
