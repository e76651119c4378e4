"""The last span of each bucket of each series, by which a point on a chart leads to a trace."""

from __future__ import annotations

import numpy as np

from collector.model.ids import SpanId, span_id_hex, trace_id_hex, trace_id_of
from collector.model.series import Exemplar
from collector.pipeline.connectors.columns import SpanColumns
from collector.pipeline.connectors.histograms import Cells
from collector.pipeline.connectors.texts import Places

_SPAN = np.dtype([("hi", "u8"), ("lo", "u8"), ("span", "u8"), ("duration", "i8"), ("at_ms", "i8")])
_NONE = 0  # `at_ms` where there is no span


class Exemplars:
    def __init__(self, buckets: int) -> None:
        self._spans = np.zeros((0, buckets), _SPAN)

    def put(self, spans: SpanColumns, cells: Cells, series: int) -> None:
        """
        Args:
            series: How many there are.
        """
        if len(self._spans) < series:
            longer = np.zeros((2 * series, self._spans.shape[1]), _SPAN)
            longer[: len(self._spans)] = self._spans
            self._spans = longer
        rows = cells.row
        new = np.empty(len(cells), _SPAN)
        new["hi"], new["lo"], new["span"] = spans.trace_hi[rows], spans.trace_lo[rows], spans.span_id[rows]
        new["duration"], new["at_ms"] = spans.duration_nano[rows], spans.received_ms
        self._spans[cells.series, cells.bucket] = new

    def take(self, most: int, unit_nano: int) -> list[tuple[int, int, Exemplar]]:
        """
        Series, bucket and exemplar of those that came since the last time, at most `most` of a series: of its slowest
        buckets, whose spans one looks for. By time, as a series of exemplars must be.
        """
        there = self._spans["at_ms"] != _NONE
        among = there & (there[:, ::-1].cumsum(axis=1)[:, ::-1] <= most)
        series, buckets = np.nonzero(among)
        found = self._spans[among]
        order = np.argsort(found["at_ms"], kind="stable")
        self._spans["at_ms"] = _NONE
        return [
            (number, bucket, Exemplar(_labels(high, low, span), duration / unit_nano, at_ms))
            for number, bucket, (high, low, span, duration, at_ms) in zip(
                series[order].tolist(), buckets[order].tolist(), found[order].tolist(), strict=True
            )
        ]

    def keep(self, series: Places) -> None:
        """Forget all others; the first of `series` is number 0 from now on."""
        self._spans = self._spans[series[series < len(self._spans)]] if len(self._spans) else self._spans


def _labels(high: int, low: int, span_id: int) -> tuple[tuple[str, str], ...]:
    return ("span_id", span_id_hex(SpanId(span_id))), ("trace_id", trace_id_hex(trace_id_of(high, low)))
