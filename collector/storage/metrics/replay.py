"""Putting back what the log holds and no segment, at start."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from collector.model.series import is_absent
from collector.storage.metrics.intake import last_of
from collector.storage.metrics.table import SeriesTable
from collector.storage.metrics.wal import LoggedExemplar, LoggedHistograms, LoggedSamples, LogRecord


def replay(records: Iterable[LogRecord], table: SeriesTable, apply: Callable[[LogRecord], None]) -> None:
    """
    Apply the records that are not in segments; `table` has its series, groups and what they have sealed.

    Acknowledged is acknowledged: no limit is asked again. Of a seal that a crash interrupted the late samples may come
    twice; queries give the first.
    """
    newest = table.newest_ms
    for record in records:
        if isinstance(record, LoggedExemplar):
            apply(record)
            continue
        group = table.groups.get(record.layout.group if isinstance(record, LoggedSamples) else record.group)
        if group is None:
            continue
        if isinstance(record, LoggedSamples):
            if (samples := _unsealed(record, group.sealed.floats_ms)) is not None:
                apply(samples)
                last = last_of(samples.timestamps_ms, ~is_absent(samples.values))
                newest[samples.layout.ids] = np.maximum(newest[samples.layout.ids], last)
        elif (histograms := _unsealed_histograms(record, group.sealed.histograms_ms)) is not None:
            apply(histograms)
            np.maximum.at(newest, np.array(histograms.series), np.array(histograms.timestamps_ms))


def _unsealed(record: LoggedSamples, sealed_ms: int) -> LoggedSamples | None:
    if record.late or record.timestamps_ms[0] > sealed_ms:
        return record
    start = int(np.searchsorted(record.timestamps_ms, sealed_ms, side="right"))
    if start == len(record.timestamps_ms):
        return None
    return replace(record, timestamps_ms=record.timestamps_ms[start:], values=record.values[:, start:])


def _unsealed_histograms(record: LoggedHistograms, sealed_ms: int) -> LoggedHistograms | None:
    if record.late or min(record.timestamps_ms) > sealed_ms:
        return record
    left = [place for place, at in enumerate(record.timestamps_ms) if at > sealed_ms]
    if not left:
        return None
    return LoggedHistograms(
        record.group,
        tuple(record.series[place] for place in left),
        tuple(record.timestamps_ms[place] for place in left),
        tuple(record.histograms[place] for place in left),
    )
