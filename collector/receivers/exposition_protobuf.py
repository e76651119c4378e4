"""
Parsing the protobuf form of a /metrics page, the only one that tells native histograms.

Source: prometheus/model/textparse/protobufparse.go, scrape/target.go (bucketLimitAppender, maxSchemaAppender).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from collector.errors import BadRequestError, CollectorError, LimitExceededError
from collector.model.histogram import MAX_SCHEMA, MIN_SCHEMA, NativeHistogram, validate
from collector.model.metric_family import GAUGE_HISTOGRAM, HISTOGRAM, TYPES, metric_family
from collector.model.series import ABSENT, Exemplar, Labels, MetricMetadata, labels_of
from collector.receivers.exposition import SPARE, Exposition
from collector.receivers.exposition_line import ExpositionError, Series, canonical_float
from collector.receivers.histogram_spans import counts_of, index_of
from collector.receivers.native_options import NativeOptions
from collector.receivers.otlp_metrics_native import coarsened

_MAX_VARINT = 10  # bytes of 64 bits


class _Sample(NamedTuple):
    suffix: str  # of the family's name
    extra: tuple[str, float] | None  # le or quantile
    value: float
    exemplar: Any = None  # a message, or none
    histogram: NativeHistogram | None = None


_Key = tuple[str, tuple[tuple[str, str], ...], tuple[str, float] | None]


class ProtobufParser:
    """One for each target. `name_series` as of an ExpositionParser."""

    def __init__(self, name_series: Callable[[Series], Labels | None], native: NativeOptions) -> None:
        self._name_series = name_series
        self._native = native
        self._known: dict[_Key, Labels] = {}  # no labels if it is dropped
        self._families: dict[str, MetricMetadata] = {}
        self._last_exemplars: dict[Labels, Exemplar] = {}
        self._labels: tuple[Labels, ...] = ()
        self.progress = (0, 0)  # samples seen, and kept, by the last parse; after one that failed, until it did

    def metadata(self) -> list[MetricMetadata]:
        """Of all families that the page has named so far."""
        return list(self._families.values())

    def parse(self, body: bytes) -> Exposition:
        """
        Raises:
            ExpositionError: it is no such page; names the family where it fails.
            LimitExceededError: whatever else `name_series` raises, or a histogram has too many buckets.
        """
        self.progress = (0, 0)
        found = Exposition()
        labels: list[Labels] = []
        used: dict[_Key, Labels] = {}
        try:
            for family in _families(body):
                self._describe(family, found)
                self._family(family, found, labels, used)
        except ExpositionError:
            raise
        except CollectorError:
            found.scraped += 1
            raise
        finally:
            self.progress = (found.scraped, len(labels))
        if len(self._known) > 2 * len(used) + SPARE:
            self._known = used
            kept = set(used.values())
            self._last_exemplars = {each: one for each, one in self._last_exemplars.items() if each in kept}
        if len(labels) == len(self._labels) and all(map(_same, labels, self._labels)):
            found.labels = self._labels  # the same object, which is how the session sees that nothing has changed
        else:
            found.labels = self._labels = tuple(labels)
        return found

    def _describe(self, family: Any, found: Exposition) -> None:
        kind = TYPES[family.type] if 0 <= family.type < len(TYPES) else "unknown"
        described = MetricMetadata(family.name, kind, family.help, family.unit)
        if self._families.get(family.name) != described:
            self._families[family.name] = described
            found.metadata.append(described)

    def _family(self, family: Any, found: Exposition, labels: list[Labels], used: dict[_Key, Labels]) -> None:
        for metric in family.metric:
            pairs = tuple((pair.name, pair.value) for pair in metric.label)
            try:
                samples = list(self._samples(metric, family.type))
            except LimitExceededError:
                raise
            except CollectorError as error:
                raise ExpositionError(f"metric {family.name}: {error}") from None
            for sample in samples:
                found.scraped += 1
                key = (family.name + sample.suffix, pairs, sample.extra)
                named = used[key] = self._named(key)
                if not named:
                    continue
                place = len(labels)
                if metric.timestamp_ms:
                    found.timestamps_ms[place] = metric.timestamp_ms
                if sample.exemplar is not None:
                    self._exemplar(sample.exemplar, place, named, found)
                if sample.histogram is not None:
                    found.histograms[place] = sample.histogram
                labels.append(named)
                found.values.append(sample.value)

    def _named(self, key: _Key) -> Labels:
        known = self._known.get(key)
        if known is None:
            name, pairs, extra = key
            labels = dict(pairs)
            if len(labels) < len(pairs):
                raise ExpositionError(f"metric {name}: a label stands twice")
            if not name or not all(labels):
                raise ExpositionError(f"metric {name}: a name is empty")
            if extra is not None:
                labels[extra[0]] = canonical_float(repr(extra[1]))
            known = self._known[key] = self._name_series(Series(name, labels)) or ()
        return known

    def _exemplar(self, sent: Any, place: int, labels: Labels, found: Exposition) -> None:
        stamp_ms = sent.timestamp.seconds * 1000 + sent.timestamp.nanos // 1_000_000
        pairs = {pair.name: pair.value for pair in sent.label}
        exemplar = Exemplar(labels_of(pairs), sent.value, stamp_ms)
        if self._last_exemplars.get(labels) != exemplar:
            found.exemplars.append((place, exemplar))
            self._last_exemplars[labels] = exemplar

    def _samples(self, metric: Any, kind: int) -> Iterator[_Sample]:
        if metric.HasField("histogram"):
            yield from self._histogram(metric.histogram, gauge=kind == GAUGE_HISTOGRAM)
        elif metric.HasField("summary"):
            summary = metric.summary
            for each in summary.quantile:
                yield _Sample("", ("quantile", each.quantile), each.value)
            yield _Sample("_sum", None, summary.sample_sum)
            yield _Sample("_count", None, float(summary.sample_count))
        else:
            which = next((name for name in ("gauge", "counter", "untyped") if metric.HasField(name)), None)
            if which is None or kind == HISTOGRAM:
                raise BadRequestError("a metric without a value")
            value = getattr(metric, which)
            yield _Sample("", None, value.value, value.exemplar if value.HasField("exemplar") else None)

    def _histogram(self, sent: Any, *, gauge: bool) -> Iterator[_Sample]:
        is_native = bool(sent.positive_span or sent.negative_span or sent.zero_threshold or sent.zero_count)
        if is_native and self._native.wanted:
            histogram = self._shaped(_native(sent, gauge=gauge))
            exemplars = sorted(sent.exemplars, key=lambda one: (one.timestamp.seconds, one.timestamp.nanos))
            yield _Sample("", None, float(ABSENT), exemplars[-1] if exemplars else None, histogram)
            if not (self._native.classic_too and sent.bucket):
                return
        count = sent.sample_count_float or float(sent.sample_count)
        bound = 0.0
        for bucket in sent.bucket:
            bound = bucket.upper_bound
            held = bucket.cumulative_count_float or float(bucket.cumulative_count)
            exemplar = bucket.exemplar if bucket.HasField("exemplar") else None
            yield _Sample("_bucket", ("le", bound), held, exemplar)
        if bound != math.inf:
            yield _Sample("_bucket", ("le", math.inf), count)
        yield _Sample("_sum", None, sent.sample_sum)
        yield _Sample("_count", None, count)

    def _shaped(self, histogram: NativeHistogram) -> NativeHistogram:
        factor, limit = self._native.min_bucket_factor, self._native.bucket_limit
        if factor > 1:
            wanted = math.floor(-math.log2(math.log2(factor)))
            histogram = coarsened(histogram, min(max(wanted, MIN_SCHEMA), MAX_SCHEMA))
        while limit and len(histogram.positive) + len(histogram.negative) > limit:
            if histogram.schema <= MIN_SCHEMA:
                raise LimitExceededError(
                    f"histogram bucket limit exceeded: {len(histogram.positive) + len(histogram.negative)} buckets are"
                    f" over the native_histogram_bucket_limit of {limit} in the coarsest resolution"
                )
            histogram = coarsened(histogram, histogram.schema - 1)
        return histogram


def _same(one: Labels, other: Labels) -> bool:
    return one is other


def _native(sent: Any, *, gauge: bool) -> NativeHistogram:
    floats = sent.sample_count_float > 0 or sent.zero_count_float > 0
    positive = counts_of(sent.positive_count if floats else sent.positive_delta, floats=floats)
    negative = counts_of(sent.negative_count if floats else sent.negative_delta, floats=floats)
    histogram = NativeHistogram(
        schema=sent.schema,
        count=sent.sample_count_float if floats else float(sent.sample_count),
        sum=sent.sample_sum,
        zero_threshold=sent.zero_threshold,
        zero_count=sent.zero_count_float if floats else float(sent.zero_count),
        positive_index=index_of(sent.positive_span, len(positive), "positive"),
        positive=positive,
        negative_index=index_of(sent.negative_span, len(negative), "negative"),
        negative=negative,
        gauge=gauge,
    )
    validate(histogram)
    return histogram


def _families(body: bytes) -> Iterator[Any]:
    """Messages, each behind its length (encoding=delimited)."""
    family, at = metric_family(), 0
    while at < len(body):
        length, at = _varint(body, at)
        if at + length > len(body):
            raise ExpositionError(f"the page is cut off: {length} bytes are to follow at byte {at} of {len(body)}")
        try:
            yield family.FromString(body[at : at + length])
        except DecodeError as error:
            raise ExpositionError(f"no metric family at byte {at}: {error}") from None
        at += length


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(body[at : at + _MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ExpositionError(f"no length of a metric family at byte {at}")
