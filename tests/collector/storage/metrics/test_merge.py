"""Finished segment files are rewritten with long chunks; no sample changes by it."""

from __future__ import annotations

import threading
import time

import numpy as np

from collector.model.histogram import NO_COUNTS, NO_INDEX, NativeHistogram
from collector.model.series import ABSENT, SampleBatch, SampleTable
from collector.storage.metrics.merge import MergeStopped, worthwhile, write_merged
from collector.storage.metrics.merger import Merge, Merger

START_MS = 1_700_000_000_000


def histogram(count: float) -> NativeHistogram:
    index = np.arange(int(count) % 5, int(count) % 5 + 3, dtype=np.int32)
    return NativeHistogram(1, count, count / 3, 0.0, 0.0, index, np.array([1.0, 2.0, count - 3]), NO_INDEX, NO_COUNTS)


def filled(rig, *, hours: float, targets: int = 3) -> None:
    """Floats of a few targets every 15 s, series that come and go, late samples and native histograms."""
    store = rig.open(retention_s=86_400)
    store._sealing.begin_merge = lambda: None  # not before the test wants it
    for step in range(int(hours * 240)):
        rig.now_ms = START_MS + step * 15_000
        batches = []
        for target in range(targets):
            names = [rig.series("m", target=str(target), n=str(n)) for n in range(step // 100, step // 100 + 40)]
            batches.append(rig.batch(rig.now_ms, {name: float(step * n) for n, name in enumerate(names)}, f"t{target}"))
        if step % 4 == 0:
            late = rig.series("late")
            batches.append(rig.batch(rig.now_ms - 290_000, {late: float(step)}, "t0"))
            name = (rig.series("latency"),)
            each = ((0, histogram(7.0 + step)),)
            batches.append(SampleBatch("t1", rig.now_ms, name, np.array([ABSENT]), histograms=each))
        rig.append(*batches)
    del store._sealing.begin_merge


def chunks_of(rig) -> dict[str, int]:
    """Segment file to the number of its chunks, as the open store knows them."""
    found: dict[str, int] = {}
    for group in rig.store._table.groups.values():
        for chunk in group.chunks:
            found[chunk.segment.path.name] = found.get(chunk.segment.path.name, 0) + 1
    return found


def merged_all(rig) -> None:
    """Let the clock tick until nothing is left to merge."""
    deadline = time.monotonic() + 20
    while rig.store._sealing.merger.busy or rig.store.stats.merged_segments == 0:
        assert time.monotonic() < deadline, "nothing was merged"
        rig.now_ms += 240_000
        rig.append(rig.batch(rig.now_ms, {rig.series("tick"): 1.0}, "tick"))


def content(rig) -> tuple[object, object]:
    found = rig.store.select_histograms([], min_ms=0, max_ms=1 << 60)
    floats = {labels: row for labels, row in rig.everything().items() if dict(labels)["__name__"] != "tick"}
    return floats, [
        (each.labels, each.timestamps_ms.tolist(), [one.count for one in each.histograms]) for each in found
    ]


def test_a_finished_segment_is_merged_and_every_sample_stays(rig):
    filled(rig, hours=5)
    before = content(rig)
    pieces = chunks_of(rig)
    merged_all(rig)
    first = min(pieces)
    assert pieces[first] > 20
    assert chunks_of(rig)[first] <= 5  # three targets' floats, one's histograms
    assert content(rig) == before
    rig.open()
    assert chunks_of(rig)[first] <= 5
    assert content(rig) == before
    assert not list(rig.directory.glob("*.merging"))


def test_of_two_samples_at_one_time_the_first_stays_when_their_chunks_are_merged(rig):
    store = rig.open()
    one, two = rig.series("m", n="1"), rig.series("m", n="2")
    rig.append(rig.batch(START_MS, {one: 1.0}), rig.batch(START_MS + 5, {one: 2.0}))
    store.seal_up_to(START_MS + 5)
    rig.append(rig.batch(START_MS, {one: 9.0, two: 3.0}), rig.batch(START_MS + 3, {one: 4.0}))
    store.seal_up_to(START_MS + 5)
    before = rig.everything()
    (group,) = store._table.groups.values()
    segment = group.chunks[0].segment
    store._segments._writing = None
    write_merged(rig.directory / "x.merging", group.chunks, store._table.metric_of, lambda: None)
    fresh = store._segments.replace(segment, rig.directory / "x.merging")
    group.replace_chunks(segment, fresh)
    assert len(group.chunks) == 1
    assert rig.everything() == before
    assert before[one][START_MS] == int(np.float64(1.0).view(np.uint64))


def test_a_merge_is_cut_into_chunks_that_are_not_too_long(rig, monkeypatch):
    monkeypatch.setattr("collector.storage.metrics.merge.CHUNK_ROWS", 50)
    store = rig.open()
    name = (rig.series("m"),)
    for start in range(0, 120, 10):
        times = START_MS + np.arange(start, start + 10, dtype=np.int64)
        rig.append(SampleTable("t", name, times, np.arange(start, start + 10.0)[np.newaxis]))
        store.seal_up_to(START_MS + start + 9)
    before = rig.everything()
    (group,) = store._table.groups.values()
    assert worthwhile(group.chunks)
    segment = group.chunks[0].segment
    write_merged(rig.directory / "x.merging", group.chunks, store._table.metric_of, lambda: None)
    group.replace_chunks(segment, store._segments.replace(segment, rig.directory / "x.merging"))
    assert [chunk.rows for chunk in group.chunks] == [50, 50, 20]
    assert not worthwhile(group.chunks)
    assert rig.everything() == before


def test_a_query_that_runs_while_a_file_is_replaced_or_removed_still_reads_it(rig):
    filled(rig, hours=2.5)
    chunks = [chunk for group in rig.store._table.groups.values() for chunk in group.chunks]
    merged_all(rig)
    for path in rig.directory.glob("*.segment"):
        path.unlink()
    assert all(chunk.intact() for chunk in chunks)


def test_a_store_that_closes_in_the_middle_of_a_merge_leaves_nothing_behind(rig):
    filled(rig, hours=2.5)
    before = content(rig)
    (chunks,) = [group.chunks for group in rig.store._table.groups.values() if group.target == "t0"]
    entered = threading.Event()
    merger = Merger(rig.store._table.metric_of)

    def pause() -> None:
        entered.set()
        raise MergeStopped

    merger._pause = pause
    draft = rig.directory / "00000001.merging"
    merger.begin(Merge(chunks[0].segment, chunks, draft))
    assert entered.wait(10)
    merger.close()
    assert merger.take() is None
    assert draft.exists()
    rig.open()
    assert not draft.exists()
    assert content(rig) == before


def test_a_segment_with_a_corrupt_chunk_stays_as_it_is(rig):
    filled(rig, hours=2.5)
    first = min(rig.directory.glob("*.segment"))
    data = bytearray(first.read_bytes())
    data[-1] ^= 255
    rig.close()
    first.write_bytes(data)
    store = rig.open()
    size = first.stat().st_size
    deadline = time.monotonic() + 20
    while not store._sealing._unmergeable:
        assert time.monotonic() < deadline
        rig.now_ms += 240_000
        rig.append(rig.batch(rig.now_ms, {rig.series("tick"): 1.0}, "tick"))
    assert first.stat().st_size == size
    assert store.stats.merged_segments == 0
