"""
What a target's scrapes mean as samples: its series under their final labels, staleness markers, and the report
(`up` and the scrape_ series). No I/O.

Source: Prometheus scrape/scrape.go (scrapeLoop.append, report, endOfRunStaleness).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from collector.model.series import ABSENT_BITS, METRIC_NAME, STALE, Exemplar, Labels, SampleBatch, labels_of
from collector.receivers.exposition import Exposition, ExpositionParser, Series, canonical_float
from collector.receivers.scrape_discovery import Target

AHEAD_MS = 600_000  # samples further ahead of the scrape are dropped (scrape.go, maxAheadTime)
_REPORT = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)


@dataclass(frozen=True, slots=True)
class ScrapeReport:
    up: bool
    duration_s: float
    scraped: int = 0
    kept: int = 0  # without duplicates
    added: int = 0  # series that the scrape before did not have

    def values(self) -> list[float]:
        return [float(self.up), self.duration_s, float(self.scraped), float(self.kept), float(self.added)]


class ScrapeSession:
    """One target over time: keeps which series it had, so that those that vanish are marked stale."""

    def __init__(self, target: Target, *, honor_labels: bool, honor_timestamps: bool) -> None:
        self._group = target.group
        self._target_labels = dict(target.labels)
        self._honor_labels = honor_labels
        self._honor_timestamps = honor_timestamps
        self._report_labels = tuple(labels_of(self._target_labels | {METRIC_NAME: name}) for name in _REPORT)
        self._series: tuple[Labels, ...] = ()  # of the last good scrape, without those that had their own timestamps
        self._reported = False
        self._steady: tuple[Labels, ...] = ()  # _series and the report, one object for scrape after scrape
        self.last_ms = -1
        self.parser = ExpositionParser(self._named)

    def _named(self, series: Series) -> Labels:
        labels = dict(series.labels)
        if "le" in labels and series.name.endswith("_bucket"):
            labels["le"] = canonical_float(labels["le"])
        elif "quantile" in labels:
            labels["quantile"] = canonical_float(labels["quantile"])
        for name, value in self._target_labels.items():
            own = labels.get(name)
            if own and self._honor_labels:
                continue
            if own:
                labels[_free(f"exported_{name}", labels, self._target_labels)] = own
            labels[name] = value
        labels[METRIC_NAME] = series.name
        return labels_of(labels)

    def succeeded(self, exposition: Exposition, *, timestamp_ms: int, duration_s: float) -> list[SampleBatch]:
        """The batches of a good scrape; only samples with timestamps of their own are not in the first one."""
        labels, values, exemplars = exposition.labels, exposition.values, exposition.exemplars
        timed: list[tuple[Labels, float, int]] = []
        scraped = len(labels)
        if exposition.timestamps_ms and self._honor_timestamps:
            timed = [
                (labels[place], values[place], at)
                for place, at in exposition.timestamps_ms.items()
                if at <= timestamp_ms + AHEAD_MS
            ]
            keep = [place for place in range(scraped) if place not in exposition.timestamps_ms]
            labels, values, exemplars = _picked(labels, values, exemplars, keep)
        series = tuple(labels)
        vanished: Iterable[Labels] = ()
        added = 0
        if series != self._series:
            if len(set(series)) != len(series):
                first = list({each: place for place, each in reversed(list(enumerate(labels)))}.values())
                labels, values, exemplars = _picked(labels, values, exemplars, sorted(first))
                series = tuple(labels)
            old, new = set(self._series), set(series)
            vanished, added = [each for each in self._series if each not in new], len(new - old)
            self._series = series
            self._steady = ()
        report = ScrapeReport(True, duration_s, scraped, len(series) + len(timed), added)
        first_batch = self._batch(timestamp_ms, values, list(vanished), report, exemplars)
        return [first_batch, *self._timed_batches(timed)]

    def failed(self, *, timestamp_ms: int, duration_s: float, scraped: int = 0) -> SampleBatch:
        """All series end, `up` is 0."""
        vanished, self._series, self._steady = self._series, (), ()
        return self._batch(timestamp_ms, [], list(vanished), ScrapeReport(False, duration_s, scraped), [])

    def ended(self, *, timestamp_ms: int) -> SampleBatch | None:
        """The target is gone: all its series end, the report's too. None if it never had any."""
        if not self._reported:
            return None
        labels = (*self._series, *self._report_labels)
        self._series, self._steady, self._reported = (), (), False
        # Never at or before the last scrape, which would win over the marker.
        return SampleBatch(self._group, max(timestamp_ms, self.last_ms + 1), labels, np.full(len(labels), STALE))

    def _batch(
        self,
        timestamp_ms: int,
        values: list[float],
        vanished: list[Labels],
        report: ScrapeReport,
        exemplars: list[tuple[int, Exemplar]],
    ) -> SampleBatch:
        if not self._steady:
            self._steady = (*self._series, *self._report_labels)
        array = np.array([*values, *report.values()])
        array[array.view(np.uint64) == ABSENT_BITS] = np.nan  # our own mark means nothing from outside
        labels = self._steady
        if vanished:
            labels = (*labels, *vanished)
            array = np.concatenate([array, np.full(len(vanished), STALE)])
        stamped = tuple(
            (place, each if each.timestamp_ms else each._replace(timestamp_ms=timestamp_ms))
            for place, each in exemplars
        )
        self._reported = True
        self.last_ms = timestamp_ms
        return SampleBatch(self._group, timestamp_ms, labels, array, stamped)

    def _timed_batches(self, timed: list[tuple[Labels, float, int]]) -> list[SampleBatch]:
        by_time: dict[int, dict[Labels, float]] = {}
        for labels, value, timestamp_ms in timed:
            by_time.setdefault(timestamp_ms, {}).setdefault(labels, value)
        return [
            SampleBatch(self._group, at, tuple(found), np.array(list(found.values())))
            for at, found in sorted(by_time.items())
        ]


def _free(name: str, *taken: dict[str, str]) -> str:
    while any(name in labels for labels in taken):
        name = f"exported_{name}"
    return name


def _picked(
    labels: list[Labels], values: list[float], exemplars: list[tuple[int, Exemplar]], keep: list[int]
) -> tuple[list[Labels], list[float], list[tuple[int, Exemplar]]]:
    moved = {place: position for position, place in enumerate(keep)}
    return (
        [labels[place] for place in keep],
        [values[place] for place in keep],
        [(moved[place], exemplar) for place, exemplar in exemplars if place in moved],
    )
