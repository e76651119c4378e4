"""What a crash leaves is read up to the damage, and every acknowledged sample is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.model.series import ABSENT_BITS, STALE_BITS, SampleBatch

START_MS = 1_700_000_000_000

# A store that appends one sample a commit and says on its output which are acknowledged; sealing happens on the way.
WRITER = f"""
import sys
from pathlib import Path
import numpy as np
from collector.model.series import SampleBatch, labels_of
from collector.storage.metrics.store import MetricStore
now = [{START_MS}]
store = MetricStore.open(Path(sys.argv[1]), retention_s=86400, clock=lambda: now[0])
for step in range(100_000):
    now[0] += 1000
    labels = tuple(labels_of({{"__name__": "m", "n": str(n)}}) for n in (step // 50, step // 50 + 1))
    store.submit([SampleBatch("t", now[0], labels, np.array([step, -step], dtype=float)).as_table()]).result()
    print(step, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [3, 700])
def test_every_acknowledged_sample_survives_kill_9(rig, acknowledged):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(rig.directory)], stdout=subprocess.PIPE) as writer:
        lines = 0
        while lines < acknowledged:
            assert writer.stdout.readline()
            lines += 1
        writer.send_signal(signal.SIGKILL)
        lines += len([line for line in writer.stdout.read().splitlines() if line])
    rig.now_ms = START_MS + lines * 1000
    rig.open()
    found = rig.everything()
    for step in range(lines):
        at = START_MS + (step + 1) * 1000
        for n, value in ((step // 50, step), (step // 50 + 1, -step)):
            assert np.uint64(found[rig.series("m", n=str(n))][at]).view(np.float64) == value


BITS = st.one_of(
    st.floats(allow_nan=False).map(lambda value: int(np.array([value]).view(np.uint64)[0])),
    st.integers(0, 100).map(lambda value: int(np.array([float(value)]).view(np.uint64)[0])),
    st.just(STALE_BITS),
    st.just(0x7FF8000000000001),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("append"),
            st.integers(0, 2),
            st.integers(0, 12),
            st.dictionaries(st.integers(0, 40), BITS, min_size=1),
        ),
        st.tuples(st.just("seal"), st.integers(0, 12)),
        st.tuples(st.just("reopen")),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_what_is_appended_comes_back_across_sealing_and_reopening(rig_at, steps):
    with tempfile.TemporaryDirectory() as directory:
        rig = rig_at(Path(directory))
        store = rig.open()
        expected: dict[tuple[tuple[str, str], ...], dict[int, int]] = {}
        for step in steps:
            match step:
                case ("append", target, offset, samples):
                    at, name = START_MS + offset, f"target {target}"
                    labels = {rig.series("m", target=name, n=str(n)): value for n, value in samples.items()}
                    values = np.array(list(labels.values()), np.uint64).view(np.float64)
                    rig.append(SampleBatch(name, at, tuple(labels), values))
                    for each, value in labels.items():
                        expected.setdefault(each, {}).setdefault(at, value)
                case ("seal", offset):
                    store.seal_up_to(START_MS + offset)
                case ("reopen",):
                    store = rig.open()
            assert rig.everything() == expected
        rig.close()


def appended(rig, steps: int) -> None:
    rig.open()
    for step in range(steps):
        rig.append(rig.batch(START_MS + step, {rig.series("m"): float(step)}))
    rig.close()


@pytest.mark.parametrize("damage", ["cut", "flip", "zeros"])
def test_a_torn_log_is_read_up_to_the_tear(rig, damage):
    appended(rig, 10)
    (log,) = rig.directory.glob("*.wal")
    data = bytearray(log.read_bytes())
    match damage:
        case "cut":
            del data[-3:]
        case "flip":
            data[-3] ^= 1
        case "zeros":
            data += bytes(4096)
    log.write_bytes(data)
    kept = 10 if damage == "zeros" else 9
    for _ in range(2):
        store = rig.open()
        assert list(rig.everything()[rig.series("m")]) == [START_MS + step for step in range(kept)]
        assert store.stats.torn_log_bytes > 0
    rig.append(rig.batch(START_MS + 100, {rig.series("m"): 1.0}))
    rig.open()
    assert list(rig.everything()[rig.series("m")])[-1] == START_MS + 100


def test_a_torn_catalog_loses_only_the_series_that_had_no_samples_yet(rig):
    appended(rig, 3)
    with (rig.directory / "catalog.log").open("ab") as catalog:
        catalog.write(b"\x30\x00\x00\x00torn")
    rig.open()
    rig.append(rig.batch(START_MS + 9, {rig.series("other"): 1.0}))
    rig.open()
    assert set(rig.everything()) == {rig.series("m"), rig.series("other")}


def test_a_torn_segment_is_made_up_for_by_the_log(rig):
    store = rig.open()
    for step in range(10):
        rig.append(rig.batch(START_MS + step, {rig.series("m"): float(step)}))
    logs = {path: path.read_bytes() for path in rig.directory.glob("*.wal")}
    store.seal_up_to(START_MS + 5)
    rig.close()
    for path, data in logs.items():  # as if the crash came before the log was removed
        path.write_bytes(data)
    (segment,) = rig.directory.glob("*.segment")
    segment.write_bytes(segment.read_bytes()[:-1])
    rig.open()
    assert list(rig.everything()[rig.series("m")]) == [START_MS + step for step in range(10)]


def test_a_corrupt_old_chunk_is_left_out_of_answers_and_counted(rig):
    store = rig.open()
    for step in range(10):
        rig.append(rig.batch(START_MS + step, {rig.series("m"): float(step)}))
    store.seal_up_to(START_MS + 4)
    (segment,) = rig.directory.glob("*.segment")
    with segment.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 255]))
    assert list(rig.everything()[rig.series("m")]) == [START_MS + step for step in range(5, 10)]
    assert store.corrupt_chunks == 1


def test_absent_values_are_not_stored(rig):
    rig.open()
    values = np.array([ABSENT_BITS, np.float64(1.0).view(np.uint64)], np.uint64).view(np.float64)
    rig.append(SampleBatch("t", START_MS, (rig.series("a"), rig.series("b")), values))
    assert list(rig.everything()) == [rig.series("b")]
