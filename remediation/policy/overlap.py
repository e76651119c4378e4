"""
Can two policies match the same alert? Matchers are conjunctions over single labels, so each label is decided alone.

A label whose matchers are all satisfied by one of the values that the matchers themselves name (or by none of them
being set, or by a value that nobody names) is satisfiable. Two regular expressions may have a common value that neither
names; that is not looked for, so `None` means "not shown", and the worker says at run time when it happens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from remediation.policy.matcher import Matcher

FRESH = "any-other"  # stands for all values that no matcher names
MAX_ALTERNATIVES = 200
# A regular expression that is a plain list of words, as most in policies are: `catalog|cart|check-out`.
_WORDS = re.compile(r"\(?(?:[\w-]+)(?:\|[\w-]+)*\)?")


def common_alert(one: Iterable[Matcher], other: Iterable[Matcher]) -> dict[str, str] | None:
    """Labels of an alert that satisfies all matchers of both; None if none was found."""
    by_label: dict[str, list[Matcher]] = {}
    for matcher in (*one, *other):
        by_label.setdefault(matcher.name, []).append(matcher)
    labels: dict[str, str] = {}
    for name, matchers in by_label.items():
        value = _satisfying(name, matchers)
        if value is None:
            return None
        labels[name] = value
    return labels


def _satisfying(name: str, matchers: list[Matcher]) -> str | None:
    for value in _candidates(matchers):
        if all(matcher.matches({name: value}) for matcher in matchers):
            return value
    return None


def _candidates(matchers: list[Matcher]) -> Iterator[str]:
    for matcher in matchers:
        if matcher.operator in ("=", "!="):
            yield matcher.value
        elif _WORDS.fullmatch(matcher.value):
            yield from matcher.value.strip("()").split("|")[:MAX_ALTERNATIVES]
    yield ""
    yield FRESH
