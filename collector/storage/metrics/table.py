"""Which series exist: labels to id and back, and the group (target) that owns each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.model.labels import METRIC_NAME, Labels, text_of
from collector.storage.metrics.catalog import Catalog, CatalogContent
from collector.storage.metrics.group import Group
from collector.storage.metrics.wal import Layout

FIRST_IDS = 1024
REMEMBERED = 4  # sets of labels per target: a steady target sends one, one that serves two formats sends two


@dataclass(frozen=True, slots=True)
class Part:
    """Those series of a table that belong to one group."""

    layout: Layout
    pick: NDArray[np.intp] | None  # indices into the table's labels; None means all


@dataclass(frozen=True, slots=True)
class RefusedSeries:
    """New series over a limit."""

    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Resolved:
    parts: tuple[Part, ...]
    ids: tuple[int, ...]  # of each of the table's labels; -1 where refused
    refused: RefusedSeries | None


class SeriesTable:
    """
    Used by the writing thread; readers only call `labels_of` and `owner_of`, under the store's lock.

    A series belongs to the target that sent it first and stays there, even if another target sends it later: then an
    answer has it in one block only.
    """

    def __init__(self, catalog: Catalog, *, limit: int, limit_per_target: int) -> None:
        self._catalog = catalog
        self._limit = limit
        self._limit_per_target = limit_per_target
        self.newest_ms: NDArray[np.int64] = np.zeros(FIRST_IDS, np.int64)  # by series id, of what was accepted
        self.groups: dict[int, Group] = {}
        self._by_target: dict[str, Group] = {}
        self._ids: dict[Labels, int] = {}
        self._series: dict[int, tuple[int, Labels]] = {}  # id to (group, labels)
        self._next_group = 0
        self._next_series = 0
        self._remembered: dict[str, list[tuple[tuple[Labels, ...], Resolved]]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def restore(self, content: CatalogContent) -> None:
        for number, target in content.groups.items():
            self._add_group(number, target)
        self._series = content.series
        self._ids = {labels: number for number, (_, labels) in content.series.items()}
        self._next_group, self._next_series = content.next_group, content.next_series
        for group, _ in content.series.values():
            if group in self.groups:
                self.groups[group].series += 1
        self._reserve()

    def items(self) -> Iterable[tuple[int, Labels]]:
        return ((number, labels) for number, (_, labels) in self._series.items())

    def labels_of(self, series: int) -> Labels:
        return self._series[series][1]

    def metric_of(self, series: int) -> str:
        """Its metric's name, empty if it has none or the series is gone. From any thread."""
        known = self._series.get(series)
        return next((value for name, value in known[1] if name == METRIC_NAME), "") if known else ""

    def owner_of(self, series: int) -> int:
        return self._series[series][0]

    def resolve(self, target: str, labels: tuple[Labels, ...]) -> tuple[Resolved, list[tuple[int, Labels]]]:
        """
        The ids and groups of a target's series, and which series are new (already staged in the catalog).

        Comparing with what the target sent before is quick when senders reuse their label tuples: tuples compare their
        items by identity first.
        """
        recent = self._remembered.get(target, [])
        for known, resolved in recent:
            if known == labels:
                return resolved, []
        ids, new, refused = self._number(target, labels)
        resolved = Resolved(self._parts(ids), tuple(ids), refused)
        if refused is None:
            self._remembered.setdefault(target, recent).insert(0, (labels, resolved))
            del recent[REMEMBERED:]
        return resolved, new

    def _number(
        self, target: str, labels: tuple[Labels, ...]
    ) -> tuple[list[int], list[tuple[int, Labels]], RefusedSeries | None]:
        ids = [self._ids.get(each, -1) for each in labels]
        unknown = [place for place, number in enumerate(ids) if number < 0]
        if not unknown:
            return ids, [], None
        room = self._room(target)
        new = []
        for place in unknown[: max(0, room)]:
            if labels[place] in self._ids:  # it stands in the table twice, against the contract
                ids[place] = self._ids[labels[place]]
                continue
            number = ids[place] = self._ids[labels[place]] = self._next_series
            self._next_series += 1
            new.append((number, labels[place]))
        if new:
            group = self._group(target)
            group.series += len(new)
            self._series.update((number, (group.number, each)) for number, each in new)
            self._catalog.stage_series(group.number, new)
            self._reserve()
        if len(unknown) <= room:
            return ids, new, None
        refused = unknown[max(0, room) :]
        return ids, new, self._refused(target, len(refused), labels[refused[0]])

    def _room(self, target: str) -> int:
        group = self._by_target.get(target)
        return min(self._limit - len(self._ids), self._limit_per_target - (group.series if group else 0))

    def _refused(self, target: str, count: int, example: Labels) -> RefusedSeries:
        if len(self._ids) >= self._limit:
            limit = f"series limit {self._limit}"
        else:
            limit = f"series limit {self._limit_per_target} for the target {target}"
        return RefusedSeries(count, f"{limit} exceeded by {count}: {text_of(example)}")

    def _reserve(self) -> None:
        if self._next_series > len(self.newest_ms):
            wider = np.zeros(max(self._next_series, 2 * len(self.newest_ms)), np.int64)
            wider[: len(self.newest_ms)] = self.newest_ms
            self.newest_ms = wider

    def _parts(self, ids: list[int]) -> tuple[Part, ...]:
        places: dict[int, list[int]] = {}
        for place, number in enumerate(ids):
            if number >= 0:
                places.setdefault(self._series[number][0], []).append(place)
        array = np.array(ids, np.int64)
        if len(places) == 1 and (array >= 0).all():
            return (Part(Layout(next(iter(places)), array.astype(np.uint32)), None),)
        parts = []
        for group, chosen in places.items():
            pick = np.array(chosen, np.intp)
            parts.append(Part(Layout(group, array[pick].astype(np.uint32)), pick))
        return tuple(parts)

    def _group(self, target: str) -> Group:
        group = self._by_target.get(target)
        if group is None:
            group = self._add_group(self._next_group, target)
            self._next_group += 1
            self._catalog.stage_group(group.number, target)
        return group

    def _add_group(self, number: int, target: str) -> Group:
        group = self.groups[number] = self._by_target[target] = Group(number, target)
        return group

    def keep_only(self, series: set[int]) -> int:
        """Forget the other series, and groups that have neither series nor samples. Returns how many series went."""
        gone = self._series.keys() - series
        for number in gone:
            group, labels = self._series.pop(number)
            del self._ids[labels]
            self.groups[group].series -= 1
        for empty in [group for group in self.groups.values() if group.empty and not group.series]:
            del self.groups[empty.number]
            del self._by_target[empty.target]
        # Ids are not used again, so those of the gone would take memory for ever: pages of zeros take none.
        kept = np.fromiter(self._series, np.int64, len(self._series))
        newest = np.zeros(len(self.newest_ms), np.int64)
        newest[kept] = self.newest_ms[kept]
        self.newest_ms = newest
        self._remembered.clear()
        return len(gone)

    def content(self) -> CatalogContent:
        targets = {number: group.target for number, group in self.groups.items()}
        return CatalogContent(targets, self._series, self._next_group, self._next_series)
