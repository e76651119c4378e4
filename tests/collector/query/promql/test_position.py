from __future__ import annotations

import pytest

from collector.errors import BadRequestError
from collector.query.errors import ParseError
from collector.query.memory import MemorySource
from collector.query.promql.engine import Engine
from collector.query.promql.syntax import parse


@pytest.mark.parametrize(
    ("expr", "line", "column"),
    [
        ("sum(", 1, 5),
        ("x y", 1, 3),
        ("1 +", 1, 4),
        ("sum by a (x)", 1, 8),
        ('foo{a="b" c="d"}', 1, 11),
        ("a +\n  nosuch(b)", 2, 3),
        ("a\n+\n)", 3, 1),
        ("rate(x[5m)", 1, 10),
    ],
)
def test_parse_error_says_where(expr: str, line: int, column: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse(expr)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"{line}:{column}: parse error: ")


def test_long_nonsense_is_refused_in_a_moment() -> None:
    with pytest.raises(ParseError):
        parse("a + " * 300 + ") ) b b")


@pytest.mark.parametrize("expr", ["(" * 50_000, "-" * 50_000 + "x", "x" + "[5m:]" * 5_000, "x" * 200_000])
def test_expression_over_the_limits_never_reaches_the_parser(expr: str) -> None:
    with pytest.raises(BadRequestError, match=r"deeper than 400 levels|longer than 100000 characters"):
        parse(expr)


@pytest.mark.parametrize("expr", ["(" * 399 + "x" + ")" * 399, "x" + " + x" * 399, "abs(" * 150 + "x" + ")" * 150])
def test_expression_at_the_limit_is_answered(expr: str) -> None:
    assert Engine(MemorySource()).instant(expr, at_ms=0) is not None


def test_calls_nested_too_deeply_to_evaluate_are_refused() -> None:
    with pytest.raises(BadRequestError, match="nested too deeply"):
        Engine(MemorySource()).instant("abs(" * 399 + "x" + ")" * 399, at_ms=0)


def test_brackets_and_operators_in_strings_do_not_count() -> None:
    parse('x{a="' + "(+" * 1_000 + '"}')
