"""
Where in an expression a parse error is.

promql-parser says what is wrong but not where. Prometheus says both, and its users (editors, Grafana) underline the
place, so it is found again here: from what the message names, else by the longest run of tokens that some continuation
completes.
"""

from __future__ import annotations

import re

import promql_parser as pp

from collector.query.errors import ParseError

TOKEN = re.compile(
    r"""\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|[A-Za-z_:][\w:.]*|0[xX][\da-fA-F_]+|(?:\d[\d_]*(?:\.\d*)?|\.\d+)[eE][+-]?\d+|\.?\d[\w.]*|=~|!~|==|!=|>=|<=|\S""",
    re.ASCII,
)
# What can follow an expression that is cut off in the middle. Enough to tell a prefix from a mistake.
_CONTINUATIONS = ("", "x", "(x)", "(x)(x)", "5m", '"x"', '="x"', "1", "x=~'x'", '"x", x', "x[5m]", "1, x", '""}')
_PROBES = 60  # tokens from the end that are tried; a parse of a short expression takes microseconds
_CLOSERS = {"(": ")", "{": "}", "[": "]"}


def tokens(expr: str) -> list[str]:
    """The tokens of an expression, roughly: enough to count brackets and operators outside of strings."""
    return [token for token in TOKEN.findall(expr) if not token.startswith("#")]


def parse_error(expr: str, reason: str) -> ParseError:
    position, text = _locate(expr, reason)
    line = expr.count("\n", 0, position) + 1
    column = position - (expr.rfind("\n", 0, position) + 1) + 1
    return ParseError(line, column, text)


def _locate(expr: str, reason: str) -> tuple[int, str]:
    if reason == "no expression found in input":
        return len(expr), reason
    if reason.startswith("invalid promql query"):
        return _unexpected(expr)
    if reason.startswith(("unexpected end of input", "unclosed left")):
        return len(expr), reason
    if quoted := re.search(r"(?:name|to|function|operation|character(?: inside \w+)?:?|parenthesis) '([^']+)'", reason):
        word = re.escape(quoted[1])
        found = re.search(rf"(?<![\w:]){word}(?![\w:])" if quoted[1][0].isalnum() else word, expr)
        if found is not None:
            return found.start(), reason
    first = TOKEN.search(expr)
    return (first.start() if first else 0), reason


def _unexpected(expr: str) -> tuple[int, str]:
    found = [token for token in TOKEN.finditer(expr) if not token[0].startswith("#")]
    for count in range(len(found), max(-1, len(found) - _PROBES), -1):
        end = found[count - 1].end() if count else 0
        if _is_prefix(expr[:end]):
            if count == len(found):
                return len(expr), "unexpected end of input"
            return found[count].start(), f"unexpected {_described(found[count][0])}"
    return 0, "unexpected syntax"


def _is_prefix(text: str) -> bool:
    stack = [_CLOSERS[token[0]] for token in TOKEN.finditer(text) if token[0] in _CLOSERS]
    closed = sum(token[0] in _CLOSERS.values() for token in TOKEN.finditer(text))
    closers = "".join(reversed(stack[: len(stack) - closed] if closed else stack))
    return any(_parses(f"{text} {more}{closers}") for more in _CONTINUATIONS)


def _parses(text: str) -> bool:
    try:
        pp.parse(text)
    except ValueError as error:
        # a complaint about types means that the grammar was satisfied
        return not re.match(r"invalid promql|unexpected|un(?:closed|terminated)|no expression|bad|invalid", str(error))
    return True


def _described(token: str) -> str:
    if re.match(r"[A-Za-z_:]", token):
        return f'identifier "{token}"'
    if token[0].isdigit():
        return f'number "{token}"'
    return f'"{token}"' if token[0] not in "\"'`" else f"string {token}"
