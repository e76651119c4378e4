"""
Deltas added up to cumulative values. No I/O.

As the OpenTelemetry Collector's deltatocumulative processor: a stream starts at its first point; a point that is not
newer than the last one, or that starts before its stream did, is refused. Unlike there, when there are too many streams
it is the one that was silent for longest that is forgotten, and starts anew (a counter reset), rather than the newest
that is refused.

Source: opentelemetry-collector-contrib, processor/deltatocumulativeprocessor.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from collector.model.histogram import NativeHistogram
from collector.model.series import Labels
from collector.receivers.otlp_metrics_native import added, taken_away

STREAM_LIMIT = 200_000  # as many as the store has series

Total = tuple[float, ...] | NativeHistogram


@dataclass(frozen=True, slots=True)
class _Stream:
    start_nano: int
    last_nano: int
    total: Total


@dataclass(frozen=True, slots=True)
class Addition:
    """What was added, to be taken back if it could not be stored."""

    series: Labels
    delta: Total
    last_nano: int
    before_nano: int  # the stream's last point before; -1: there was no stream


class DeltaStreams:
    """Keyed by the first of the series that a stream's points feed."""

    def __init__(self, limit: int = STREAM_LIMIT) -> None:
        self._limit = limit
        self._streams: OrderedDict[Labels, _Stream] = OrderedDict()

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, series: Labels, delta: Total, *, start_nano: int, at_nano: int) -> tuple[Total, Addition]:
        """
        The stream's total with this point.

        Raises:
            ValueError: the point is out of order, or starts before its stream.
        """
        stream = self._streams.get(series)
        if stream is None or not _alike(stream.total, delta):
            before = -1 if stream is None else stream.last_nano
            return self._put(series, delta, start_nano, at_nano, delta, before)
        if start_nano and start_nano < stream.start_nano:
            raise ValueError(f"delta starts {_ms(stream.start_nano - start_nano)} ms before its stream does")
        if at_nano <= stream.last_nano:
            raise ValueError(f"delta is {_ms(stream.last_nano - at_nano)} ms behind the last of its stream")
        total = _sum(stream.total, delta)
        return self._put(series, total, stream.start_nano or start_nano, at_nano, delta, stream.last_nano)

    def _put(
        self, series: Labels, total: Total, start_nano: int, at_nano: int, delta: Total, before_nano: int
    ) -> tuple[Total, Addition]:
        self._streams[series] = _Stream(start_nano, at_nano, total)
        self._streams.move_to_end(series)
        if len(self._streams) > self._limit:
            self._streams.popitem(last=False)
        return total, Addition(series, delta, at_nano, before_nano)

    def take_back(self, addition: Addition) -> None:
        """The point was not stored: its sender will send it again. Points that came meanwhile stay."""
        stream = self._streams.get(addition.series)
        if stream is None or not _alike(stream.total, addition.delta):
            return
        if addition.before_nano < 0 and stream.last_nano == addition.last_nano:
            del self._streams[addition.series]
            return
        last = addition.before_nano if stream.last_nano == addition.last_nano else stream.last_nano
        self._streams[addition.series] = _Stream(
            stream.start_nano, max(last, 0), _difference(stream.total, addition.delta)
        )


def _alike(total: Total, delta: Total) -> bool:
    """Whether they can be added: the same buckets of an explicit histogram, or both exponential."""
    if isinstance(total, NativeHistogram) or isinstance(delta, NativeHistogram):
        return isinstance(total, NativeHistogram) and isinstance(delta, NativeHistogram)
    return len(total) == len(delta)


def _sum(total: Total, delta: Total) -> Total:
    if isinstance(total, NativeHistogram) and isinstance(delta, NativeHistogram):
        return added(total, delta)
    assert isinstance(total, tuple) and isinstance(delta, tuple)  # noqa: S101, PT018  (see _alike)
    return tuple(one + other for one, other in zip(total, delta, strict=True))


def _difference(total: Total, delta: Total) -> Total:
    if isinstance(total, NativeHistogram) and isinstance(delta, NativeHistogram):
        return taken_away(total, delta)
    assert isinstance(total, tuple) and isinstance(delta, tuple)  # noqa: S101, PT018  (see _alike)
    return tuple(one - other for one, other in zip(total, delta, strict=True))


def _ms(nano: int) -> int:
    return nano // 1_000_000
