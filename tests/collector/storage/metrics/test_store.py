from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from collector.errors import BadRequestError, TemporaryError
from collector.model.series import (
    ABSENT,
    STALE,
    STALE_BITS,
    Exemplar,
    Matcher,
    MatchOp,
    MetricMetadata,
    Refusal,
    RefusalReason,
    SampleBatch,
)
from collector.storage.metrics.sealing import AHEAD_MS, HEAD_MS
from collector.storage.metrics.store import SeriesLimitError

START_MS = 1_700_000_000_000
ALL = {"min_ms": 0, "max_ms": 1 << 60}


def bits(value: float) -> int:
    return int(np.array([value]).view(np.uint64)[0])


def test_an_appended_sample_is_selected_with_its_time_and_value(rig):
    store = rig.open()
    up = rig.series("up", job="shop")
    rig.append(rig.batch(START_MS, {up: 1.0}))
    (block,) = store.select(rig.named("up"), min_ms=START_MS, max_ms=START_MS)
    assert block.labels == (up,)
    assert block.timestamps_ms.tolist() == [START_MS]
    assert block.values.tolist() == [[1.0]]


def test_select_keeps_to_both_bounds_inclusively(rig):
    store = rig.open()
    up = rig.series("up")
    rig.append(*(rig.batch(START_MS + step, {up: step}) for step in range(5)))
    (block,) = store.select(rig.named("up"), min_ms=START_MS + 1, max_ms=START_MS + 3)
    assert block.timestamps_ms.tolist() == [START_MS + 1, START_MS + 2, START_MS + 3]
    assert store.select(rig.named("up"), min_ms=START_MS + 5, max_ms=START_MS + 9) == []


def test_targets_come_in_blocks_of_their_own(rig):
    store = rig.open()
    first, second = rig.series("up", instance="a"), rig.series("up", instance="b")
    rig.append(rig.batch(START_MS, {first: 1}, "scrape|shop|a"), rig.batch(START_MS + 7, {second: 1}, "scrape|shop|b"))
    blocks = store.select(rig.named("up"), **ALL)
    assert sorted((block.labels, block.timestamps_ms.tolist()) for block in blocks) == [
        ((first,), [START_MS]),
        ((second,), [START_MS + 7]),
    ]


def test_a_series_that_two_targets_send_stands_in_one_block(rig):
    rig.open()
    shared, own = rig.series("shared"), rig.series("own")
    rig.append(rig.batch(START_MS, {shared: 1.0}, "otlp|shop|1"))
    rig.append(rig.batch(START_MS + 1, {own: 2.0, shared: 3.0}, "scrape|shop|1"))
    expected = {shared: {START_MS: bits(1.0), START_MS + 1: bits(3.0)}, own: {START_MS + 1: bits(2.0)}}
    assert rig.everything() == expected
    rig.open()
    assert rig.everything() == expected


def test_a_missing_sample_is_absent_and_a_stale_marker_stays_one(rig):
    store = rig.open()
    one, two = rig.series("m", n="1"), rig.series("m", n="2")
    rig.append(rig.batch(START_MS, {one: 1.0, two: 2.0}), rig.batch(START_MS + 1, {one: STALE}))
    rig.append(rig.batch(START_MS + 2, {two: np.nan}))
    (block,) = store.select(rig.named("m"), **ALL)
    assert block.values.view(np.uint64).tolist() == [
        [bits(1.0), STALE_BITS, bits(ABSENT)],
        [bits(2.0), bits(ABSENT), bits(np.nan)],
    ]


def test_the_first_of_two_samples_at_one_time_stays_and_the_other_is_counted(rig):
    store = rig.open()
    up, other = rig.series("up"), rig.series("other")
    rig.append(rig.batch(START_MS, {up: 1.0}), rig.batch(START_MS, {up: 2.0, other: 5.0}))
    assert rig.everything() == {up: {START_MS: bits(1.0)}, other: {START_MS: bits(5.0)}}
    assert store.stats.duplicates == 1
    assert store.stats.samples == 2


def test_a_late_sample_takes_its_place_between_the_others(rig):
    rig.open()
    up = rig.series("up")
    rig.append(*(rig.batch(START_MS + at, {up: float(at)}) for at in (0, 20, 10)))
    expected = {up: {START_MS + at: bits(float(at)) for at in (0, 10, 20)}}
    assert rig.everything() == expected
    rig.open()
    assert rig.everything() == expected


def test_a_sample_older_than_what_is_sealed_takes_its_place_within_the_window(rig):
    store = rig.open(out_of_order_s=1)
    up = rig.series("up")
    rig.append(rig.batch(START_MS, {up: 1.0}), rig.batch(START_MS + 1500, {up: 2.0}))
    store.seal_up_to(START_MS + 1500)
    outcome = rig.append(rig.batch(START_MS + 499, {up: 9.0}), rig.batch(START_MS + 500, {up: 3.0}))
    assert outcome.stored == 1
    assert [(each.reason, each.count) for each in outcome.refusals] == [(RefusalReason.OUT_OF_ORDER, 1)]
    assert outcome.refusals[0].example == (
        f'out of order sample: {{__name__="up"}} at {START_MS + 499} ms is 1001 ms older than the newest, '
        "the window is 1000 ms"
    )
    expected = {up: {START_MS: bits(1.0), START_MS + 500: bits(3.0), START_MS + 1500: bits(2.0)}}
    for _ in range(2):
        assert rig.everything() == expected
        store.seal_up_to(START_MS + 1500)
        assert rig.everything() == expected
        store = rig.open(out_of_order_s=1)
    assert store.stats.out_of_order == 0


def test_without_a_window_each_series_takes_only_what_is_newer(rig):
    rig.open(out_of_order_s=0)
    one, two = rig.series("m", n="1"), rig.series("m", n="2")
    first = rig.append(rig.batch(START_MS + 10, {one: 1.0}), rig.batch(START_MS + 5, {one: 2.0, two: 3.0}))
    assert (first.stored, [each.count for each in first.refusals]) == (2, [1])
    rig.open(out_of_order_s=0)
    again = rig.append(rig.batch(START_MS + 9, {one: 1.0, two: 4.0}))
    assert (again.stored, [each.count for each in again.refusals]) == (1, [1])
    assert rig.everything() == {
        one: {START_MS + 10: bits(1.0)},
        two: {START_MS + 5: bits(3.0), START_MS + 9: bits(4.0)},
    }


def test_a_series_that_lags_behind_the_others_of_its_target_loses_nothing(rig):
    store = rig.open(out_of_order_s=0)
    ahead, behind = rig.series("ahead"), rig.series("behind")
    rig.append(*(rig.batch(START_MS + at, {ahead: float(at)}) for at in range(0, 500_000, 10_000)))
    store.seal_up_to(START_MS + 400_000)
    outcome = rig.append(*(rig.batch(START_MS + at, {behind: float(at)}) for at in range(0, 500_000, 10_000)))
    assert outcome.stored == 50
    assert not outcome.refusals
    expected = {START_MS + at: bits(float(at)) for at in range(0, 500_000, 10_000)}
    assert rig.everything() == {ahead: expected, behind: expected}
    (block,) = store.select([], min_ms=START_MS, max_ms=START_MS + 500_000)
    assert len(block.labels) == 2


def test_a_series_that_lags_may_go_on_after_a_restart(rig):
    store = rig.open(out_of_order_s=0)
    ahead, behind = rig.series("ahead"), rig.series("behind")
    rig.append(rig.batch(START_MS, {ahead: 1.0, behind: 1.0}), rig.batch(START_MS + 90_000, {ahead: 2.0}))
    store.seal_up_to(START_MS + 90_000)
    rig.open(out_of_order_s=0)
    assert rig.append(rig.batch(START_MS + 30_000, {behind: 3.0})).stored == 1


def test_a_sample_from_the_far_future_is_refused_with_the_limit(rig):
    store = rig.open()
    outcome = rig.append(rig.batch(START_MS + AHEAD_MS + 1, {rig.series("up"): 1.0}))
    (refusal,) = outcome.refusals
    assert refusal.reason is RefusalReason.TOO_FAR_AHEAD
    assert refusal.example.endswith(f"at {START_MS + AHEAD_MS + 1} ms, the limit is now {START_MS + AHEAD_MS}")
    assert store.stats.too_far_ahead == 1
    assert rig.everything() == {}


def test_the_same_value_again_is_no_refusal_and_another_one_is(rig):
    store = rig.open()
    up, nan = rig.series("up"), rig.series("nan")
    rig.append(rig.batch(START_MS, {up: 1.0, nan: np.nan}))
    outcome = rig.append(rig.batch(START_MS, {up: 1.0, nan: np.nan}), rig.batch(START_MS, {up: 2.0}))
    assert (outcome.stored, outcome.repeated) == (0, 2)
    (refusal,) = outcome.refusals
    assert refusal == Refusal(
        RefusalReason.DUPLICATE,
        1,
        f'duplicate sample for timestamp: {{__name__="up"}} at {START_MS} ms',
    )
    assert (store.stats.repeated, store.stats.duplicates) == (2, 1)


def test_one_target_cannot_take_all_the_series_there_may_be(rig):
    store = rig.open(series_limit=5, target_series_limit=2)
    names = [rig.series("m", n=str(n)) for n in range(4)]
    first = rig.append(rig.batch(START_MS, dict.fromkeys(names, 1.0), "greedy"))
    assert first.stored == 2
    assert first.refusals[0].example == ('series limit 2 for the target greedy exceeded by 2: {__name__="m",n="2"}')
    store = rig.open(series_limit=5, target_series_limit=2)
    assert rig.append(rig.batch(START_MS + 1, dict.fromkeys(names, 1.0), "greedy")).stored == 2
    assert rig.append(rig.batch(START_MS, {rig.series("other"): 1.0}, "modest")).stored == 1
    assert store.stats.refused_series == 2


def test_a_sample_beyond_the_retention_is_left_out_and_counted(rig):
    store = rig.open(retention_s=60)
    rig.append(rig.batch(START_MS - 60_001, {rig.series("up"): 1.0}))
    assert rig.everything() == {}
    assert store.stats.too_old == 1


async def test_the_series_limit_is_named_and_known_series_still_get_their_samples(rig):
    store = rig.open(series_limit=2)
    first, second, third = (rig.series("m", n=str(n)) for n in range(3))
    with pytest.raises(SeriesLimitError, match=r"series limit 2 exceeded by 1: \{__name__=\"m\",n=\"2\"\}") as caught:
        await store.append([rig.batch(START_MS, {first: 1.0, second: 2.0, third: 3.0})])
    assert caught.value.refused == 1
    assert rig.everything() == {first: {START_MS: bits(1.0)}, second: {START_MS: bits(2.0)}}
    assert store.stats.refused_series == 1


def test_a_batch_with_too_few_values_is_refused_whole(rig):
    rig.open()
    with pytest.raises(ValueError, match=r"values of shape \(1, 1\) for 2 series at 1 timestamps"):
        rig.append(SampleBatch("t", START_MS, (rig.series("a"), rig.series("b")), np.array([1.0])))
    assert rig.everything() == {}


@pytest.mark.parametrize(
    ("matcher", "found"),
    [
        (Matcher("code", MatchOp.EQUAL, "200"), ["200"]),
        (Matcher("code", MatchOp.NOT_EQUAL, "200"), ["", "404", "500"]),
        (Matcher("code", MatchOp.REGEX, "[45].."), ["404", "500"]),
        (Matcher("code", MatchOp.REGEX, "0"), []),  # anchored
        (Matcher("code", MatchOp.NOT_REGEX, "[45].."), ["", "200"]),
        (Matcher("code", MatchOp.EQUAL, ""), [""]),
        (Matcher("code", MatchOp.NOT_EQUAL, ""), ["200", "404", "500"]),
        (Matcher("code", MatchOp.REGEX, "|404"), ["", "404"]),
        (Matcher("nothing", MatchOp.EQUAL, "x"), []),
        (Matcher("nothing", MatchOp.NOT_EQUAL, "x"), ["", "200", "404", "500"]),
    ],
)
def test_each_matcher_finds_what_it_describes(rig, matcher, found):
    store = rig.open()
    samples = {rig.series("http", code=code): 1.0 for code in ("200", "404", "500")} | {rig.series("http"): 1.0}
    rig.append(rig.batch(START_MS, samples))
    names = [dict(labels).get("code", "") for labels in store.series([*rig.named("http"), matcher], **ALL)]
    assert sorted(names) == found


def test_a_regular_expression_that_does_not_compile_is_a_bad_request(rig):
    store = rig.open()
    rig.append(rig.batch(START_MS, {rig.series("up"): 1.0}))
    with pytest.raises(BadRequestError, match=r"invalid regular expression '\('"):
        store.select([Matcher("__name__", MatchOp.REGEX, "(")], **ALL)


def test_names_and_values_are_sorted_and_keep_to_the_time_range(rig):
    store = rig.open()
    rig.append(rig.batch(START_MS, {rig.series("old", job="b"): 1.0}, "x"))
    rig.append(rig.batch(START_MS + 1000, {rig.series("new", job="a", zone="z"): 1.0}, "y"))
    assert store.label_names([], **ALL) == ["__name__", "job", "zone"]
    assert store.label_names([], min_ms=0, max_ms=START_MS) == ["__name__", "job"]
    assert store.label_values("job", [], **ALL) == ["a", "b"]
    assert store.label_values("job", rig.named("new"), **ALL) == ["a"]
    assert store.series([], min_ms=START_MS + 1, max_ms=START_MS + 1000) == [rig.series("new", job="a", zone="z")]


def test_a_new_series_is_seen_by_matchers_that_were_asked_before(rig):
    store = rig.open()
    rig.append(rig.batch(START_MS, {rig.series("m", n="1"): 1.0}))
    assert len(store.series(rig.named("m"), **ALL)) == 1
    rig.append(rig.batch(START_MS + 1, {rig.series("m", n="2"): 1.0}))
    assert len(store.series(rig.named("m"), **ALL)) == 2


def test_the_last_twenty_exemplars_of_a_series_are_kept_and_repeated_ones_are_not(rig):
    store = rig.open()
    labels = rig.series("latency_bucket", le="1.0")

    def sent(number: int) -> SampleBatch:
        exemplar = Exemplar((("trace_id", f"{number:032x}"),), 0.5, START_MS + number)
        return SampleBatch("t", START_MS + number, (labels,), np.array([1.0]), ((0, exemplar), (0, exemplar)))

    rig.append(*(sent(number) for number in range(25)))
    for _ in range(2):
        ((found, exemplars),) = store.exemplars(rig.named("latency_bucket"), **ALL)
        assert found == labels
        assert [each.timestamp_ms - START_MS for each in exemplars] == list(range(5, 25))
        store = rig.open()  # the log brings them back


@pytest.mark.parametrize(("limit", "kept"), [(0, []), (30, [2, 1])])
def test_exemplars_are_kept_up_to_their_limit_and_those_of_the_quietest_series_go_first(rig, limit, kept):
    store = rig.open(exemplar_limit=limit)
    for name in "abc":
        for number in range(15):
            exemplar = Exemplar((("trace_id", f"{number:032x}"),), 0.5, START_MS + number)
            rig.append(SampleBatch(name, START_MS + number, (rig.series(name),), np.array([1.0]), ((0, exemplar),)))
    found = {labels: exemplars for name in "abc" for labels, exemplars in store.exemplars(rig.named(name), **ALL)}
    assert {labels: len(exemplars) for labels, exemplars in found.items()} == {
        rig.series("abc"[place]): 15 for place in kept
    }


def test_metadata_is_sorted_and_the_last_word_counts(rig):
    store = rig.open()
    store.set_metadata([MetricMetadata("b", "gauge", "old", ""), MetricMetadata("a", "counter", "", "seconds")])
    store.set_metadata([MetricMetadata("b", "gauge", "new", "")])
    assert [(entry.name, entry.help) for entry in store.metadata()] == [("a", ""), ("b", "new")]


def test_sealing_by_the_clock_frees_the_head_and_the_log(rig):
    store = rig.open()
    names = [rig.series("m", n=str(n)) for n in range(40)]
    for step in range(1000):
        rig.now_ms = START_MS + step * 1000
        rig.append(rig.batch(rig.now_ms, dict.fromkeys(names, float(step))))
    (block,) = store.select(rig.named("m"), **ALL)
    assert block.timestamps_ms.tolist() == [START_MS + step * 1000 for step in range(1000)]
    assert (block.values == np.arange(1000.0)).all()
    assert store.head_bytes < 40 * 8 * 800  # the last HEAD_MS, what waits to be sealed, and some ahead
    assert sum(path.stat().st_size for path in rig.directory.glob("*.wal")) < 40 * 8 * 1000
    assert store.segment_bytes > 0


def test_series_and_files_beyond_the_retention_go(rig):
    store = rig.open(retention_s=1800)
    old, new = rig.series("old"), rig.series("new")
    for step in range(400):
        rig.now_ms = START_MS + step * 10_000
        labels = old if step < 100 else new
        rig.append(rig.batch(rig.now_ms, {labels: 1.0}, f"target of {labels}"))
    assert store.series([], **ALL) == [new]
    assert store.series_count == 1
    (block,) = store.select([], **ALL)
    assert block.timestamps_ms[0] >= rig.now_ms - 1_800_000 - 600_000  # as exact as the files are long
    assert set(rig.open(retention_s=1800).series([], **ALL)) == {new}


def test_a_size_limit_removes_the_oldest_files(rig):
    store = rig.open(retention_s=3600, retention_bytes=20_000)
    rng = np.random.default_rng(1)
    names = [rig.series("m", n=str(n)) for n in range(20)]
    for step in range(300):
        rig.now_ms = START_MS + step * 10_000
        rig.append(rig.batch(rig.now_ms, dict(zip(names, rng.random(20), strict=True))))
    assert 0 < store.segment_bytes < 40_000
    (block,) = store.select(rig.named("m"), **ALL)
    assert block.timestamps_ms[-1] == rig.now_ms


def test_samples_from_the_future_do_not_fill_the_memory(rig, monkeypatch):
    monkeypatch.setattr("collector.storage.metrics.sealing.HEAD_BYTES", 100_000)
    store = rig.open()
    labels = rig.series("m")
    for step in range(1000):
        rig.append(rig.batch(START_MS + HEAD_MS + step, {labels: float(step)}))
    rig.append(rig.batch(START_MS + HEAD_MS + 1000, {rig.series("m", n=str(n)): 1.0 for n in range(2000)}, "other"))
    (block,) = store.select([Matcher("n", MatchOp.EQUAL, ""), *rig.named("m")], **ALL)
    assert block.values.tolist() == [list(map(float, range(1000)))]


async def test_concurrent_appends_share_commits(rig):
    store = rig.open()
    names = [rig.series("m", n=str(n)) for n in range(200)]
    await asyncio.gather(
        *(store.append([rig.batch(START_MS, {labels: 1.0}, f"t{place}")]) for place, labels in enumerate(names))
    )
    assert store.stats.samples == 200
    assert store.stats.commits < 200


async def test_an_append_that_is_given_up_disturbs_nobody(rig):
    store = rig.open()
    given_up = asyncio.ensure_future(store.append([rig.batch(START_MS, {rig.series("a"): 1.0})]))
    await asyncio.sleep(0)
    given_up.cancel()
    await store.append([rig.batch(START_MS, {rig.series("b"): 1.0})])
    assert rig.series("b") in rig.everything()


def test_a_closed_store_and_a_store_that_is_open_elsewhere_say_so(rig, rig_at):
    store = rig.open()
    with pytest.raises(TemporaryError, match="open in another process"):
        rig_at(rig.directory).open()
    store.close()
    with pytest.raises(TemporaryError, match="closed"):
        rig.append(rig.batch(START_MS, {rig.series("up"): 1.0}))


def test_a_disk_that_fails_is_a_temporary_error_and_nothing_is_half_kept(rig, monkeypatch):
    store = rig.open()
    up = rig.series("up")
    rig.append(rig.batch(START_MS, {up: 1.0}))

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        with pytest.raises(TemporaryError, match="No space left"):
            rig.append(rig.batch(START_MS + 1, {up: 2.0, rig.series("new"): 1.0}))
        assert rig.everything() == {up: {START_MS: bits(1.0)}}
    rig.append(rig.batch(START_MS + 2, {up: 3.0, rig.series("new"): 4.0}))
    expected = {up: {START_MS: bits(1.0), START_MS + 2: bits(3.0)}, rig.series("new"): {START_MS + 2: bits(4.0)}}
    assert rig.everything() == expected
    rig.open()
    found = rig.everything()
    # What was refused may come back, as the disk may hold it: no other value, and no less than was acknowledged.
    assert {
        labels: {at: value for at, value in row.items() if at != START_MS + 1} for labels, row in found.items()
    } == expected
    assert store.stats.commits == 2


def test_queries_in_another_thread_see_whole_rows_while_samples_come_and_are_sealed(rig):
    store = rig.open()
    names = [rig.series("m", n=str(n)) for n in range(50)]
    done = threading.Event()
    faults: list[str] = []

    def read() -> None:
        seen = 0
        while not done.is_set():
            for block in store.select(rig.named("m"), **ALL):
                rows = block.values - np.arange(len(block.timestamps_ms))
                if (rows != 0).any() or len(block.labels) != 50 or len(block.timestamps_ms) < seen:
                    faults.append(f"{block.values.shape} after {seen} rows")
                seen = len(block.timestamps_ms)

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(600):
        rig.now_ms = START_MS + step * 2000  # sealed by the clock on the way
        rig.append(rig.batch(rig.now_ms, dict.fromkeys(names, float(step))))
    done.set()
    reader.join()
    assert faults == []
    assert store.segment_bytes > 0


def test_housekeeping_that_fails_does_not_end_the_committing_thread(rig, monkeypatch):
    store = rig.open()

    def fail(_now_ms: int) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(store._sealing, "expire", fail)
    for step in range(3):
        rig.now_ms = START_MS + step * 1_000_000
        rig.append(rig.batch(rig.now_ms, {rig.series("m"): float(step)}))
    assert len(rig.everything()[rig.series("m")]) == 3
