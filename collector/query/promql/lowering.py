"""From promql-parser's tree to ours."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import promql_parser as pp

from collector.errors import UnsupportedError
from collector.model.series import METRIC_NAME, Matcher, MatchOp
from collector.query.promql.places import Places
from collector.query.promql.position import parse_error
from collector.query.promql.tree import (
    AGGREGATIONS,
    Aggregation,
    Anchor,
    At,
    Binary,
    Call,
    Many,
    Matching,
    Negation,
    Node,
    Number,
    RangeSelector,
    Selector,
    Subquery,
    Text,
)

_MATCH_OPS = {
    "MatchOp.Equal": MatchOp.EQUAL,
    "MatchOp.NotEqual": MatchOp.NOT_EQUAL,
    "MatchOp.Re": MatchOp.REGEX,
    "MatchOp.NotRe": MatchOp.NOT_REGEX,
}
_MANY = {"VectorMatchCardinality.ManyToOne": Many.LEFT, "VectorMatchCardinality.OneToMany": Many.RIGHT}
_KINDS = {"ValueType.Scalar": "scalar", "ValueType.Vector": "vector", "ValueType.Matrix": "matrix"}
_MILLISECOND = dt.timedelta(milliseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Lowering:
    """One expression's way from tree to tree. Parents are visited before children, the places' order."""

    def __init__(self, expr: str) -> None:
        self._expr = expr
        self._places = Places(expr)

    def lowered(self, node: Any) -> Node:
        take = self._places.take
        match node:
            case pp.NumberLiteral():
                return Number(float(node.val), take("number"))
            case pp.StringLiteral():
                return Text(str(node.val), take("string"))
            case pp.ParenExpr():
                start = take("paren")
                return replace(self.lowered(node.expr), start=start)
            case pp.UnaryExpr():
                start = take("sign")
                return Negation(self.lowered(node.expr), start)
            case pp.VectorSelector():
                return self._selector(node)
            case pp.MatrixSelector():
                selector = self._selector(node.vector_selector)
                return RangeSelector(selector, self._milliseconds(node, "range"), selector.start)
            case pp.SubqueryExpr():
                return self._subquery(node)
            case pp.Call():
                start, kind = take("call"), _KINDS.get(str(node.func.return_type), "vector")
                return Call(node.func.name, tuple(self.lowered(argument) for argument in node.args), kind, start)
            case pp.AggregateExpr():
                return self._aggregation(node)
            case pp.BinaryExpr():
                return self._binary(node)
        raise UnsupportedError(f"syntax {type(node).__name__} is not supported: {node.prettify()}")

    def _selector(self, node: Any) -> Selector:
        if node.matchers.or_matchers:
            raise UnsupportedError(f"'or' between label matchers is not supported: {node.prettify()}")
        named = (Matcher(METRIC_NAME, MatchOp.EQUAL, node.name),) if node.name else ()
        others = tuple(
            Matcher(matcher.name, _MATCH_OPS[str(matcher.op)], matcher.value) for matcher in node.matchers.matchers
        )
        return Selector(
            named + others, self._milliseconds(node, "offset"), self._at(node), self._places.take("selector")
        )

    def _subquery(self, node: Any) -> Subquery:
        body = self.lowered(node.expr)
        step = self._milliseconds(node, "step") or None
        range_ms, offset_ms = self._milliseconds(node, "range"), self._milliseconds(node, "offset")
        return Subquery(body, range_ms, step, offset_ms, self._at(node), body.start)

    def _milliseconds(self, node: Any, field: str) -> int:
        """0 where there is none."""
        try:
            duration = getattr(node, field)
        except (ValueError, OverflowError) as error:
            raise parse_error(self._expr, "duration out of range") from error
        return 0 if duration is None else int(duration // _MILLISECOND)

    def _at(self, node: Any) -> At | None:
        at = node.at
        if at is None:
            return None
        try:
            moment = at.at
        except (ValueError, OverflowError) as error:
            raise parse_error(self._expr, "timestamp out of bounds for @ modifier") from error
        if moment is not None:
            return int((moment - _EPOCH) // _MILLISECOND)
        return Anchor.START if at.type == pp.AtModifierType.Start else Anchor.END

    def _aggregation(self, node: Any) -> Aggregation:
        operator = str(node.op)
        if operator not in AGGREGATIONS:
            raise UnsupportedError(f'aggregation "{operator}" is not supported')
        start = self._places.take("call")
        modifier = node.modifier
        by = modifier is None or modifier.type == pp.AggModifierType.By
        labels = () if modifier is None else tuple(modifier.labels)
        parameter = None if node.param is None else self.lowered(node.param)
        return Aggregation(operator, self.lowered(node.expr), parameter, by, labels, start)

    def _binary(self, node: Any) -> Binary:
        matching, returns_bool = Matching(False, (), Many.NEITHER, ()), False
        if (modifier := node.modifier) is not None:
            fill, label_modifier = modifier.fill_values, modifier.matching
            matching = Matching(
                on=label_modifier is not None and label_modifier.type == pp.LabelModifierType.Include,
                labels=() if label_modifier is None else tuple(label_modifier.labels),
                many=_MANY.get(str(modifier.card), Many.NEITHER),
                include=tuple(modifier.group_labels or ()),
                fill_left=None if fill is None else fill.lhs,
                fill_right=None if fill is None else fill.rhs,
            )
            returns_bool = modifier.return_bool
        left = self.lowered(node.lhs)
        return Binary(str(node.op), left, self.lowered(node.rhs), matching, returns_bool, left.start)
