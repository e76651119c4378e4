"""
Where in the text each expression begins. promql-parser's tree does not say, and Prometheus's annotations do.

The text is known to be valid: one pass over its tokens, which only has to know whether an operand or an operator comes
next, lists the beginnings in the order in which a walk of the tree, parents first, meets the expressions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collector.query.promql.position import TOKEN
from collector.query.promql.tree import AGGREGATIONS, UNKNOWN_START

_BINARY_WORDS = frozenset({"and", "or", "unless", "atan2"})
_GROUPING = frozenset({"by", "without"})
# What may stand between a binary operator and its right side; those with labels or a number in brackets.
_MATCHING = frozenset({"on", "ignoring", "group_left", "group_right", "fill", "fill_left", "fill_right"})
_CLOSING = {"(": ")", "{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Place:
    kind: str  # paren, sign, number, string, selector, call
    start: int


class Places:
    """The beginnings, handed out in the order of the tree. Another order than expected gives unknown places."""

    def __init__(self, expr: str) -> None:
        self._places = _scanned(expr)

    def take(self, kind: str) -> int:
        """The next place of this kind; signs on the way, which the parser may have folded away, are passed over."""
        for place in self._places:
            if place.kind == kind:
                return place.start
            if place.kind != "sign":
                self._places = iter(())  # not the order of the tree: better no place than a wrong one
        return UNKNOWN_START


def _scanned(expr: str) -> Iterator[Place]:
    found = [token for token in TOKEN.finditer(expr) if not token[0].startswith("#")]
    words = [token[0] for token in found]
    at, operand = 0, True
    while at < len(words):
        word, lower = words[at], words[at].lower()
        following = words[at + 1].lower() if at + 1 < len(words) else ""
        if not operand:
            at, operand = _after_operand(words, at)
        elif word in "+-":
            yield Place("sign", found[at].start())
            at += 1
        elif word == "(":
            yield Place("paren", found[at].start())
            at += 1
        elif word == ")":  # of a call without arguments
            at, operand = at + 1, False
        elif lower == "bool":
            at += 1
        elif lower in _MATCHING and (following == "(" or lower.startswith("group_")):
            at = _past_brackets(words, at + 1) if following == "(" else at + 1
        elif word == "{":
            yield Place("selector", found[at].start())
            at, operand = _past_brackets(words, at), False
        elif word[0] in "\"'`":
            yield Place("string", found[at].start())
            at, operand = at + 1, False
        elif word[0].isdigit() or word[0] == "." or lower in {"inf", "nan"}:
            yield Place("number", found[at].start())
            at, operand = at + 1, False
        elif following == "(" or (lower in AGGREGATIONS and following in _GROUPING):
            yield Place("call", found[at].start())
            at += 1
            if following in _GROUPING:
                at = _past_brackets(words, at + 1)
            at += 1  # its opening bracket
        else:
            yield Place("selector", found[at].start())
            at, operand = _past_brackets(words, at + 1) if following == "{" else at + 1, False


def _after_operand(words: list[str], at: int) -> tuple[int, bool]:
    """Past one modifier or operator that follows an operand: where to go on, and whether an operand comes there."""
    word, lower = words[at], words[at].lower()
    if word == ")":
        return at + 1, False
    if word == "[":
        return _past_brackets(words, at), False
    if lower in _GROUPING:
        return _past_brackets(words, at + 1), False
    if lower == "offset" or word == "@":
        at += 1
        while at < len(words) and words[at] in "+-":
            at += 1
        if at < len(words) and words[at].lower() in {"start", "end"}:
            at += 1
        if at < len(words) and words[at] == "(":
            return _past_brackets(words, at), False
        at += 1
        while at < len(words) and (words[at][0].isdigit() or words[at] == "."):
            at += 1
        return at, False
    return at + 1, True  # a comma, an operator


def _past_brackets(words: list[str], at: int) -> int:
    """Past what opens at `at`, with all that is inside."""
    depth = 0
    while at < len(words):
        if words[at] in _CLOSING:
            depth += 1
        elif words[at] in _CLOSING.values():
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return at
