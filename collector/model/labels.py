"""Labels, and the matchers that choose series by them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import re2

from collector.errors import BadRequestError

# Sorted by name, no empty values (an empty label is an absent one), metric name under "__name__".
Labels = tuple[tuple[str, str], ...]
METRIC_NAME = "__name__"


def labels_of(pairs: Mapping[str, str]) -> Labels:
    return tuple(sorted((name, value) for name, value in pairs.items() if value))


def text_of(labels: Labels) -> str:
    """For messages: {__name__="up",job="shop"}."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}"


class MatchOp(Enum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


class Matcher(NamedTuple):
    """One label matcher. A label that a series lacks counts as the empty string; regular expressions are anchored."""

    name: str
    op: MatchOp
    value: str

    def matches(self, value: str) -> bool:
        """
        Raises:
            BadRequestError: the regular expression does not compile.
        """
        match self.op:
            case MatchOp.EQUAL:
                return value == self.value
            case MatchOp.NOT_EQUAL:
                return value != self.value
            case MatchOp.REGEX:
                return _matches(self.value, value)
            case MatchOp.NOT_REGEX:
                return not _matches(self.value, value)


def _matches(pattern: str, value: str) -> bool:
    try:
        return compiled(pattern).fullmatch(value) is not None
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can bring: RE2 takes UTF-8
        return compiled(pattern).fullmatch(value.encode("utf-8", "replace").decode()) is not None


@functools.lru_cache(maxsize=1024)  # rules and dashboards ask for the same ones; one takes some KB
def compiled(pattern: str) -> Any:  # re2 has no types
    """
    Compile a regular expression of Go's syntax, in which a dot matches a newline too (as since Prometheus 3).

    Raises:
        BadRequestError: it does not compile; the message has RE2's reason.
    """
    options = re2.Options()
    options.log_errors = False  # RE2 would write to stderr what the error says
    options.dot_nl = True
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0] if isinstance(error, re2.error) else str(error)
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise BadRequestError(f"invalid regular expression {pattern!r}: {text}") from error
