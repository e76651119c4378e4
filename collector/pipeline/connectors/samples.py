"""What is counted, as the series that Prometheus knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.model.labels import METRIC_NAME, Labels, labels_of
from collector.model.series import Exemplar, MetricMetadata
from collector.model.text import bound_text
from collector.pipeline.connectors.histograms import Histograms

_Make = Callable[[Labels], list[Labels]]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its series, and what each stands at."""

    metadata: MetricMetadata
    labels: tuple[Labels, ...]  # s of them; the same tuple as the last time, if the series are the same
    values: NDArray[np.float64]  # [s]
    exemplars: tuple[tuple[int, Exemplar], ...] = ()  # (index into labels, exemplar)


class Counters:
    """A metric with one series for each set of labels."""

    def __init__(self, metadata: MetricMetadata) -> None:
        self.metadata = metadata
        self._names = _Names()

    def family(self, labels: Sequence[Labels], values: NDArray[np.float64]) -> Family:
        name = self.metadata.name
        return Family(self.metadata, self._names.of(labels, lambda pairs: [_named(pairs, name)]), values)


class Durations:
    """A histogram: buckets in the order of their bounds, +Inf, count and sum for each set of labels, in this order."""

    def __init__(self, metadata: MetricMetadata, bounds_nano: Sequence[int], unit_nano: int) -> None:
        """
        Args:
            unit_nano: Nanoseconds of the unit that bounds and sums are told in.
        """
        self.metadata = metadata
        self._unit_nano = unit_nano
        self._bounds = [*(bound_text(bound / unit_nano) for bound in bounds_nano), "+Inf"]
        self._names = _Names()

    def family(
        self, labels: Sequence[Labels], histograms: Histograms, exemplars: Sequence[tuple[int, int, Exemplar]] = ()
    ) -> Family:
        """
        Args:
            exemplars: With the series and the bucket that each is of.
        """
        width = len(self._bounds) + 2
        cumulative = histograms.counts.cumsum(axis=1).astype(np.float64)
        values = np.column_stack([cumulative, cumulative[:, -1:], histograms.sums_nano[:, None] / self._unit_nano])
        return Family(
            self.metadata,
            self._names.of(labels, self._series),
            np.ascontiguousarray(values).ravel(),
            tuple((series * width + bucket, exemplar) for series, bucket, exemplar in exemplars),
        )

    def _series(self, labels: Labels) -> list[Labels]:
        name = self.metadata.name
        buckets = [_named(labels, f"{name}_bucket", ("le", bound)) for bound in self._bounds]
        return [*buckets, _named(labels, f"{name}_count"), _named(labels, f"{name}_sum")]


class _Names:
    """The labels of series, made once: a store takes the same tuple again at little cost."""

    def __init__(self) -> None:
        self._of: list[Labels] = []
        self._made: tuple[Labels, ...] = ()

    def of(self, labels: Sequence[Labels], make: _Make) -> tuple[Labels, ...]:
        known = len(self._of)
        if list(labels[:known]) != self._of:
            self._of, self._made, known = [], (), 0
        if len(labels) > known:
            new = labels[known:]
            self._made += tuple(each for pairs in new for each in make(pairs))
            self._of.extend(new)
        return self._made


def _named(labels: Labels, name: str, *more: tuple[str, str]) -> Labels:
    return labels_of(dict((*labels, (METRIC_NAME, name), *more)))
