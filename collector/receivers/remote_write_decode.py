"""From the bytes of a write request to tables for the metric store, with what of it is refused and why."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collector.errors import BadRequestError
from collector.model.histogram import STALE_HISTOGRAM, NativeHistogram, validate
from collector.model.labels import labels_of
from collector.model.markers import STALE_BITS
from collector.model.series import Exemplar, MetricMetadata, RefusalReason, SampleTable
from collector.receivers.histogram_spans import counts_of, index_of
from collector.receivers.remote_write_series import RemoteSeries, RemoteSeriesTable
from collector.receivers.remote_write_tables import Samples, TableBuilder
from collector.receivers.remote_write_wire import METADATA_TYPES, WriteColumns, decode, parsed

MAX_LABELS = 1_000  # of a series; the most that are known of in practice are some 60
MAX_REASON = 500  # characters: it names labels, which a sender may make as long as it likes
MAX_REASONS = 100  # kept of one request: thousands of bad series would make an answer that nobody reads
_GAUGE_HINT = 3  # Histogram.ResetHint.GAUGE


@dataclass(slots=True)
class DecodedWrite:
    tables: list[SampleTable] = field(default_factory=list)
    metadata: list[MetricMetadata] = field(default_factory=list)
    samples: int = 0  # that the tables hold
    invalid: int = 0  # samples of series whose labels cannot be stored, and histograms that are wrong
    reasons: Counter[str] = field(default_factory=Counter)  # why samples are refused, each with how many

    def refuse(self, reason: object, count: int) -> None:
        self.invalid += count
        text = str(reason)
        text = text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"
        if text in self.reasons or len(self.reasons) < MAX_REASONS:
            self.reasons[text] += count


class WriteDecoder:
    """May be used from several threads; they take turns where series are looked up."""

    def __init__(self) -> None:
        self._series = RemoteSeriesTable()
        self._builder = TableBuilder()
        self._lock = threading.Lock()

    def decode(self, request: bytes) -> DecodedWrite:
        """
        Decode a decompressed WriteRequest.

        Raises:
            BadRequestError: not one at all; a series that is wrong is only left out and named in `reasons`.
        """
        columns = decode(request)
        decoded = DecodedWrite(metadata=[_metadata(message) for message in columns.metadata])
        with self._lock:
            found = self._resolve(columns, decoded)
            samples = _samples(columns, found, decoded)
            decoded.tables, conflicts = self._builder.tables(samples)
        decoded.samples = len(samples.values) + len(samples.histograms) - conflicts
        if conflicts:
            decoded.refuse(RefusalReason.DUPLICATE.value, conflicts)
        return decoded

    def _resolve(self, columns: WriteColumns, decoded: DecodedWrite) -> list[RemoteSeries | None]:
        found = self._series.find(columns.label_bytes)
        ends = np.cumsum(columns.sample_counts)
        counts = columns.label_counts.tolist()
        for place, (one, count) in enumerate(zip(found, counts, strict=True)):
            if one is not None and one.label_count == count:
                continue
            key = columns.label_bytes[place]
            found[place] = self._series.find_one(key, count)  # it may stand in the request twice
            if found[place] is not None:
                continue
            number = int(columns.sample_counts[place])
            if count > MAX_LABELS:
                decoded.refuse(f"a series has {count} labels, more than {MAX_LABELS}", max(1, number))
                continue
            first_ms = int(columns.timestamps_ms[ends[place] - number]) if number else 0
            try:
                pairs = columns.labels(place)
                found[place] = self._series.add(key, pairs, first_ms=first_ms)
            except BadRequestError as error:
                found[place] = None
                decoded.refuse(error, max(1, number))
        return found


def _samples(columns: WriteColumns, found: list[RemoteSeries | None], decoded: DecodedWrite) -> Samples:
    owners = np.repeat(np.arange(len(found)), columns.sample_counts)
    timestamps, values = columns.timestamps_ms, columns.values
    places = np.arange(len(found))
    if None in found:
        valid = np.array([one is not None for one in found], np.bool_)
        kept = valid[owners]
        places = np.cumsum(valid) - 1
        owners, timestamps, values = places[owners[kept]], timestamps[kept], values[kept]
    samples = Samples([one for one in found if one is not None], owners, timestamps, values)
    for place, message in columns.histograms:
        if found[place] is not None:
            sent = parsed("Histogram", message)
            try:
                samples.histograms.append((int(places[place]), int(sent.timestamp), histogram_of(sent)))
            except BadRequestError as error:
                decoded.refuse(error, 1)
    for place, message in columns.exemplars:
        if found[place] is not None:
            one = parsed("Exemplar", message)
            labels = labels_of({label.name: label.value for label in one.labels})
            samples.exemplars.append((int(places[place]), Exemplar(labels, one.value, one.timestamp)))
    return samples


def _metadata(message: bytes) -> MetricMetadata:
    sent = parsed("MetricMetadata", message)
    kind = METADATA_TYPES[sent.type] if 0 <= sent.type < len(METADATA_TYPES) else METADATA_TYPES[0]
    return MetricMetadata(sent.metric_family_name, kind, sent.help, sent.unit)


def histogram_of(sent: Any) -> NativeHistogram:
    """
    A Histogram message, of integers or floats, as we keep it.

    Raises:
        BadRequestError: it contradicts itself, or its schema is none that is stored.

    Source: prometheus/prompb/codec.go, ToIntHistogram and ToFloatHistogram.
    """
    if np.float64(sent.sum).view(np.uint64) == STALE_BITS:
        return STALE_HISTOGRAM
    floats = sent.WhichOneof("count") == "count_float"
    positive = counts_of(sent.positive_counts if floats else sent.positive_deltas, floats=floats)
    negative = counts_of(sent.negative_counts if floats else sent.negative_deltas, floats=floats)
    histogram = NativeHistogram(
        schema=sent.schema,
        count=float(sent.count_float if floats else sent.count_int),
        sum=sent.sum,
        zero_threshold=sent.zero_threshold,
        zero_count=float(sent.zero_count_float if floats else sent.zero_count_int),
        positive_index=index_of(sent.positive_spans, len(positive), "positive"),
        positive=positive,
        negative_index=index_of(sent.negative_spans, len(negative), "negative"),
        negative=negative,
        gauge=sent.reset_hint == _GAUGE_HINT,
    )
    validate(histogram)
    return histogram
