from __future__ import annotations

from collector.storage.metrics.cardinality import Cost

START_MS = 1_700_000_000_000


def test_the_costliest_metrics_and_labels_come_first(rig):
    store = rig.open()
    samples = {rig.series("http", code=code, job="shop"): 1.0 for code in ("200", "404", "500")}
    samples[rig.series("up", job="é")] = 1.0
    rig.append(rig.batch(START_MS, samples), rig.batch(START_MS + 5, samples))
    found = store.cardinality(top=2)
    assert (found.series, found.label_pairs) == (4, 7)
    assert (found.min_ms, found.max_ms, found.chunks) == (START_MS, START_MS + 5, 0)
    assert found.series_by_metric == [Cost("http", 3), Cost("up", 1)]
    assert found.values_by_label == [Cost("code", 3), Cost("__name__", 2)]
    assert found.bytes_by_label == [Cost("__name__", 14), Cost("job", 14)]
    assert found.series_by_pair == [Cost("__name__=http", 3), Cost("job=shop", 3)]


def test_an_empty_store_costs_nothing(rig):
    found = rig.open().cardinality()
    assert (found.series, found.label_pairs, found.series_by_metric) == (0, 0, [])
    assert found.min_ms > found.max_ms
