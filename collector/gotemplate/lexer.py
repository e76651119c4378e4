"""Where a template's actions are, and the tokens of one. Source: Go text/template/parse/lex.go."""

from __future__ import annotations

import re
from typing import NamedTuple

from collector.gotemplate.tree import TemplateError
from collector.model.text import quote

ACTION = re.compile(
    r"\{\{(-\s)?\s*(/\*.*?\*/|(?:\"(?:\\.|[^\"\\\n])*\"|`[^`]*`|'(?:\\.|[^'\\\n])*'|(?!\}\}).)*?)\s*(\s-)?\}\}", re.S
)
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<string>\"(?:\\.|[^\"\\\n])*\"|`[^`]*`)|(?P<char>'(?:\\.|[^'\\\n])+')"
    r"|(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))"
    r"|(?P<field>\.[^\W\d]\w*)|(?P<dot>\.)|(?P<variable>\$\w*)|(?P<word>[^\W\d]\w*)|(?P<sign>:=|[=|(),])"
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.S)


class Token(NamedTuple):
    kind: str
    text: str


def unquote(literal: str) -> str:
    if literal[0] == "`":
        return literal[1:-1]

    def one(match: re.Match[str]) -> str:
        *codes, plain = match.groups()
        if code := next(filter(None, codes), None):
            return chr(int(code, 16))
        if plain not in _ESCAPES:
            raise TemplateError(f"invalid syntax: {literal}")
        return _ESCAPES[plain]

    return _ESCAPE.sub(one, literal[1:-1])


def tokens(action: str) -> list[Token]:
    """
    Raises:
        TemplateError: names the character that begins no token.
    """
    found, at = [], 0
    while at < len(action):
        match = _TOKEN.match(action, at)
        if match is None or match.lastgroup is None:
            raise TemplateError(f"unexpected {quote(action[at])} in command")
        found.append(Token(match.lastgroup, match[0]))
        at = match.end()
    return found
