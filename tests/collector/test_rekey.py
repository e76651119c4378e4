from __future__ import annotations

import numpy as np
import pytest

from collector.errors import CollectorError
from collector.model.ids import parse_trace_id
from collector.model.series import SampleBatch, labels_of
from collector.pipeline.spans import decode_spans
from collector.rekey import main, rekey
from collector.storage.encryption import EncryptionError, EncryptionKey, check_key
from collector.storage.metrics.store import MetricStore
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader

FIRST, SECOND = EncryptionKey(bytes(range(32))), EncryptionKey(bytes(32))
TRACE_ID = parse_trace_id("0af7651916cd43dd8448eb211c80319c")
NOW_MS = 1_700_000_000_000


def opened(folder, key):
    check_key(folder, key, stores=("metrics", "telemetry.duckdb"))
    metrics = MetricStore.open(folder / "metrics", retention_s=3600, key=key, clock=lambda: NOW_MS)
    return TelemetryDatabase.open(folder / "telemetry.duckdb", key=key), metrics


def content(folder, key):
    database, metrics = opened(folder, key)
    try:
        samples = [
            (labels, block.timestamps_ms.tolist(), row.tolist())
            for block in metrics.select([], min_ms=0, max_ms=NOW_MS)
            for labels, row in zip(block.labels, block.values, strict=True)
        ]
        return TraceReader(database).trace(TRACE_ID), sorted(samples)
    finally:
        metrics.close()
        database.close()


def test_a_folder_is_the_same_under_another_key_the_first_one_and_none(tmp_path, trace_request):
    database, metrics = opened(tmp_path / "plain", None)
    database.write([decode_spans(trace_request.SerializeToString(), received_ms=1)])
    labels = tuple(labels_of({"__name__": "m", "n": str(number)}) for number in range(3))
    for second in range(300):
        batch = SampleBatch("t", NOW_MS - 1000 * second, labels, np.array([1.5, second, -second]))
        metrics.submit([batch.as_table()]).result(10)
        if second == 200:
            metrics.seal_up_to(NOW_MS)
    metrics.close()
    database.close()
    (tmp_path / "plain" / "alerts.json").write_text("{}")
    before = content(tmp_path / "plain", None)
    assert before[0] is not None
    assert sum(len(times) for _, times, _ in before[1]) > 100
    steps = [("plain", None, FIRST, "a"), ("a", FIRST, SECOND, "b"), ("b", SECOND, None, "c")]
    for source, old, new, target in steps:
        rekey(tmp_path / source, tmp_path / target, old=old, new=new)
        assert content(tmp_path / target, new) == before
        assert (tmp_path / target / "alerts.json").read_text() == "{}"
    assert content(tmp_path / "plain", None) == before
    with pytest.raises(EncryptionError, match="another key"):
        rekey(tmp_path / "a", tmp_path / "d", old=SECOND, new=None)
    with pytest.raises(EncryptionError, match="b is not empty"):
        rekey(tmp_path / "a", tmp_path / "b", old=FIRST, new=None)
    assert not (tmp_path / "d").exists()


def test_a_folder_that_is_in_use_or_is_none_is_refused(tmp_path, capsys):
    database, metrics = opened(tmp_path / "data", None)
    with pytest.raises(CollectorError, match=r"open in another process|cannot be read"):
        rekey(tmp_path / "data", tmp_path / "new", old=None, new=FIRST)
    metrics.close()
    database.close()
    assert main([str(tmp_path), str(tmp_path / "x")]) == 1
    assert "is no data folder of a collector" in capsys.readouterr().err
    assert main([str(tmp_path / "data"), str(tmp_path / "y"), "--new-key-file", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err
