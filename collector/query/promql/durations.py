"""
Durations that are computed, `x[5m * 2]` and `x offset (1h + 30m)`: promql-parser takes plain ones only, so these are
computed here and written out before it sees the text.

Source: Prometheus 3, promql/parser/generated_parser.y, duration_expr. What depends on the query (`step()`, `range()`)
cannot be written out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import promql_parser as pp

from collector.errors import UnsupportedError
from collector.query.promql.position import TOKEN, parse_error

_PLAIN = re.compile(r"\s*[\d.]*[\w.]*\s*", re.ASCII)
_MAX_MS = 2**63 // 1_000_000  # what Go's time.Duration holds, about 292 years
_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan,
    "%": lambda a, b: math.fmod(a, b) if b else math.nan,
    "^": lambda a, b: float(np.power(a, b)),
}
_CHOICES: dict[str, Callable[[float, float], float]] = {"min_of": min, "max_of": max}


def written_out(expr: str) -> str:
    """
    The expression with every computed duration replaced by its value.

    Raises:
        ParseError: a duration that is not one, or out of range.
        UnsupportedError: `step()` or `range()` in a duration.
    """
    pieces: list[str] = []
    done = 0
    for start, end, positive in _computed(expr):
        pieces += [expr[done:start], _written(expr, expr[start:end], positive=positive)]
        done = end
    return "".join([*pieces, expr[done:]]) if pieces else expr


def _computed(expr: str) -> list[tuple[int, int, bool]]:
    """Where the computed durations are: (start, end, whether they must be positive)."""
    found = [token for token in TOKEN.finditer(expr) if not token[0].startswith("#")]
    places: list[tuple[int, int, bool]] = []
    for number, token in enumerate(found):
        following = found[number + 1] if number + 1 < len(found) else None
        if token[0] == "[":
            places += _in_brackets(expr, token.end())
        elif token[0].lower() == "offset" and following is not None:
            first = following.start()
            if following[0] in "+-" and number + 2 < len(found):
                following = found[number + 2]
            if following[0] == "(" and (end := _closing(expr, following.start())) is not None:
                places.append((first, end + 1, False))
    return places


def _in_brackets(expr: str, start: int) -> list[tuple[int, int, bool]]:
    end = _closing(expr, start - 1)
    if end is None:
        return []
    first, colon, second = expr[start:end].partition(":")
    places = [(start, start + len(first), True)]
    if colon and second.strip():
        places.append((start + len(first) + 1, end, True))
    return [place for place in places if not _PLAIN.fullmatch(expr[place[0] : place[1]])]


def _closing(expr: str, start: int) -> int | None:
    depth = 0
    for token in TOKEN.finditer(expr, start):
        if token[0] in "([{":
            depth += 1
        elif token[0] in ")]}":
            depth -= 1
            if depth == 0:
                return token.start()
    return None


def _written(expr: str, text: str, *, positive: bool) -> str:
    try:
        with np.errstate(all="ignore"):
            seconds = _value(pp.parse(text))
    except ValueError:
        return text  # promql-parser says what is wrong, in its place
    milliseconds = seconds * 1000
    if not math.isfinite(milliseconds) or abs(milliseconds) > _MAX_MS:
        raise parse_error(expr, "duration out of range")
    if positive and milliseconds <= 0:
        raise parse_error(expr, "duration must be greater than 0")
    return f"{round(milliseconds)}ms" if milliseconds >= 0 else f"-{round(-milliseconds)}ms"


def _value(node: object) -> float:
    match node:
        case pp.NumberLiteral():
            return float(node.val)
        case pp.ParenExpr():
            return _value(node.expr)
        case pp.UnaryExpr():
            return -_value(node.expr)
        case pp.BinaryExpr() if str(node.op) in _OPERATORS:
            return _OPERATORS[str(node.op)](_value(node.lhs), _value(node.rhs))
        case pp.Call() if node.func.name in _CHOICES:
            return _CHOICES[node.func.name](_value(node.args[0]), _value(node.args[1]))
        case pp.Call() if node.func.name in {"step", "range"}:
            raise UnsupportedError(f"the parser does not know {node.func.name}() in a duration")
    raise ValueError("not a duration")
