"""Expressions as Prometheus writes them: in lines, and on one line (promql/parser/prettier.go and printer.go)."""

from __future__ import annotations

import re
from functools import lru_cache

from collector.errors import CollectorError
from collector.gotemplate.goformat import format_float
from collector.query.promql.syntax import pretty

# Numbers, and before them whatever may hold digits and is none: texts, matchers, windows, names, durations, times.
_NUMBER = re.compile(
    r"""
    (?: "(?:\\.|[^"\\])*" | \{(?:"(?:\\.|[^"\\])*"|[^}"])*\} | \[[^\]]*\] | @\ [-\d.]+ | (?:\d+(?:ms|[smhdwy]))+ )
    | \b(?P<number> Inf | \d[\d.]*(?:[eE][+-]?\d+)? )\b
    | [a-zA-Z_:][\w:]*
    """,
    re.VERBOSE,
)


def in_lines(expr: str) -> str:
    """
    Raises:
        ParseError, BadRequestError, UnsupportedError: as parsing it does.
    """
    return _NUMBER.sub(_as_go, pretty(expr))


def _as_go(match: re.Match[str]) -> str:
    number = match["number"]
    if number is None or (number == "Inf" and match.string[: match.start()].endswith("-")):
        return match[0]
    return format_float(float(number))


@lru_cache(maxsize=4_096)  # rules, of which a page asks every few seconds
def one_line(expr: str) -> str:
    """The expression as it is where it cannot be parsed."""
    try:
        lines = in_lines(expr).split("\n")
    except CollectorError:
        return expr
    joined = ""
    for line in lines:  # broken after an opening bracket, before a closing one, and around operators
        text = line.strip()
        between = joined and not joined.endswith("(") and not text.startswith(")")
        joined += f" {text}" if between else text
    return joined
