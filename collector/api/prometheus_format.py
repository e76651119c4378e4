"""Expressions on one line, as Prometheus shows a rule's (promql/parser/printer.go, String)."""

from __future__ import annotations

from functools import lru_cache

from collector.errors import CollectorError
from collector.query.promql.syntax import pretty


@lru_cache(maxsize=4_096)  # rules, of which a page asks every few seconds
def one_line(expr: str) -> str:
    """The expression as it is where it cannot be parsed."""
    try:
        lines = pretty(expr).split("\n")
    except CollectorError:
        return expr
    joined = ""
    for line in lines:  # broken after an opening bracket, before a closing one, and around operators
        text = line.strip()
        between = joined and not joined.endswith("(") and not text.startswith(")")
        joined += f" {text}" if between else text
    return joined
