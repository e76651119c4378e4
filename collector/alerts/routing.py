"""
The routing tree at work: which receivers hear of an alert, and in which group.

Source: alertmanager/dispatch/route.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from collector.alerts.matchers import Predicate, matcher_text, matches_all, order_of
from collector.alerts.route_config import (
    DEFAULT_GROUP_INTERVAL_MS,
    DEFAULT_GROUP_WAIT_MS,
    DEFAULT_REPEAT_INTERVAL_MS,
    GROUP_BY_ALL,
    Route,
)
from collector.model.series import Labels, Matcher
from collector.model.text import quote


@dataclass(frozen=True, slots=True)
class RouteNode:
    """One route with what it inherits filled in."""

    key: str  # path of matchers from the root; part of the group key
    receiver: str
    group_by: frozenset[str] | None  # None: by all labels
    group_wait_ms: int
    group_interval_ms: int
    repeat_interval_ms: int
    resolve_wait_ms: int | None  # None: a resolved alert waits for the group's interval
    mute_intervals: tuple[str, ...]  # not inherited, as in Alertmanager
    active_intervals: tuple[str, ...]
    matchers: tuple[Matcher, ...]
    fits: Predicate
    continues: bool
    children: tuple[RouteNode, ...]

    def match(self, labels: Labels) -> list[RouteNode]:
        """The deepest routes that match, in order; after one, its later siblings only if it says `continue`."""
        pairs = dict(labels)
        if not self.fits(pairs):
            return []
        found: list[RouteNode] = []
        for child in self.children:
            matched = child.match(labels)
            found += matched
            if matched and not child.continues:
                break
        return found or [self]

    def group_labels(self, labels: Labels) -> Labels:
        if self.group_by is None:
            return labels
        return tuple((name, value) for name, value in labels if name in self.group_by)

    def group_key(self, labels: Labels) -> str:
        """Names a group of alerts, e.g. `{}/{team="shop"}:{service="cart"}` (dispatch.go, aggrGroup.GroupKey)."""
        pairs = ", ".join(f"{name}={quote(value)}" for name, value in self.group_labels(labels))
        return f"{self.key}:{{{pairs}}}"

    def walk(self) -> Iterator[RouteNode]:
        yield self
        for child in self.children:
            yield from child.walk()


def route_tree(route: Route) -> RouteNode:
    """The tree of a checked configuration; its root has a receiver."""
    root = RouteNode(
        "",
        "",
        frozenset(),
        DEFAULT_GROUP_WAIT_MS,
        DEFAULT_GROUP_INTERVAL_MS,
        DEFAULT_REPEAT_INTERVAL_MS,
        None,
        (),
        (),
        (),
        matches_all(()),
        False,
        (),
    )
    return _node(route, root)


def _node(route: Route, parent: RouteNode) -> RouteNode:
    matchers = tuple(sorted(route.all_matchers, key=order_of))
    text = ",".join(map(matcher_text, matchers))
    group_by = parent.group_by
    if route.group_by is not None:
        group_by = None if GROUP_BY_ALL in route.group_by else frozenset(route.group_by)
    node = RouteNode(
        key=f"{parent.key}/{{{text}}}" if parent.key else f"{{{text}}}",
        receiver=route.receiver or parent.receiver,
        group_by=group_by,
        group_wait_ms=_own(route.group_wait, parent.group_wait_ms),
        group_interval_ms=_own(route.group_interval, parent.group_interval_ms),
        repeat_interval_ms=_own(route.repeat_interval, parent.repeat_interval_ms),
        resolve_wait_ms=parent.resolve_wait_ms if route.resolve_wait is None else route.resolve_wait,
        mute_intervals=route.mute_time_intervals,
        active_intervals=route.active_time_intervals,
        matchers=matchers,
        fits=matches_all(matchers),
        continues=route.continue_,
        children=(),
    )
    return replace(node, children=tuple(_node(child, node) for child in route.routes))


def _own(value: int | None, inherited: int) -> int:
    return inherited if value is None else value
