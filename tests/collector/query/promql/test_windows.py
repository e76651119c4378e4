"""Windows of many small blocks in one piece give what each block gives by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from collector.model.series import ABSENT, Block
from collector.query.promql.range_functions import apply, avg_over_time, changes, increase, irate, rate
from collector.query.promql.windows import JOINED_ELEMENTS, Windows, together, windows_of

STEP = np.arange(60_000, 600_000, 30_000, dtype=np.int64)


def blocks(count: int, *, holes: bool = False) -> list[Block]:
    """Each with a phase and a number of samples of its own; counters fall now and then."""
    found = []
    for number in range(count):
        random = np.random.default_rng(number)
        times = 5 + number * 37 + np.arange(20 + number % 5, dtype=np.int64) * 25_000
        values = np.cumsum(random.poisson(3, (1 + number % 4, len(times))), axis=1).astype(float)
        values[:, len(times) // 2 :] -= 5.0 * (number % 3 == 0)
        if holes and number % 2:
            values[0, 3:6] = ABSENT
        labels = tuple((("block", str(number)), ("row", str(row))) for row in range(len(values)))
        found.append(Block(labels, times, values))
    return found


def windows(given: list[Block]) -> list[Windows]:
    return [each for block in given for each in windows_of(block, STEP, 120_000)]


@pytest.fixture(autouse=True)
def as_the_engine_does() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("function", [rate, increase, irate, avg_over_time, changes])
@pytest.mark.parametrize("holes", [False, True])
def test_together_gives_what_each_block_gives(function, holes: bool) -> None:
    apart = windows(blocks(30, holes=holes))
    joined = together(apart)
    assert len(joined) < len(apart) / 2 + 1
    expected, actual = (
        {
            labels: (frame.values[row][frame.present[row]], frame.present[row])
            for one in pieces
            for frame in [apply(function, one)]
            for row, labels in enumerate(frame.labels)
        }
        for pieces in (apart, joined)
    )
    assert actual.keys() == expected.keys()
    assert any(present.any() for _, present in expected.values())
    for labels, (values, present) in expected.items():
        np.testing.assert_array_equal(actual[labels][1], present)
        np.testing.assert_allclose(actual[labels][0], values, rtol=1e-12)


def test_one_piece_is_bounded_and_large_blocks_stay_by_themselves() -> None:
    times = np.arange(10, dtype=np.int64) * 25_000
    many = [Block((((("n", str(number))),),), times, np.ones((1, 10))) for number in range(8_000)]
    pieces = together(windows(many))
    assert len(pieces) == 2
    assert all(piece.low.size <= JOINED_ELEMENTS for piece in pieces)
    large = Block(tuple((("n", str(row)),) for row in range(500)), times, np.ones((500, 10)))
    assert together(windows([large]))[0].values.ndim == 2
    assert together([]) == []
