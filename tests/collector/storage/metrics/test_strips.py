from __future__ import annotations

import numpy as np
import pytest

from collector.storage.metrics.strips import STRIP_SAMPLES, STRIP_SERIES, arranged, former_sizes, strip_series


@pytest.mark.parametrize(
    ("metrics", "rows", "sizes"),
    [
        ({"a": 10, "b": 10, "c": 10}, 240, [10, 10, 10]),
        ({"a": 1, "b": 1, "c": 1}, 240, [3]),
        ({"a": 3, "b": 12, "c": 12}, 240, [15, 12]),
        ({"a": 2, "b": 70, "c": 5}, 240, [2, 24, 23, 23, 5]),
        ({f"m{number:02}": 1 for number in range(20)}, 240, [16, 4]),
        ({f"m{number:02}": 1 for number in range(10)}, 2048, [4, 4, 2]),
        ({"a": 32}, 240, [32]),
        ({"a": 10}, 1000, [5, 5]),
        ({}, 1, []),
    ],
)
def test_a_metric_shares_a_strip_only_while_that_is_small(metrics, rows, sizes):
    names = [name for name, count in metrics.items() for _ in range(count)]
    shuffled = np.random.default_rng(1).permutation(len(names)).astype(np.uint32)
    order, found = arranged(shuffled, rows, lambda number: names[number])
    assert found.tolist() == sizes
    assert shuffled[order].tolist() == list(range(len(names)))


@pytest.mark.parametrize("rows", [1, 240, 275, 276, 1_000, 2_048])
def test_the_strips_of_a_former_chunk_follow_from_their_number(rows: int) -> None:
    for series in range(1, 70):
        for each in (STRIP_SERIES, strip_series(rows)):
            strips = -(-series // each)
            sizes = former_sizes(series=series, strips=strips, rows=rows)
            assert sizes.sum() == series
            assert sizes.tolist() == [min(each, series - start) for start in range(0, series, each)]
    assert strip_series(rows) * rows <= max(STRIP_SAMPLES, rows)
