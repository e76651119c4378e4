"""Deciding which samples of a table are taken, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.model.labels import Labels, text_of
from collector.model.series import ABSENT_BITS, RefusalReason, SampleTable
from collector.storage.metrics.exemplars import ExemplarRings
from collector.storage.metrics.table import Part, Resolved, SeriesTable
from collector.storage.metrics.tally import Tally
from collector.storage.metrics.wal import LoggedExemplar, LoggedHistograms, LoggedSamples, LogRecord


@dataclass(frozen=True, slots=True)
class TimeRules:
    """Unix milliseconds. Which timestamps are taken."""

    oldest_ms: int  # the retention's end
    newest_ms: int  # how far ahead of our clock a sender's may be
    window_ms: int  # how much older than its series' newest sample one may be


class Intake:
    """Used by the committing thread. What `admit` takes counts as the newest of its series until `undo`."""

    def __init__(self, table: SeriesTable, exemplars: ExemplarRings) -> None:
        self._table = table
        self._exemplars = exemplars
        self._advanced: list[tuple[NDArray[np.uint32], NDArray[np.int64]]] = []
        self.new_series: list[tuple[int, Labels]] = []  # since the caller took them

    def admit(self, table: SampleTable, rules: TimeRules, tally: Tally) -> list[LogRecord]:
        """The log records of what is taken, in order; what is refused is counted in `tally`."""
        resolved, new = self._table.resolve(table.target, table.labels)
        self.new_series.extend(new)
        if resolved.refused is not None:
            tally.refuse(RefusalReason.SERIES_LIMIT, resolved.refused.count, resolved.refused.example)
        cut = self._within(table, rules, tally)
        records: list[LogRecord] = []
        histograms = _by_group(table, resolved, cut) if table.histograms else {}
        for part in resolved.parts:
            values = table.values if part.pick is None else table.values[part.pick]
            records.extend(self._samples(part, table.timestamps_ms[cut], values[:, cut], rules, tally))
            if part.layout.group in histograms:
                records.extend(self._histograms(part.layout.group, histograms[part.layout.group], table, rules, tally))
        for place, exemplar in table.exemplars:
            number = resolved.ids[place]
            if number >= 0 and self._exemplars.is_new(number, exemplar):
                records.append(LoggedExemplar(number, exemplar))
        return records

    def keep(self) -> None:
        """What was admitted is written."""
        self._advanced.clear()

    def undo(self) -> None:
        """What was admitted since the last `keep` could not be written."""
        for ids, before in reversed(self._advanced):
            self._table.newest_ms[ids] = before
        self._advanced.clear()

    def _within(self, table: SampleTable, rules: TimeRules, tally: Tally) -> slice:
        """The columns whose timestamps are neither beyond the retention nor too far ahead."""
        timestamps = table.timestamps_ms
        if not len(timestamps) or (timestamps[0] >= rules.oldest_ms and timestamps[-1] <= rules.newest_ms):
            return slice(0, len(timestamps))
        low = int(np.searchsorted(timestamps, rules.oldest_ms))
        high = max(low, int(np.searchsorted(timestamps, rules.newest_ms, side="right")))
        for reason, outside, limit in (
            (RefusalReason.TOO_OLD, slice(0, low), f"the retention ends at {rules.oldest_ms}"),
            (RefusalReason.TOO_FAR_AHEAD, slice(high, len(timestamps)), f"the limit is now {rules.newest_ms}"),
        ):
            count = int(np.count_nonzero(table.values[:, outside].view(np.uint64) != ABSENT_BITS))
            count += sum(1 for _, column, _ in table.histograms if outside.start <= column < outside.stop)
            if count:
                example = f"{text_of(table.labels[0])} at {int(timestamps[outside][0])} ms, {limit}"
                tally.refuse(reason, count, f"{reason.value}: {example}")
        return slice(low, high)

    def _samples(
        self, part: Part, timestamps: NDArray[np.int64], values: NDArray[np.float64], rules: TimeRules, tally: Tally
    ) -> Iterator[LoggedSamples]:
        if not len(timestamps):
            return
        present = values.view(np.uint64) != ABSENT_BITS
        newest = self._table.newest_ms[part.layout.ids]
        oldest = newest - rules.window_ms
        if timestamps[0] < oldest.max():
            disordered = present & (timestamps < oldest[:, np.newaxis])
            if disordered.any():
                self._refuse_disordered(part, disordered, timestamps, newest, rules, tally)
                values = np.where(disordered, np.uint64(ABSENT_BITS), values.view(np.uint64)).view(np.float64)
                present &= ~disordered
        if not present.any():
            return
        self._advance(part.layout.ids, newest, last_of(timestamps, present))
        sealed_ms = self._table.groups[part.layout.group].sealed.floats_ms
        if timestamps[0] > sealed_ms:
            yield LoggedSamples(part.layout, timestamps, values)
            return
        late = int(np.searchsorted(timestamps, sealed_ms, side="right"))
        if late:
            yield LoggedSamples(part.layout, timestamps[:late], values[:, :late], late=True)
        if late < len(timestamps):
            yield LoggedSamples(part.layout, timestamps[late:], values[:, late:])

    def _refuse_disordered(
        self,
        part: Part,
        disordered: NDArray[np.bool_],
        timestamps: NDArray[np.int64],
        newest: NDArray[np.int64],
        rules: TimeRules,
        tally: Tally,
    ) -> None:
        row, column = divmod(int(np.argmax(disordered)), len(timestamps))
        example = self._disorder(int(part.layout.ids[row]), int(timestamps[column]), int(newest[row]), rules)
        tally.refuse(RefusalReason.OUT_OF_ORDER, int(np.count_nonzero(disordered)), example)

    def _disorder(self, series: int, timestamp_ms: int, newest_ms: int, rules: TimeRules) -> str:
        labels = text_of(self._table.labels_of(series))
        return (
            f"{RefusalReason.OUT_OF_ORDER.value}: {labels} at {timestamp_ms} ms is {newest_ms - timestamp_ms} ms older "
            f"than the newest, the window is {rules.window_ms} ms"
        )

    def _advance(self, ids: NDArray[np.uint32], before: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        self._advanced.append((ids, before))
        self._table.newest_ms[ids] = np.maximum(before, last)

    def _histograms(
        self, group: int, places: list[tuple[int, int]], table: SampleTable, rules: TimeRules, tally: Tally
    ) -> Iterator[LoggedHistograms]:
        """places: (series id, index into the table's histograms)."""
        sealed_ms = self._table.groups[group].sealed.histograms_ms
        taken: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
        for series, place in sorted(places, key=lambda each: table.histograms[each[1]][1]):
            timestamp_ms = int(table.timestamps_ms[table.histograms[place][1]])
            newest = self._table.newest_ms[[series]]
            if timestamp_ms < newest[0] - rules.window_ms:
                example = self._disorder(series, timestamp_ms, int(newest[0]), rules)
                tally.refuse(RefusalReason.OUT_OF_ORDER, 1, example)
                continue
            self._advance(np.array([series], np.uint32), newest, np.array([timestamp_ms], np.int64))
            taken[timestamp_ms <= sealed_ms].append((series, timestamp_ms, place))
        for late, entries in taken.items():
            if entries:
                series_ids, timestamps, chosen = zip(*entries, strict=True)
                histograms = tuple(table.histograms[place][2] for place in chosen)
                yield LoggedHistograms(group, series_ids, timestamps, histograms, late)


def _by_group(table: SampleTable, resolved: Resolved, cut: slice) -> dict[int, list[tuple[int, int]]]:
    owners = {number: part.layout.group for part in resolved.parts for number in part.layout.ids.tolist()}
    found: dict[int, list[tuple[int, int]]] = {}
    for place, (row, column, _) in enumerate(table.histograms):
        number = resolved.ids[row]
        if number >= 0 and cut.start <= column < cut.stop:
            found.setdefault(owners[number], []).append((number, place))
    return found


def last_of(timestamps: NDArray[np.int64], present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each series, its last timestamp in the table; 0 if it has none."""
    if present[:, -1].all():
        return np.broadcast_to(timestamps[-1], len(present))
    at = len(timestamps) - 1 - np.argmax(present[:, ::-1], axis=1)
    return np.where(present.any(axis=1), timestamps[at], 0)
