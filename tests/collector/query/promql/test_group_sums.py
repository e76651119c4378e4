"""Sums by group as a product of matrices say what adding row by row says, or that they cannot tell."""

from __future__ import annotations

import numpy as np
import pytest

from collector.query.promql.group_sums import MOST_GROUPS, grouped_count, grouped_sum


@pytest.mark.parametrize(("rows", "groups"), [(1, 1), (200, 7), (65, 64), (129, 2)])
@pytest.mark.parametrize("everywhere", [True, False])
def test_sums_and_counts_are_those_of_adding_row_by_row(rows: int, groups: int, everywhere: bool) -> None:
    random = np.random.default_rng(rows)
    values = random.normal(0, 1e6, (rows, 33))
    present = np.ones(values.shape, bool) if everywhere else random.random(values.shape) < 0.7
    values[~present] = np.nan  # whatever stands where nothing is must not matter
    group_of = random.integers(0, groups, rows)
    sums, counts = grouped_sum(values, present, group_of, groups), grouped_count(present, group_of, groups)
    for group in range(groups):
        mine = group_of == group
        expected = np.where(present[mine], values[mine], 0.0).sum(axis=0)
        np.testing.assert_allclose(sums[group], expected, rtol=1e-12, atol=1e-6)
        np.testing.assert_array_equal(counts[group], present[mine].sum(axis=0))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1.7e308])
def test_values_that_are_not_finite_or_overflow_are_left_to_others(odd: float) -> None:
    values = np.ones((4, 3))
    values[1:3, 1] = odd
    assert grouped_sum(values, np.ones(values.shape, bool), np.array([0, 0, 0, 1]), 2) is None


def test_many_groups_are_left_to_others() -> None:
    values = np.ones((MOST_GROUPS + 1, 2))
    present, group_of = np.ones(values.shape, bool), np.arange(MOST_GROUPS + 1)
    assert grouped_sum(values, present, group_of, MOST_GROUPS + 1) is None
    assert grouped_count(present, group_of, MOST_GROUPS + 1) is None
