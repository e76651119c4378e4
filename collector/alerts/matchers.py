"""
Label matchers as Alertmanager writes them, and label sets tested against many of them.

Source: alertmanager/pkg/labels/parse.go (classic), matcher/parse (UTF-8) and matcher/compat, of which the fallback mode
is followed: what the classic parser takes means what it says, what only the UTF-8 parser takes is taken too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import re2

from collector.model.series import Matcher, MatchOp
from collector.model.text import quote

MAX_MATCHERS_TEXT = 64 * 1024  # of one list; a silence of a hundred matchers is some 5 KB

_OPERATORS = {"=": MatchOp.EQUAL, "!=": MatchOp.NOT_EQUAL, "=~": MatchOp.REGEX, "!~": MatchOp.NOT_REGEX}
_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*(.*?)\s*", re.S)
_LEGACY_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
# Spaces, then one token: brace or comma, operator, quoted text, or anything without the reserved characters.
_TOKEN = re.compile(r'\s*(?:([{},])|(=~|!=|!~|=)|("(?:\\.|[^"\\])*")|([^\s{}!=~,\\"\'`]+))', re.S)
Predicate = Callable[[Mapping[str, str]], bool]


class MatcherError(ValueError):
    """The text is no matcher; the message is Alertmanager's."""


@lru_cache(maxsize=4096)  # silences and routes of one system; each entry some kilobytes at most
def compiled(pattern: str) -> Any:
    """Anchored, in time linear in the text, with Go's syntax. Raises MatcherError."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(f"^(?:{pattern})$", options)
    except re2.error as error:
        text = error.args[0] if error.args else ""
        message = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise MatcherError(f"error parsing regexp: {message}") from None


def new_matcher(name: str, op: MatchOp, value: str) -> Matcher:
    """A checked matcher. Raises MatcherError: the regular expression is wrong."""
    if op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
        compiled(value)
    return Matcher(name, op, value)


def test_of(matcher: Matcher) -> Callable[[str], bool]:
    """What a label's value ("" for an absent label) must satisfy."""
    value = matcher.value
    if matcher.op is MatchOp.EQUAL:
        return lambda text: text == value
    if matcher.op is MatchOp.NOT_EQUAL:
        return lambda text: text != value
    pattern = compiled(value)
    if matcher.op is MatchOp.REGEX:
        return lambda text: pattern.match(text) is not None
    return lambda text: pattern.match(text) is None


def matches_all(matchers: Iterable[Matcher]) -> Predicate:
    """Whether a label set satisfies every matcher; no matchers: always."""
    tests = [(matcher.name, test_of(matcher)) for matcher in matchers]
    return lambda labels: all(test(labels.get(name, "")) for name, test in tests)


def matcher_text(matcher: Matcher) -> str:
    """`name="value"`; a name beyond the classic alphabet is quoted too (labels.Matcher.String)."""
    name = matcher.name if _LEGACY_NAME.fullmatch(matcher.name) else quote(matcher.name)
    return f"{name}{matcher.op.value}{quote(matcher.value)}"


def order_of(matcher: Matcher) -> tuple[str, str, str]:
    """Alertmanager's order of matchers, which its group keys show (labels.Matchers.Less)."""
    return matcher.name, matcher.value, matcher.op.value


def parse_matcher(text: str) -> Matcher:
    """
    One matcher, e.g. `severity="critical"` or `team=~payments|cart`.

    Raises:
        MatcherError
    """
    found = parse_matchers(text)
    if len(found) != 1:
        raise MatcherError(f"expected 1 matcher, found {len(found)}")
    return found[0]


def parse_matchers(text: str) -> list[Matcher]:
    """
    A comma-separated list, with or without braces: `{foo="bar", dings!="bums"}`.

    Raises:
        MatcherError
    """
    if len(text) > MAX_MATCHERS_TEXT:
        raise MatcherError(f"matchers of {len(text)} characters are over the limit of {MAX_MATCHERS_TEXT}")
    try:
        return [_classic(part) for part in _split(text)]
    except MatcherError as classic:
        try:
            return _utf8(text)
        except MatcherError:
            raise classic from None


def _split(text: str) -> list[str]:
    """At the commas outside of quotes; a trailing comma is dropped."""
    parts, part, quoted, escaped = [], "", False, False
    for char in text.removeprefix("{").removesuffix("}"):
        if char == "," and not quoted:
            parts.append(part)
            part = ""
            continue
        if char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
        part += char
    if part.strip():
        parts.append(part.strip())
    return parts


def _classic(text: str) -> Matcher:
    match = _CLASSIC.fullmatch(text)
    if match is None:
        raise MatcherError(f"bad matcher format: {text}")
    name, operator, raw = match.groups()
    quoted = raw.startswith('"')
    body = raw[1:] if quoted else raw
    if quoted:
        if not _ends_in_quote(body):
            raise MatcherError(f"matcher value contains unescaped double quote: {raw}")
        body = body[:-1]
    if _has_bare_quote(body):
        raise MatcherError(f"matcher value contains unescaped double quote: {raw}")
    value = re.sub(r'\\([n"\\])', lambda escape: "\n" if escape[1] == "n" else escape[1], body)
    try:
        return new_matcher(name, _OPERATORS[operator], value)
    except MatcherError as error:
        raise MatcherError(f"bad matcher {text}: {error}") from error


def _ends_in_quote(body: str) -> bool:
    if not body.endswith('"'):
        return False
    backslashes = len(body[:-1]) - len(body[:-1].rstrip("\\"))
    return backslashes % 2 == 0


def _has_bare_quote(body: str) -> bool:
    return '"' in re.sub(r"\\.", "", body, flags=re.S)


def _utf8(text: str) -> list[Matcher]:
    tokens = _tokens(text)
    if tokens and tokens[0] == ("punctuation", "{"):
        if len(tokens) < 2 or tokens[-1] != ("punctuation", "}"):
            raise MatcherError("expected close brace")
        tokens = tokens[1:-1]
    matchers = []
    while tokens:
        kinds = tuple(kind for kind, _ in tokens[:3])
        if len(kinds) < 3 or kinds[0] != "text" or kinds[1] != "operator" or kinds[2] != "text":
            raise MatcherError(f"bad matcher format: {text}")
        (_, name), (_, operator), (_, value) = tokens[:3]
        if not name:
            raise MatcherError(f"bad matcher format: {text}: empty label name")
        matchers.append(new_matcher(name, _OPERATORS[operator], value))
        tokens = tokens[3:]
        if tokens and tokens.pop(0) != ("punctuation", ","):
            raise MatcherError(f"bad matcher format: {text}: expected a comma")
    return matchers


def _tokens(text: str) -> list[tuple[str, str]]:
    found, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise MatcherError(f"bad matcher format: {text}: invalid input at {position}")
        punctuation, operator, quoted, unquoted = match.groups()
        if punctuation:
            found.append(("punctuation", punctuation))
        elif operator:
            found.append(("operator", operator))
        else:
            found.append(("text", _unquote(quoted) if quoted else unquoted))
        position = match.end()
    return found


def _unquote(quoted: str) -> str:
    """JSON's escapes are those of Go's that anybody writes."""
    try:
        return str(json.loads(quoted))
    except ValueError as error:
        raise MatcherError(f"{quoted}: invalid quoted text") from error
