"""
The syntax tree that the engine evaluates: parentheses are gone, durations are milliseconds, metric names are matchers,
operators are plain strings.

`start` is where an expression begins in the text, in characters, as Prometheus's annotations name it; -1 when unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from collector.model.series import Matcher

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
AGGREGATIONS_WITH_PARAMETER = frozenset({"topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio"})
AGGREGATIONS = AGGREGATIONS_WITH_PARAMETER | {"sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"}
UNKNOWN_START = -1


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
    start: int = field(default=UNKNOWN_START, compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    value: str
    start: int = field(default=UNKNOWN_START, compare=False)


@dataclass(frozen=True, slots=True)
class Selector:
    matchers: tuple[Matcher, ...]
    offset_ms: int
    at: At | None
    start: int = field(default=UNKNOWN_START, compare=False)


@dataclass(frozen=True, slots=True)
class RangeSelector:
    selector: Selector
    range_ms: int
    start: int = field(default=UNKNOWN_START, compare=False)


@dataclass(frozen=True, slots=True)
class Subquery:
    body: Node
    range_ms: int
    step_ms: int | None  # None: the engine's default
    offset_ms: int
    at: At | None
    start: int = field(default=UNKNOWN_START, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Node, ...]
    kind: str = "vector"  # what it returns, see `kind_of`
    start: int = field(default=UNKNOWN_START, compare=False)


@dataclass(frozen=True, slots=True)
class Aggregation:
    operator: str
    body: Node
    parameter: Node | None
    by: bool  # else without
    labels: tuple[str, ...]
    start: int = field(default=UNKNOWN_START, compare=False)


@dataclass(frozen=True, slots=True)
class Matching:
    on: bool  # else ignoring
    labels: tuple[str, ...]
    many: Many
    include: tuple[str, ...]  # labels that the result takes from the other side
    fill_left: float | None = None  # what stands in for a left series that a right one does not find
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Node
    right: Node
    matching: Matching
    returns_bool: bool
    start: int = field(default=UNKNOWN_START, compare=False)


@dataclass(frozen=True, slots=True)
class Negation:
    body: Node
    start: int = field(default=UNKNOWN_START, compare=False)


Node = Number | Text | Selector | RangeSelector | Subquery | Call | Aggregation | Binary | Negation


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
            return node.kind
        case Negation():
            return kind_of(node.body)
        case Binary():
            return "scalar" if kind_of(node.left) == kind_of(node.right) == "scalar" else "vector"
    return "vector"
