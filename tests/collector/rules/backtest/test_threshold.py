from __future__ import annotations

import pytest

from collector.rules.backtest.threshold import Comparison, comparison


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("up == 0", Comparison("up", "==", 0.0)),
        ("a / b > 0.5", Comparison("a / b", ">", 0.5)),
        ("a > bool 1e3", Comparison("a", ">", 1000.0)),
        ("0.5 < rate(x[5m])", Comparison("rate(x[5m])", ">", 0.5)),
        ('x{a=">1 and 2"} >= 3 # > 4', Comparison('x{a=">1 and 2"}', ">=", 3.0)),
        ("p99 > 0.5\nand\nsum by (job) (n) > 0.25", Comparison("p99", ">", 0.5)),
        ("(a > 1)", Comparison("a", ">", 1.0)),
        ("(a > 1) and on (x) b", Comparison("a", ">", 1.0)),
        ("sum(a > 1)", None),
        ("a > b", None),
        ("absent(up)", None),
        ("(a > 1) + (b > 2)", None),
        ("a > 1 > 2", Comparison("a > 1", ">", 2.0)),
    ],
)
def test_the_first_operand_that_is_compared_with_a_number_is_found(expr: str, expected: Comparison | None) -> None:
    assert comparison(expr) == expected
