"""Label matchers in Alertmanager's syntax: `alertname="HighRequestLatency"`, `service=~"catalog|cart"`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Source: prometheus/alertmanager pkg/labels/parse.go, the classic matcher.
_PATTERN = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_ESCAPES = {'\\"': '"', "\\\\": "\\", "\\n": "\n"}
# What Python's `re` knows and RE2 does not: such a pattern would not work in Alertmanager either.
_NOT_RE2 = re.compile(r"\(\?(?:=|!|<[=!]|P=|\(|#)|\\[1-9]")


@dataclass(frozen=True, slots=True)
class Matcher:
    """`value` is unescaped. A label that is absent counts as empty; a regular expression must match the whole value."""

    name: str
    operator: str  # one of = != =~ !~
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        present = labels.get(self.name, "")
        if self.operator in ("=", "!="):
            return (present == self.value) == (self.operator == "=")
        return (re.fullmatch(self.value, present, re.DOTALL) is not None) == (self.operator == "=~")

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{escaped}"'


def parse_matcher(text: str) -> Matcher:
    """
    Raises:
        ValueError: not a matcher, or its regular expression is not one that RE2 takes too.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f'not a matcher: {text!r}; write for example service=~"catalog|cart"')
    name, operator, raw = found.groups()
    value = _unquoted(raw, text)
    if operator in ("=~", "!~"):
        if _NOT_RE2.search(value):
            raise ValueError(f"{text!r}: look-around, back-references and comments are not in RE2")
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{text!r}: not a regular expression: {error}") from error
    return Matcher(name, operator, value)


def _unquoted(raw: str, text: str) -> str:
    if raw.startswith('"') != (raw.endswith('"') and len(raw) > 1):
        raise ValueError(f"{text!r}: a quote is missing")
    inner = raw[1:-1] if raw.startswith('"') else raw
    value = re.sub(r'\\["\\n]', lambda escape: _ESCAPES[escape.group()], inner)
    if re.search(r'(?<!\\)(?:\\\\)*"', inner):
        raise ValueError(f"{text!r}: a quote inside the value must be escaped")
    return value


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    return all(matcher.matches(labels) for matcher in matchers)
