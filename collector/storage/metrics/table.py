"""Which series exist: labels to id and back, and the group (target) that owns each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.model.series import Labels, SampleBatch
from collector.storage.metrics.catalog import Catalog, CatalogContent
from collector.storage.metrics.group import Group
from collector.storage.metrics.wal import Layout

REMEMBERED = 4  # sets of labels per target: a steady target sends one, one that serves two formats sends two


@dataclass(frozen=True, slots=True)
class Part:
    """Those samples of a batch that belong to one group."""

    layout: Layout
    pick: NDArray[np.intp] | None  # indices into the batch's labels; None means all


@dataclass(frozen=True, slots=True)
class Resolved:
    parts: tuple[Part, ...]
    ids: tuple[int, ...]  # of each of the batch's labels; -1 where refused
    refused: tuple[Labels, ...]  # new series over the limit


class SeriesTable:
    """
    Used by the writing thread; readers only call `labels_of` and `owner_of`, under the store's lock.

    A series belongs to the target that sent it first and stays there, even if another target sends it later: then an
    answer has it in one block only.
    """

    def __init__(self, catalog: Catalog, *, limit: int) -> None:
        self._catalog = catalog
        self._limit = limit
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

    def items(self) -> Iterable[tuple[int, Labels]]:
        return ((number, labels) for number, (_, labels) in self._series.items())

    def labels_of(self, series: int) -> Labels:
        return self._series[series][1]

    def owner_of(self, series: int) -> int:
        return self._series[series][0]

    def resolve(self, batch: SampleBatch) -> tuple[Resolved, list[tuple[int, Labels]]]:
        """
        The ids and groups of a batch's series, and which series are new (already staged in the catalog).

        Comparing with what the target sent before is quick when senders reuse their label tuples: tuples compare their
        items by identity first.
        """
        for labels, resolved in self._remembered.get(batch.target, ()):
            if labels == batch.labels:
                return resolved, []
        ids, new, refused = self._number(batch)
        resolved = Resolved(self._parts(ids), tuple(ids), tuple(refused))
        if not refused:
            recent = self._remembered.setdefault(batch.target, [])
            recent.insert(0, (batch.labels, resolved))
            del recent[REMEMBERED:]
        return resolved, new

    def _number(self, batch: SampleBatch) -> tuple[list[int], list[tuple[int, Labels]], list[Labels]]:
        ids: list[int] = []
        new: list[tuple[int, Labels]] = []
        refused: list[Labels] = []
        group: Group | None = None
        for labels in batch.labels:
            number = self._ids.get(labels)
            if number is None and len(self._ids) >= self._limit:
                refused.append(labels)
                number = -1
            elif number is None:
                group = group or self._group(batch.target)
                number = self._next_series
                self._next_series += 1
                self._ids[labels] = number
                self._series[number] = (group.number, labels)
                new.append((number, labels))
            ids.append(number)
        if new and group is not None:
            self._catalog.stage_series(group.number, new)
        return ids, new, refused

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
            del self._ids[self._series.pop(number)[1]]
        owners = {group for group, _ in self._series.values()}
        for group in [group for group in self.groups.values() if group.empty and group.number not in owners]:
            del self.groups[group.number]
            del self._by_target[group.target]
        self._remembered.clear()
        return len(gone)

    def content(self) -> CatalogContent:
        targets = {number: group.target for number, group in self.groups.items()}
        return CatalogContent(targets, self._series, self._next_group, self._next_series)
