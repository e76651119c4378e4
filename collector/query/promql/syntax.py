"""
PromQL's text as the engine's tree: promql-parser's tree, checked and lowered into our own values.

What promql-parser does not know is either written so that it does (computed durations) or refused by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import promql_parser as pp

from collector.errors import BadRequestError, UnsupportedError
from collector.model.series import Matcher
from collector.query.promql.durations import written_out
from collector.query.promql.lowering import Lowering
from collector.query.promql.position import parse_error, tokens
from collector.query.promql.tree import COMPARISONS, SET_OPERATORS, Node, RangeSelector, Selector, children

NESTING_OPERATORS = COMPARISONS | SET_OPERATORS | {"+", "-", "*", "/", "%", "^", "atan2", "["}
# Measured: the native parser survives 1,000 levels in a thread with 8 MB of stack and overflows it below 10,000; two
# Python frames a level, of 1,000 that Python allows, make 400 the most that evaluates. Rules nest about ten deep.
MAX_NESTING = 400
MAX_LENGTH = 100_000  # characters; parsing that many takes under a second


def require_bounded(expr: str) -> None:
    """
    Refuse, before parsing, what could nest too deeply: a level overflows the native parser's stack, which no exception
    stops. Every bracket around another counts, and every operator, since `a + b + c` nests to the left.
    """
    if len(expr) > MAX_LENGTH:
        raise BadRequestError(f"expression longer than {MAX_LENGTH} characters: {len(expr)}")
    depth = deepest = operators = 0
    for symbol in tokens(expr):
        if symbol in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif symbol in ")]}":
            depth -= 1
        if symbol in NESTING_OPERATORS:
            operators += 1
    if deepest + operators > MAX_NESTING:
        raise BadRequestError(f"expression nested deeper than {MAX_NESTING} levels")


def parse(expr: str) -> Node:
    """
    Parse a PromQL expression.

    Raises:
        BadRequestError: it is longer than MAX_LENGTH or nested deeper than MAX_NESTING.
        ParseError: it is not PromQL; with line and column as Prometheus prints them.
        UnsupportedError: it is, but uses syntax that is not built.
    """
    tree = parsed(expr)
    try:
        return Lowering(expr).lowered(tree)
    except RecursionError as error:  # calls take more frames a level than MAX_NESTING foresees
        raise BadRequestError("expression nested too deeply") from error


def parsed(expr: str) -> Any:
    """The expression as promql-parser's tree."""
    require_bounded(expr)
    words = tokens(expr)
    for word, following in itertools.pairwise(words):
        if word == "@" and following == "-":  # it takes them, and panics when asked what they are
            raise UnsupportedError("the parser does not know times before 1970 after @")
    try:
        return pp.parse(written_out(expr))
    except ValueError as error:
        raise parse_error(expr, str(error)) from error


def pretty(expr: str) -> str:
    return str(parsed(expr).prettify())


def matchers_of(expr: str) -> tuple[Matcher, ...]:
    """
    The matchers of a plain selector, as `match[]` parameters and label queries give them.

    Raises:
        ParseError: not a selector, or one that has an offset or a range.
    """
    node = parse(expr)
    if not isinstance(node, Selector) or node.offset_ms or node.at is not None:
        raise parse_error(expr, "expected a series selector")
    return node.matchers


def selectors_of(expr: str) -> list[Selector]:
    """Every series selector of an expression, ranges' too, in the order they are written."""
    return list(_selectors(parse(expr)))


def _selectors(node: Node) -> Iterator[Selector]:
    match node:
        case Selector():
            yield node
        case RangeSelector():
            yield node.selector
        case _:
            for child in children(node):
                yield from _selectors(child)
