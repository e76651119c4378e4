"""
The syntax tree that the engine evaluates: promql-parser's tree, checked, in our own values.

Parentheses are gone, durations are milliseconds, metric names are matchers, operators are plain strings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import promql_parser as pp

from collector.errors import BadRequestError, UnsupportedError
from collector.model.series import METRIC_NAME, Matcher, MatchOp
from collector.query.promql.position import parse_error, tokens

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
NESTING_OPERATORS = COMPARISONS | SET_OPERATORS | {"+", "-", "*", "/", "%", "^", "atan2", "["}
# Measured: the native parser survives 1,000 levels in a thread with 8 MB of stack and overflows it below 10,000; two
# Python frames a level, of 1,000 that Python allows, make 400 the most that evaluates. Rules nest about ten deep.
MAX_NESTING = 400
MAX_LENGTH = 100_000  # characters; parsing that many takes under a second
AGGREGATIONS_WITH_PARAMETER = frozenset({"topk", "bottomk", "quantile", "count_values"})
AGGREGATIONS = AGGREGATIONS_WITH_PARAMETER | {"sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"}


class Anchor(Enum):
    START = "start()"
    END = "end()"


At = int | Anchor  # Unix milliseconds, or a bound of the query


class Many(Enum):
    """The side of a binary operator that may have several series for a match group."""

    NEITHER = 0
    LEFT = 1
    RIGHT = 2


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    matchers: tuple[Matcher, ...]
    offset_ms: int
    at: At | None


@dataclass(frozen=True, slots=True)
class RangeSelector:
    selector: Selector
    range_ms: int


@dataclass(frozen=True, slots=True)
class Subquery:
    body: Node
    range_ms: int
    step_ms: int | None  # None: the engine's default
    offset_ms: int
    at: At | None


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Aggregation:
    operator: str
    body: Node
    parameter: Node | None
    by: bool  # else without
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matching:
    on: bool  # else ignoring
    labels: tuple[str, ...]
    many: Many
    include: tuple[str, ...]  # labels that the result takes from the other side


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Node
    right: Node
    matching: Matching
    returns_bool: bool


@dataclass(frozen=True, slots=True)
class Negation:
    body: Node


Node = Number | Text | Selector | RangeSelector | Subquery | Call | Aggregation | Binary | Negation

_MATCH_OPS = {"=": MatchOp.EQUAL, "!=": MatchOp.NOT_EQUAL, "=~": MatchOp.REGEX, "!~": MatchOp.NOT_REGEX}
_PARSER_MATCH_OPS = {
    "MatchOp.Equal": MatchOp.EQUAL,
    "MatchOp.NotEqual": MatchOp.NOT_EQUAL,
    "MatchOp.Re": MatchOp.REGEX,
    "MatchOp.NotRe": MatchOp.NOT_REGEX,
}
_MILLISECOND = dt.timedelta(milliseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


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
        return lowered(tree)
    except RecursionError as error:  # calls take more frames a level than MAX_NESTING foresees
        raise BadRequestError("expression nested too deeply") from error


def parsed(expr: str) -> Any:
    """The expression as promql-parser's tree."""
    require_bounded(expr)
    try:
        return pp.parse(expr)
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


def lowered(node: Any) -> Node:
    match node:
        case pp.NumberLiteral():
            return Number(float(node.val))
        case pp.StringLiteral():
            return Text(str(node.val))
        case pp.ParenExpr():
            return lowered(node.expr)
        case pp.UnaryExpr():
            return Negation(lowered(node.expr))
        case pp.VectorSelector():
            return _selector(node)
        case pp.MatrixSelector():
            return RangeSelector(_selector(node.vector_selector), node.range // _MILLISECOND)
        case pp.SubqueryExpr():
            return _subquery(node)
        case pp.Call():
            return Call(node.func.name, tuple(lowered(argument) for argument in node.args))
        case pp.AggregateExpr():
            return _aggregation(node)
        case pp.BinaryExpr():
            return _binary(node)
    raise UnsupportedError(f"syntax {type(node).__name__} is not supported: {node.prettify()}")


def _selector(node: Any) -> Selector:
    if node.matchers.or_matchers:
        raise UnsupportedError(f"'or' between label matchers is not supported: {node.prettify()}")
    named = (Matcher(METRIC_NAME, MatchOp.EQUAL, node.name),) if node.name else ()
    others = tuple(
        Matcher(matcher.name, _PARSER_MATCH_OPS[str(matcher.op)], matcher.value) for matcher in node.matchers.matchers
    )
    return Selector(named + others, _offset(node), _at(node.at))


def _subquery(node: pp.SubqueryExpr) -> Subquery:
    step = None if node.step is None else node.step // _MILLISECOND
    range_ms = 0 if node.range is None else node.range // _MILLISECOND
    return Subquery(lowered(node.expr), range_ms, step, _offset(node), _at(node.at))


def _offset(node: pp.VectorSelector | pp.SubqueryExpr) -> int:
    return 0 if node.offset is None else node.offset // _MILLISECOND


def _at(at: Any) -> At | None:
    if at is None:
        return None
    if at.at is not None:
        return int((at.at - _EPOCH) // _MILLISECOND)
    return Anchor.START if at.type == pp.AtModifierType.Start else Anchor.END


def _aggregation(node: Any) -> Aggregation:
    operator = str(node.op)
    if operator not in AGGREGATIONS:
        raise UnsupportedError(f'aggregation "{operator}" is not supported')
    modifier = node.modifier
    by = modifier is None or modifier.type == pp.AggModifierType.By
    labels = () if modifier is None else tuple(modifier.labels)
    parameter = None if node.param is None else lowered(node.param)
    return Aggregation(operator, lowered(node.expr), parameter, by, labels)


_MANY = {"VectorMatchCardinality.ManyToOne": Many.LEFT, "VectorMatchCardinality.OneToMany": Many.RIGHT}


def _binary(node: Any) -> Binary:
    matching, returns_bool = Matching(False, (), Many.NEITHER, ()), False
    if (modifier := node.modifier) is not None:
        fill = modifier.fill_values
        if fill is not None and (fill.lhs is not None or fill.rhs is not None):
            raise UnsupportedError(f"fill modifiers are not supported: {node.prettify()}")
        label_modifier = modifier.matching
        matching = Matching(
            on=label_modifier is not None and label_modifier.type == pp.LabelModifierType.Include,
            labels=() if label_modifier is None else tuple(label_modifier.labels),
            many=_MANY.get(str(modifier.card), Many.NEITHER),
            include=tuple(modifier.group_labels or ()),
        )
        returns_bool = modifier.return_bool
    return Binary(str(node.op), lowered(node.lhs), lowered(node.rhs), matching, returns_bool)


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


def children(node: Node) -> tuple[Node, ...]:
    """The expressions directly inside an expression."""
    match node:
        case Call():
            return node.arguments
        case Binary():
            return (node.left, node.right)
        case Aggregation():
            return (node.body,) if node.parameter is None else (node.parameter, node.body)
        case Subquery() | Negation():
            return (node.body,)
    return ()


def kind_of(node: Node) -> str:
    """`scalar`, `vector`, `matrix` or `string`, as Prometheus names the types of expressions."""
    match node:
        case Number():
            return "scalar"
        case Text():
            return "string"
        case RangeSelector() | Subquery():
            return "matrix"
        case Call():
            return "scalar" if node.name in {"time", "pi", "scalar"} else "vector"
        case Negation():
            return kind_of(node.body)
        case Binary():
            return "scalar" if kind_of(node.left) == kind_of(node.right) == "scalar" else "vector"
    return "vector"
