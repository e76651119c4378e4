"""
An expression's syntax tree in the JSON of /api/v1/parse_query, which Prometheus's page draws.

Source: prometheus/web/api/v1/translate_ast.go, of Prometheus 3.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import promql_parser as pp

from collector.errors import UnsupportedError
from collector.model.series import METRIC_NAME
from collector.query.promql.numerals import format_float

Json = dict[str, Any]
_SET_OPERATORS = frozenset({"and", "or", "unless"})
_MILLISECOND = dt.timedelta(milliseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MATCH_TYPES = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
_CARDINALITIES = {
    "VectorMatchCardinality.OneToOne": "one-to-one",
    "VectorMatchCardinality.ManyToOne": "many-to-one",
    "VectorMatchCardinality.OneToMany": "one-to-many",
    "VectorMatchCardinality.ManyToMany": "many-to-many",
}


def translated(node: Any) -> Json:
    """
    Args:
        node: Of promql-parser's tree, see `syntax.parsed`.
    """
    match node:
        case pp.NumberLiteral():
            return {"type": "numberLiteral", "val": format_float(float(node.val))}
        case pp.StringLiteral():
            return {"type": "stringLiteral", "val": str(node.val)}
        case pp.ParenExpr():
            return {"type": "parenExpr", "expr": translated(node.expr)}
        case pp.UnaryExpr():
            return {"type": "unaryExpr", "op": "-", "expr": translated(node.expr)}
        case pp.VectorSelector():
            return {"type": "vectorSelector"} | _selector(node)
        case pp.MatrixSelector():
            return {"type": "matrixSelector", "range": _ms(node.range)} | _selector(node.vector_selector)
        case pp.SubqueryExpr():
            return _subquery(node)
        case pp.Call():
            return _call(node)
        case pp.AggregateExpr():
            return _aggregation(node)
        case pp.BinaryExpr():
            return _binary(node)
    raise UnsupportedError(f"syntax {type(node).__name__} is not supported: {node.prettify()}")


def _selector(node: Any) -> Json:
    matchers = [
        {"name": one.name, "value": one.value, "type": _MATCH_TYPES[str(one.op)]} for one in node.matchers.matchers
    ]
    if node.name:  # Prometheus puts it last
        matchers.append({"name": METRIC_NAME, "value": node.name, "type": "="})
    return {"name": node.name or "", "offset": _ms(node.offset), "matchers": matchers} | _at(node.at) | _EXTENDED


_EXTENDED = {"anchored": False, "smoothed": False}  # modifiers that the parser does not know


def _at(at: Any) -> Json:
    if at is None:
        return {"timestamp": None, "startOrEnd": None}
    if at.at is not None:
        return {"timestamp": int((at.at - _EPOCH) // _MILLISECOND), "startOrEnd": None}
    return {"timestamp": None, "startOrEnd": "start" if at.type == pp.AtModifierType.Start else "end"}


def _ms(duration: dt.timedelta | None) -> int:
    return 0 if duration is None else duration // _MILLISECOND


def _subquery(node: Any) -> Json:
    times = {"range": _ms(node.range), "offset": _ms(node.offset), "step": _ms(node.step)}
    return {"type": "subquery", "expr": translated(node.expr)} | times | _at(node.at)


def _call(node: Any) -> Json:
    function = node.func
    return {
        "type": "call",
        "func": {
            "name": function.name,
            "argTypes": [_type(kind) for kind in function.arg_types],
            "variadic": function.variadic,
            "returnType": _type(function.return_type),
        },
        "args": [translated(argument) for argument in node.args],
    }


def _type(value_type: Any) -> str:
    """`ValueType.Vector` as `vector`."""
    return str(value_type).rpartition(".")[2].lower()


def _aggregation(node: Any) -> Json:
    modifier = node.modifier
    return {
        "type": "aggregation",
        "op": str(node.op),
        "expr": translated(node.expr),
        "param": None if node.param is None else translated(node.param),
        "grouping": [] if modifier is None else list(modifier.labels),
        "without": modifier is not None and modifier.type != pp.AggModifierType.By,
    }


def _binary(node: Any) -> Json:
    both_vectors = _is_vector(node.lhs) and _is_vector(node.rhs)
    return {
        "type": "binaryExpr",
        "op": str(node.op),
        "lhs": translated(node.lhs),
        "rhs": translated(node.rhs),
        "matching": _matching(node) if both_vectors else None,
        "bool": node.modifier is not None and node.modifier.return_bool,
    }


def _matching(node: Any) -> Json:
    modifier = node.modifier
    labels = None if modifier is None else modifier.matching
    fill = None if modifier is None else modifier.fill_values
    card = "one-to-one" if modifier is None else _CARDINALITIES.get(str(modifier.card), "one-to-one")
    if str(node.op) in _SET_OPERATORS:
        card = "many-to-many"
    return {
        "card": card,
        "labels": [] if labels is None else list(labels.labels),
        "on": labels is not None and labels.type == pp.LabelModifierType.Include,
        "include": [] if modifier is None else list(modifier.group_labels or ()),
        "fillValues": {"lhs": None if fill is None else fill.lhs, "rhs": None if fill is None else fill.rhs},
    }


def _is_vector(node: Any) -> bool:
    match node:
        case pp.NumberLiteral() | pp.StringLiteral():
            return False
        case pp.ParenExpr() | pp.UnaryExpr():
            return _is_vector(node.expr)
        case pp.Call():
            return _type(node.func.return_type) == "vector"
        case pp.BinaryExpr():
            return _is_vector(node.lhs) or _is_vector(node.rhs)
    return True
