"""The comparison in an alert's expression, for the picture: what is compared, and with which number."""

from __future__ import annotations

import re
from dataclasses import dataclass

from collector.errors import CollectorError
from collector.query.promql.syntax import parse

_TOKEN = re.compile(
    r"""(?P<skip>\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)|(?P<open>[({\[])|(?P<close>[)}\]])"""
    r"""|(?P<comparison>==|!=|>=|<=|>|<)|(?P<word>[A-Za-z_:][\w:.]*)|\d[\w.]*|\S""",
)
_SET_OPERATORS = frozenset({"and", "or", "unless"})
_MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`expr operator threshold` is the first operand of the alert's expression."""

    expr: str
    operator: str
    threshold: float


def comparison(expr: str) -> Comparison | None:
    """The comparison of a whole expression, or of its first operand of `and`, `or`, `unless`; None if it has none."""
    expr = _TOKEN.sub(lambda token: " " if token[0].startswith("#") else token[0], expr)
    depth = 0
    end = len(expr)
    sign: re.Match[str] | None = None
    for token in _TOKEN.finditer(expr):
        depth += (token["open"] is not None) - (token["close"] is not None)
        if depth:
            continue
        if token["word"] and token["word"].lower() in _SET_OPERATORS:
            end = token.start()
            break
        if token["comparison"]:
            sign = token  # the last one: comparisons are taken from the left
    if sign is None:
        inner = expr[:end].strip()
        enclosed = inner.startswith("(") and inner.endswith(")") and _is_expression(inner[1:-1])
        return comparison(inner[1:-1]) if enclosed else None
    left = expr[: sign.start()].strip()
    right = re.sub(r"^\s*bool\b", "", expr[sign.end() : end]).strip()
    if (number := _number(right)) is not None and _is_expression(left):
        return Comparison(left, sign[0], number)
    if (number := _number(left)) is not None and _is_expression(right):
        return Comparison(right, _MIRRORED[sign[0]], number)
    return None


def _number(text: str) -> float | None:
    try:
        return float(text.strip("() \n\t"))
    except ValueError:
        return None


def _is_expression(text: str) -> bool:
    try:
        parse(text)
    except CollectorError:
        return False
    return True
