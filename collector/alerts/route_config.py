"""
The routing tree and the inhibition rules of Alertmanager's configuration file.

`resolve_wait` in a route is our own key. Source: alertmanager/config/config.go (Route, InhibitRule).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from collector.alerts.matchers import MatcherError, new_matcher, parse_matchers
from collector.alerts.section import DurationMs, Section
from collector.model.series import Matcher, MatchOp

# config.go, DefaultRoute and DefaultRouteOpts.
DEFAULT_GROUP_WAIT_MS = 30_000
DEFAULT_GROUP_INTERVAL_MS = 5 * 60_000
DEFAULT_REPEAT_INTERVAL_MS = 4 * 3_600_000
GROUP_BY_ALL = "..."
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


def _matchers(value: object) -> tuple[Matcher, ...]:
    """Each line is a list of matchers itself; `matchers: 'a=b'` without a list is not taken, as in Alertmanager."""
    if not isinstance(value, list):
        raise ValueError("matchers is a list, e.g. ['severity=\"critical\"']")
    return tuple(matcher for line in value for matcher in parse_matchers(_text(line, "a matcher")))


def _equal_matchers(value: object) -> tuple[Matcher, ...]:
    return tuple(_pairs(value, MatchOp.EQUAL))


def _regex_matchers(value: object) -> tuple[Matcher, ...]:
    """Their group keys show the anchors, as Alertmanager's do."""
    return tuple(one._replace(value=f"^(?:{one.value})$") for one in _pairs(value, MatchOp.REGEX))


def _pairs(value: object, op: MatchOp) -> Iterable[Matcher]:
    if not isinstance(value, dict):
        raise ValueError("a mapping of label names to values is needed")
    for name, text in value.items():
        if not _LABEL_NAME.fullmatch(str(name)):
            raise ValueError(f"invalid label name {name!r}")
        try:
            yield new_matcher(str(name), op, _text(text, f"the value of {name}"))
        except MatcherError as error:
            raise ValueError(f"{name}: {error}") from error


def _text(value: object, what: str) -> str:
    """YAML's numbers and booleans count as they are written, as in Go."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{what} is text, not {value!r}")


Matchers = Annotated[tuple[Matcher, ...], BeforeValidator(_matchers)]
EqualMatchers = Annotated[tuple[Matcher, ...], BeforeValidator(_equal_matchers)]
RegexMatchers = Annotated[tuple[Matcher, ...], BeforeValidator(_regex_matchers)]


class Route(Section):
    """One node of the routing tree; None: as the parent."""

    receiver: str | None = None
    group_by: tuple[str, ...] | None = None
    group_wait: DurationMs | None = None
    group_interval: DurationMs | None = None
    repeat_interval: DurationMs | None = None
    resolve_wait: DurationMs | None = None  # ours: how soon a resolved alert is told; None: with the group_interval
    match: EqualMatchers = ()
    match_re: RegexMatchers = ()
    matchers: Matchers = ()
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    continue_: bool = Field(default=False, alias="continue")
    routes: tuple[Route, ...] = ()

    @property
    def all_matchers(self) -> tuple[Matcher, ...]:
        return (*self.match, *self.match_re, *self.matchers)

    @field_validator("group_by")
    @classmethod
    def _labels_are_names(cls, group_by: tuple[str, ...] | None) -> tuple[str, ...] | None:
        names = group_by or ()
        if GROUP_BY_ALL in names and len(set(names)) > 1:
            raise ValueError("cannot have wildcard group_by (`...`) and other labels at the same time")
        for name in names:
            if not name:
                raise ValueError(f"invalid label name {name!r} in group_by list")
        if GROUP_BY_ALL not in names and len(set(names)) < len(names):
            raise ValueError(f"duplicated label in group_by list: {', '.join(names)}")
        return group_by

    @field_validator("group_interval", "repeat_interval")
    @classmethod
    def _not_zero(cls, duration_ms: int | None) -> int | None:
        if duration_ms == 0:
            raise ValueError("cannot be zero")
        return duration_ms

    def walk(self) -> Iterable[Route]:
        yield self
        for child in self.routes:
            yield from child.walk()


class InhibitRule(Section):
    name: str = ""
    source_match: EqualMatchers = ()
    source_match_re: RegexMatchers = ()
    source_matchers: Matchers = ()
    target_match: EqualMatchers = ()
    target_match_re: RegexMatchers = ()
    target_matchers: Matchers = ()
    equal: tuple[str, ...] = ()

    @field_validator("equal")
    @classmethod
    def _labels_are_names(cls, equal: tuple[str, ...]) -> tuple[str, ...]:
        if "" in equal:
            raise ValueError("invalid label name '' in equal list")
        return equal

    @property
    def source(self) -> tuple[Matcher, ...]:
        return (*self.source_match, *self.source_match_re, *self.source_matchers)

    @property
    def target(self) -> tuple[Matcher, ...]:
        return (*self.target_match, *self.target_match_re, *self.target_matchers)
