"""Which series the label bytes of remote write stand for, remembered, as requests repeat them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from collector.errors import BadRequestError
from collector.model.labels import METRIC_NAME, Labels, text_of

# A series takes some 0.9 KB here; over the limit all are forgotten and recognised anew, at 15 µs each.
REMEMBERED_SERIES = 200_000  # the metric store's own limit
REMEMBERED_BYTES = 64 * 1024 * 1024
# Series without job and instance, such as what rules record, come from many groups, each with timestamps of its own.
# Scrapes and rule groups keep their phase, so the milliseconds of a series' first timestamp tell them apart.
PHASES = 1_000


class InvalidLabelsError(BadRequestError):
    """One series of a request cannot be stored; its other series can."""


@dataclass(frozen=True, slots=True)
class RemoteSeries:
    number: int  # for as long as the series is remembered
    labels: Labels
    target: str
    target_number: int  # likewise
    label_count: int  # as sent, with empty ones


class RemoteSeriesTable:
    """Not for use from several threads at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, RemoteSeries] = {}
        self._targets: dict[str, int] = {}
        self._bytes = 0
        self._next = 0

    def __len__(self) -> int:
        return len(self._known)

    def find(self, label_bytes: Sequence[bytes]) -> list[RemoteSeries | None]:
        """For each key what is known of it."""
        return list(map(self._known.get, label_bytes))

    def find_one(self, key: bytes, label_count: int) -> RemoteSeries | None:
        one = self._known.get(key)
        return one if one is not None and one.label_count == label_count else None

    def add(self, key: bytes, pairs: Sequence[tuple[str, str]], *, first_ms: int) -> RemoteSeries:
        """
        Remember a new series.

        Args:
            pairs: Labels in any order (senders must sort them, Prometheus does not insist); empty values count as
                absent.
            first_ms: A timestamp of the series.

        Raises:
            InvalidLabelsError: no name, an empty label name, or a label twice.
        """
        labels = checked_labels(pairs)
        values = dict(labels)
        phase = first_ms % PHASES
        target = f"remote_write|{values.get('job', '')}|{values.get('instance', '')}|{phase}"
        if len(self._known) >= REMEMBERED_SERIES or self._bytes >= REMEMBERED_BYTES:
            self._known.clear()
            self._targets.clear()
            self._bytes = 0
        # Both numbers only ever go up: a request in progress may hold series that were forgotten meanwhile.
        target_number = self._targets.setdefault(target, self._next)
        series = RemoteSeries(self._next, labels, target, target_number, len(pairs))
        self._next += 1
        self._known[key] = series
        self._bytes += len(key)
        return series


def checked_labels(pairs: Sequence[tuple[str, str]]) -> Labels:
    """
    Raises:
        InvalidLabelsError: in the words of Prometheus's receiver (storage/remote/write_handler.go).
    """
    labels = tuple(sorted((name, value) for name, value in pairs if value))
    names = [name for name, _ in labels]
    if METRIC_NAME not in names or not all(name for name, _ in pairs):
        raise InvalidLabelsError(f"invalid metric name or labels, got {text_of(labels)}")
    if len(set(names)) != len(names):
        twice = next(name for name, following in itertools.pairwise(names) if name == following)
        raise InvalidLabelsError(f"invalid labels for series, labels {text_of(labels)}, duplicated label {twice}")
    return labels
