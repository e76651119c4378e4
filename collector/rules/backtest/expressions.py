"""
Expressions over a grid of evaluation times.

Most are asked of the peer as they are, at exactly these times, so that its own staleness and lookback count. One that
reads a recording which is replayed, not stored, is evaluated here: the recording from memory, all else that it reads
fetched from the peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.errors import UnsupportedError
from collector.model.series import ABSENT_BITS, METRIC_NAME, STALE_BITS, Labels, Matcher, MatchOp, is_absent
from collector.model.text import quote
from collector.query.promql.engine import LOOKBACK_MS, Engine
from collector.query.promql.syntax import parse
from collector.query.promql.tree import Node, RangeSelector, Selector, Subquery, children
from collector.rules.remote import Grid, Remote, Table
from collector.rules.scratch_store import ScratchStore


class Leaf(NamedTuple):
    """A selector in an expression, and how it is read."""

    selector: Selector
    window_ms: int  # of its range; 0: an instant vector
    within_subquery: bool

    @property
    def metric(self) -> str | None:
        matchers = self.selector.matchers
        named = (one.value for one in matchers if one.name == METRIC_NAME and one.op is MatchOp.EQUAL)
        return next(named, None)


def leaves(expr: str) -> list[Leaf]:
    """
    Raises:
        CollectorError: not PromQL, or not built.
    """
    return list(_leaves(parse(expr), within_subquery=False))


def _leaves(node: Node, *, within_subquery: bool) -> Iterator[Leaf]:
    match node:
        case Selector():
            yield Leaf(node, 0, within_subquery)
        case RangeSelector():
            yield Leaf(node.selector, node.range_ms, within_subquery)
        case _:
            inside = within_subquery or isinstance(node, Subquery)
            for child in children(node):
                yield from _leaves(child, within_subquery=inside)


def reach_ms(expr: str) -> int:
    """How far back an expression looks, at most: every window and offset of it, and the lookback."""
    return LOOKBACK_MS + _reach(parse(expr))


def _reach(node: Node) -> int:
    below = max((_reach(child) for child in children(node)), default=0)
    match node:
        case Selector():
            return max(0, node.offset_ms)
        case RangeSelector():
            return node.range_ms + max(0, node.selector.offset_ms)
        case Subquery():
            return below + node.range_ms + max(0, node.offset_ms)
    return below


def selector_text(selector: Selector) -> str:
    """The selector without offset, as any Prometheus reads it."""
    return "{" + ",".join(_matcher_text(one) for one in selector.matchers) + "}"


def _matcher_text(matcher: Matcher) -> str:
    return f"{matcher.name}{matcher.op.value}{quote(matcher.value)}"


@dataclass(slots=True)
class Expressions:
    """
    Args:
        recorded: The series of replayed recordings, which `record` adds to.
        replayed: The names of these.
    """

    remote: Remote
    recorded: ScratchStore = field(default_factory=ScratchStore)
    replayed: set[str] = field(default_factory=set)

    def over(self, expr: str, grid: Grid) -> Table:
        """
        The values of an expression at every time of the grid.

        Raises:
            CollectorError: those of `Remote`; UnsupportedError if the expression reads a replayed recording in a way
                that cannot be replayed exactly.
        """
        found = leaves(expr)
        if not any(leaf.metric in self.replayed for leaf in found):
            return self.remote.range(expr, grid)
        store = ScratchStore.copied(self.recorded)
        self._fetch([leaf for leaf in found if leaf.metric not in self.replayed], grid, store)
        answer = Engine(store).range(expr, start_ms=grid.start_ms, end_ms=grid.end_ms, step_ms=grid.step_ms)
        return Table(answer.labels, answer.values)

    def _fetch(self, wanted: list[Leaf], grid: Grid, store: ScratchStore) -> None:
        """Put into the store what makes these leaves yield, at the times of the grid, what the peer would yield."""
        windows: dict[str, tuple[int, int]] = {}  # the earliest and latest time that ranges read, by selector
        instants: dict[str, set[int]] = {}  # offsets
        for leaf in wanted:
            text = selector_text(leaf.selector)
            if leaf.within_subquery or leaf.selector.at is not None:
                raise UnsupportedError(
                    f"{text} is read by a subquery or with @, together with a recording that is not stored:"
                    " record first, backtest later"
                )
            if leaf.window_ms:
                offset = leaf.selector.offset_ms
                low, high = grid.start_ms - offset - leaf.window_ms, grid.end_ms - offset
                before = windows.get(text, (low, high))
                windows[text] = min(low, before[0]), max(high, before[1])
            else:
                instants.setdefault(text, set()).add(leaf.selector.offset_ms)
        for text, (low, high) in windows.items():
            for one in self.remote.samples(text, min_ms=low, max_ms=high):
                store.load(one.labels, one.timestamps_ms, one.values)
        for text, offsets in instants.items():
            for offset in sorted(offsets):
                shifted = grid.shifted(-offset)
                self._load_instants(self.remote.range(text, shifted), shifted, store, only_ends=text in windows)

    def _load_instants(self, table: Table, grid: Grid, store: ScratchStore, *, only_ends: bool) -> None:
        """
        Args:
            only_ends: The samples themselves are there; only where the series ended is to be added.
        """
        times = grid.times_ms
        for labels, values in zip(table.labels, table.values, strict=True):
            store.load(labels, times, ended(values, only_ends=only_ends), keep=True)

    def record(self, series: dict[Labels, dict[int, float]], times_ms: list[int]) -> None:
        """
        Keep what a replayed recording wrote, with a staleness marker where a series is gone, as the live engine writes.

        Args:
            series: Values by labels and time.
            times_ms: Every evaluation, in order.
        """
        times = np.array(times_ms, dtype=np.int64)
        for labels, samples in series.items():
            bits = np.full(len(times), ABSENT_BITS, dtype=np.uint64)
            values = bits.view(np.float64)
            at = np.searchsorted(times, list(samples))
            values[at] = list(samples.values())
            self.recorded.load(labels, times, ended(values))


def ended(values: NDArray[np.float64], *, only_ends: bool = False) -> NDArray[np.float64]:
    """A row with a staleness marker at the first absence after a presence; with `only_ends`, the markers alone."""
    absent = is_absent(values)
    ends = np.zeros(len(values), dtype=np.bool_)
    ends[1:] = absent[1:] & ~absent[:-1]
    bits = np.full(len(values), ABSENT_BITS, dtype=np.uint64) if only_ends else values.view(np.uint64).copy()
    bits[ends] = STALE_BITS
    return bits.view(np.float64)
