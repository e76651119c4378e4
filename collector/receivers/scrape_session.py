"""
What a target's scrapes mean as samples: its series under their final labels, staleness markers, and the report
(`up` and the scrape_ series). No I/O.

Source: Prometheus scrape/scrape.go (scrapeLoop.append, mutateSampleLabels, verifyLabelLimits, report).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from collector.errors import BadRequestError, LimitExceededError
from collector.model.series import (
    ABSENT,
    ABSENT_BITS,
    METRIC_NAME,
    STALE,
    Exemplar,
    Labels,
    NativeHistogram,
    SampleBatch,
    labels_of,
)
from collector.receivers.exposition import Exposition, ExpositionParser
from collector.receivers.exposition_line import Series, canonical_float
from collector.receivers.exposition_protobuf import ProtobufParser
from collector.receivers.relabel import relabelled
from collector.receivers.scrape_config import ScrapeConfig
from collector.receivers.scrape_target import Target

AHEAD_MS = 600_000  # samples further ahead of the scrape are left out (scrape.go, maxAheadTime)
SHOWN = 50  # characters of a name in a message, as Prometheus shows
_OLD_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_OLD_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_REPORT = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
_EXTRA_REPORT = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")


@dataclass(frozen=True, slots=True)
class ScrapeReport:
    up: bool
    duration_s: float
    scraped: int = 0
    kept: int = 0  # by metric relabelling; duplicates are counted, as in Prometheus
    added: int = 0  # series that the scrape before did not have
    body_bytes: int = 0  # -1: over the limit

    def values(self) -> list[float]:
        return [float(self.up), self.duration_s, float(self.scraped), float(self.kept), float(self.added)]


@dataclass(frozen=True, slots=True)
class Scraped:
    """What a scrape brings. Only samples with timestamps of their own are not in the first batch."""

    batches: list[SampleBatch]
    left_out: str = ""  # which samples of a page that is otherwise good were not taken, and why


class _Timed(NamedTuple):
    """A sample with a timestamp of its own."""

    labels: Labels
    value: float
    at_ms: int
    histogram: NativeHistogram | None


class _Page(NamedTuple):
    """What is to be stored of a page. Places are indices into the labels."""

    labels: tuple[Labels, ...]
    values: list[float]
    exemplars: list[tuple[int, Exemplar]]
    histograms: Mapping[int, NativeHistogram]

    def picked(self, keep: list[int]) -> _Page:
        moved = {place: position for position, place in enumerate(keep)}
        return _Page(
            tuple(self.labels[place] for place in keep),
            [self.values[place] for place in keep],
            [(moved[place], exemplar) for place, exemplar in self.exemplars if place in moved],
            {moved[place]: histogram for place, histogram in self.histograms.items() if place in moved},
        )


_EMPTY = _Page((), [], [], {})


class ScrapeSession:
    """One target over time: keeps which series it had, so that those that vanish are marked stale."""

    def __init__(self, config: ScrapeConfig, target: Target) -> None:
        self._config = config
        self._group = target.group
        self._target_labels = dict(target.labels)
        names = (*_REPORT, *_EXTRA_REPORT) if config.extra_scrape_metrics else _REPORT
        self._report_labels = tuple(labels_of(self._target_labels | {METRIC_NAME: name}) for name in names)
        self._extra = [target.timeout_s, float(config.sample_limit)] if config.extra_scrape_metrics else None
        self._series: tuple[Labels, ...] = ()  # of the last good scrape, without those that had their own timestamps
        self._timed: frozenset[Labels] = frozenset()  # these, which only track_timestamps_staleness ends
        self._reported = False
        self._steady: tuple[Labels, ...] = ()  # _series and the report, one object for scrape after scrape
        self.last_ms = -1
        self.parser = ExpositionParser(self._named)
        self.protobuf = ProtobufParser(self._named, config.native_histograms)
        self.parsing: ExpositionParser | ProtobufParser = self.parser  # the one that the last page was for

    def follow(self, before: ScrapeSession) -> None:
        """Take over from the same target under another configuration: series that vanish with it must end."""
        self._series, self._timed, self._reported = before._series, before._timed, before._reported
        self.last_ms = before.last_ms

    def _named(self, series: Series) -> Labels | None:
        labels: dict[str, str] | None = dict(series.labels)
        assert labels is not None  # noqa: S101  (for the type checker)
        if "le" in labels and series.name.endswith("_bucket"):
            labels["le"] = canonical_float(labels["le"])
        elif "quantile" in labels:
            labels["quantile"] = canonical_float(labels["quantile"])
        for name, value in self._target_labels.items():
            own = labels.get(name)
            if own and self._config.honor_labels:
                continue
            if own:
                labels[_free(f"exported_{name}", labels, self._target_labels)] = own
            labels[name] = value
        labels[METRIC_NAME] = series.name
        if self._config.metric_relabel_configs:
            labels = relabelled(labels, self._config.metric_relabel_configs)
            if labels is None:
                return None
        self._check(labels)
        return labels_of(labels)

    def _check(self, labels: Mapping[str, str]) -> None:
        """
        Raises:
            BadRequestError: there is no name, or one that the job's validation scheme does not allow.
            LimitExceededError: over one of the job's limits on labels. Either fails the scrape.
        """
        config = self._config
        metric = labels.get(METRIC_NAME, "")
        if not metric:
            raise BadRequestError(f"metric name is gone after relabelling: {dict(labels)}"[:200])
        if config.metric_name_validation_scheme == "legacy":
            _check_old_names(metric, labels)
        if config.label_limit and len(labels) > config.label_limit:
            raise LimitExceededError(
                f"label_limit exceeded (metric: {metric[:SHOWN]}, number of labels: {len(labels)}, "
                f"limit: {config.label_limit})"
            )
        if not config.label_name_length_limit and not config.label_value_length_limit:
            return
        for name, value in labels.items():
            for what, text, limit in (
                ("name", name, config.label_name_length_limit),
                ("value", value, config.label_value_length_limit),
            ):
                if limit and len(text.encode()) > limit:
                    raise LimitExceededError(
                        f"label_{what}_length_limit exceeded (metric: {metric[:SHOWN]}, label name: {name[:SHOWN]}, "
                        f"length: {len(text.encode())}, limit: {limit})"
                    )

    def succeeded(
        self, exposition: Exposition, *, timestamp_ms: int, duration_s: float, body_bytes: int = 0
    ) -> Scraped:
        page = _Page(exposition.labels, exposition.values, exposition.exemplars, exposition.histograms)
        timed: list[_Timed] = []
        kept = len(page.labels)
        ahead = duplicates = 0
        if exposition.timestamps_ms and self._config.honor_timestamps:
            timed = [
                _Timed(page.labels[place], page.values[place], at, page.histograms.get(place))
                for place, at in exposition.timestamps_ms.items()
                if at <= timestamp_ms + AHEAD_MS
            ]
            ahead = len(exposition.timestamps_ms) - len(timed)
            page = page.picked([place for place in range(kept) if place not in exposition.timestamps_ms])
        vanished: Iterable[Labels] = ()
        added = 0
        labels = page.labels
        if labels is not self._series and labels != self._series:
            own = set(self._report_labels)  # a page may serve `up`, too; two samples of one series there cannot be
            if len(set(labels)) != len(labels) or not own.isdisjoint(labels):
                first = {each: place for place, each in reversed(list(enumerate(labels))) if each not in own}
                duplicates = len(labels) - len(first)
                page = page.picked(sorted(first.values()))
                labels = page.labels
            old, new = set(self._series), set(labels)
            if self._config.track_timestamps_staleness:  # a series whose own time comes and goes does not vanish
                new |= {each.labels for each in timed}
            vanished, added = [each for each in self._series if each not in new], len(new - old)
            self._steady = ()
        self._series = labels
        now_timed = frozenset(each.labels for each in timed)
        added += len(now_timed - self._timed)
        vanished = [*vanished, *self._no_longer_timed(now_timed)]
        self._timed = now_timed
        report = ScrapeReport(True, duration_s, exposition.scraped, kept, added, body_bytes)
        first_batch = self._batch(timestamp_ms, page, vanished, report)
        return Scraped([first_batch, *self._timed_batches(timed)], _left_out(duplicates, ahead))

    def _no_longer_timed(self, now: frozenset[Labels]) -> list[Labels]:
        return sorted(self._timed - now - set(self._series)) if self._config.track_timestamps_staleness else []

    def failed(self, report: ScrapeReport, *, timestamp_ms: int) -> SampleBatch:
        """All series end, `up` is 0."""
        vanished = [*self._series, *self._no_longer_timed(frozenset())]
        self._series, self._timed, self._steady = (), frozenset(), ()
        return self._batch(timestamp_ms, _EMPTY, vanished, report)

    def ended(self, *, timestamp_ms: int) -> SampleBatch | None:
        """The target is gone: all its series end, the report's too. None if it never had any."""
        if not self._reported:
            return None
        labels = (*self._series, *self._no_longer_timed(frozenset()), *self._report_labels)
        self._series, self._timed, self._steady, self._reported = (), frozenset(), (), False
        # Never at or before the last scrape, which would win over the marker.
        return SampleBatch(self._group, max(timestamp_ms, self.last_ms + 1), labels, np.full(len(labels), STALE))

    def _batch(
        self,
        timestamp_ms: int,
        page: _Page,
        vanished: list[Labels],
        report: ScrapeReport,
    ) -> SampleBatch:
        if not self._steady:
            self._steady = (*self._series, *self._report_labels)
        extra = [] if self._extra is None else [*self._extra, float(report.body_bytes)]
        array = np.array([*page.values, *report.values(), *extra])
        array[array.view(np.uint64) == ABSENT_BITS] = np.nan  # our own mark means nothing from outside
        array[list(page.histograms)] = ABSENT
        labels = self._steady
        if vanished:
            labels = (*labels, *vanished)
            array = np.concatenate([array, np.full(len(vanished), STALE)])
        stamped = tuple(
            (place, each if each.timestamp_ms else each._replace(timestamp_ms=timestamp_ms))
            for place, each in page.exemplars
        )
        self._reported = True
        self.last_ms = timestamp_ms
        return SampleBatch(self._group, timestamp_ms, labels, array, stamped, tuple(page.histograms.items()))

    def _timed_batches(self, timed: list[_Timed]) -> list[SampleBatch]:
        by_time: dict[int, dict[Labels, _Timed]] = {}
        for each in timed:
            by_time.setdefault(each.at_ms, {}).setdefault(each.labels, each)
        return [self._timed_batch(at_ms, list(found.values())) for at_ms, found in sorted(by_time.items())]

    def _timed_batch(self, at_ms: int, found: list[_Timed]) -> SampleBatch:
        histograms = tuple((place, each.histogram) for place, each in enumerate(found) if each.histogram is not None)
        values = np.array([each.value for each in found])
        return SampleBatch(self._group, at_ms, tuple(each.labels for each in found), values, histograms=histograms)


def _check_old_names(metric: str, labels: Mapping[str, str]) -> None:
    if not _OLD_METRIC_NAME.fullmatch(metric):
        raise BadRequestError(f"invalid metric name {metric[:SHOWN]!r} under metric_name_validation_scheme legacy")
    for name in labels:
        if not _OLD_LABEL_NAME.fullmatch(name):
            raise BadRequestError(f"invalid label name {name[:SHOWN]!r} under metric_name_validation_scheme legacy")


def _left_out(duplicates: int, ahead: int) -> str:
    told = []
    if duplicates:
        told.append(f"{duplicates} samples of series that are on the page before, or are the report's")
    if ahead:
        told.append(f"{ahead} samples more than {AHEAD_MS // 60_000} minutes ahead of the scrape")
    return f"left out: {' and '.join(told)}" if told else ""


def _free(name: str, *taken: dict[str, str]) -> str:
    while any(name in labels for labels in taken):
        name = f"exported_{name}"
    return name
