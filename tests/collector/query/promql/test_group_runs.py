"""Reducing by group run by run says what reducing row by row says."""

from __future__ import annotations

import numpy as np
import pytest

from collector.query.promql.group_runs import counted, reduced, worthwhile


@pytest.mark.parametrize(("rows", "groups"), [(1, 1), (200, 7), (65, 64), (129, 2)])
@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize(("ufunc", "fill"), [(np.add, 0.0), (np.fmin, np.nan), (np.fmax, np.nan)])
def test_every_group_is_reduced_as_row_by_row(
    rows: int, groups: int, everywhere: bool, ufunc: np.ufunc, fill: float
) -> None:
    random = np.random.default_rng(rows)
    values = random.normal(0, 1e6, (rows, 33))
    present = np.ones(values.shape, bool) if everywhere else random.random(values.shape) < 0.7
    values[random.random(values.shape) < 0.05] = np.inf
    values[~present] = 1e9  # whatever stands where nothing is must not matter
    group_of = np.concatenate([np.arange(groups), np.sort(random.integers(0, groups, rows))])[:rows]
    result = reduced(ufunc, values, present, group_of, groups, fill)
    counts = counted(present, group_of, groups)
    for group in range(min(groups, rows)):
        mine = group_of == group
        expected = ufunc.reduce(np.where(present[mine], values[mine], fill), axis=0)
        np.testing.assert_allclose(result[group], expected, rtol=1e-12, atol=1e-6)
        np.testing.assert_array_equal(counts[group], present[mine].sum(axis=0))


def test_counts_hold_more_than_a_byte_or_two() -> None:
    many = np.broadcast_to(np.ones((1, 1), bool), (70_000, 2))
    assert counted(many, np.zeros(70_000, np.intp), 1).tolist() == [[70_000, 70_000]]


def test_long_runs_of_many_steps_are_worthwhile_and_short_ones_of_one_step_are_not() -> None:
    assert worthwhile(np.repeat(np.arange(100) % 10, 40), 1_441)
    assert not worthwhile(np.arange(4_000) % 10, 1)
