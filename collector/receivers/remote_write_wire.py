"""
Remote write 1.0 on the wire: snappy's block format around protobuf, read into Arrow columns.

ptars needs descriptors, and what it need not look into is described as `bytes`, which on the wire is the same
(protobuf.dev/programming-guides/encoding, "Length-Delimited Records"): labels, because a series' labels are known from
the last request and recognised by their bytes; exemplars, histograms and metadata, because most requests have none.

Source: prometheus/prompb/remote.proto and types.proto.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from sys import intern
from typing import Any

import cramjam
import numpy as np
import pyarrow as pa
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from numpy.typing import NDArray
from ptars import HandlerPool

from collector.errors import BadRequestError, LimitExceededError
from collector.model.protobuf_messages import Field, pool_of

# A sender's requests hold 2,000 samples by default, 500 before Prometheus 2.45; an empty series takes two bytes, and
# what looks at each takes 10 µs.
MAX_SERIES = 100_000
_PACKAGE, _FILE = "prometheus", "remote_write.proto"
_F = FieldDescriptorProto


_LABEL = (Field("name", 1, _F.TYPE_STRING), Field("value", 2, _F.TYPE_STRING))
_SAMPLE = (Field("value", 1, _F.TYPE_DOUBLE), Field("timestamp", 2, _F.TYPE_INT64))
_COLUMNS = {
    "Sample": _SAMPLE,
    "TimeSeries": (
        Field("labels", 1, _F.TYPE_BYTES, repeated=True),
        Field("samples", 2, "Sample", repeated=True),
        Field("exemplars", 3, _F.TYPE_BYTES, repeated=True),
        Field("histograms", 4, _F.TYPE_BYTES, repeated=True),
    ),
    "WriteRequest": (
        Field("timeseries", 1, "TimeSeries", repeated=True),
        Field("metadata", 3, _F.TYPE_BYTES, repeated=True),
    ),
}
_SPAN = (Field("offset", 1, _F.TYPE_SINT32), Field("length", 2, _F.TYPE_UINT32))
_MESSAGES = {
    "Label": _LABEL,
    "Sample": _SAMPLE,
    "Exemplar": (
        Field("labels", 1, "Label", repeated=True),
        Field("value", 2, _F.TYPE_DOUBLE),
        Field("timestamp", 3, _F.TYPE_INT64),
    ),
    "MetricMetadata": (
        Field("type", 1, _F.TYPE_INT32),  # an enum, see METADATA_TYPES
        Field("metric_family_name", 2, _F.TYPE_STRING),
        Field("help", 4, _F.TYPE_STRING),
        Field("unit", 5, _F.TYPE_STRING),
    ),
    "BucketSpan": _SPAN,
    "Histogram": (
        Field("count_int", 1, _F.TYPE_UINT64, oneof="count"),
        Field("count_float", 2, _F.TYPE_DOUBLE, oneof="count"),
        Field("sum", 3, _F.TYPE_DOUBLE),
        Field("schema", 4, _F.TYPE_SINT32),
        Field("zero_threshold", 5, _F.TYPE_DOUBLE),
        Field("zero_count_int", 6, _F.TYPE_UINT64, oneof="zero_count"),
        Field("zero_count_float", 7, _F.TYPE_DOUBLE, oneof="zero_count"),
        Field("negative_spans", 8, "BucketSpan", repeated=True),
        Field("negative_deltas", 9, _F.TYPE_SINT64, repeated=True),
        Field("negative_counts", 10, _F.TYPE_DOUBLE, repeated=True),
        Field("positive_spans", 11, "BucketSpan", repeated=True),
        Field("positive_deltas", 12, _F.TYPE_SINT64, repeated=True),
        Field("positive_counts", 13, _F.TYPE_DOUBLE, repeated=True),
        Field("reset_hint", 14, _F.TYPE_INT32),  # an enum: unknown, yes, no, gauge
        Field("timestamp", 15, _F.TYPE_INT64),
        Field("custom_values", 16, _F.TYPE_DOUBLE, repeated=True),
    ),
    "TimeSeries": (
        Field("labels", 1, "Label", repeated=True),
        Field("samples", 2, "Sample", repeated=True),
        Field("exemplars", 3, "Exemplar", repeated=True),
        Field("histograms", 4, "Histogram", repeated=True),
    ),
    "WriteRequest": (
        Field("timeseries", 1, "TimeSeries", repeated=True),
        Field("metadata", 3, "MetricMetadata", repeated=True),
    ),
}
# MetricMetadata.MetricType by its numbers.
METADATA_TYPES = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")


@cache
def _messages_pool() -> DescriptorPool:
    return pool_of(_PACKAGE, _FILE, _MESSAGES)


@cache
def message_class(name: str) -> Any:
    """The class of a message of remote write: Label, Exemplar, MetricMetadata, Histogram, WriteRequest, …"""
    return GetMessageClass(_messages_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@cache
def _handler() -> Any:
    pool = pool_of(_PACKAGE, _FILE, _COLUMNS)
    handlers = HandlerPool([pool.FindFileByName(_FILE)])
    return handlers.get_for_message(pool.FindMessageTypeByName(f"{_PACKAGE}.WriteRequest"))


def decompressed(body: bytes, *, max_bytes: int) -> bytes:
    """
    Raises:
        LimitExceededError: it would be larger than `max_bytes`; nothing has been allocated then.
        BadRequestError: not snappy's block format.
    """
    try:
        size = cramjam.snappy.decompress_raw_len(body)
        if size > max_bytes:
            raise LimitExceededError(f"request of {size} bytes decompressed exceeds the limit of {max_bytes}")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise BadRequestError(f"body of {len(body)} bytes: {error}") from error


@dataclass(frozen=True, slots=True)
class WriteColumns:
    """A write request of n series and m samples."""

    # [n], each series' Label messages end to end. They tell series apart, together with `label_counts`, as long as no
    # sender writes one field of a Label twice; `labels` is exact.
    label_bytes: list[bytes]
    label_counts: NDArray[np.int64]  # [n]
    sample_counts: NDArray[np.int64]  # [n]
    timestamps_ms: NDArray[np.int64]  # [m], series after series
    values: NDArray[np.float64]  # [m]
    exemplars: list[tuple[int, bytes]]  # (series, Exemplar message)
    histograms: list[tuple[int, bytes]]  # (series, Histogram message)
    metadata: list[bytes]  # MetricMetadata messages
    _labels: pa.ListArray

    def labels(self, series: int) -> list[tuple[str, str]]:
        """
        (name, value) of one series' labels, as they were sent. Interned: most stand in many series.

        Raises:
            BadRequestError: a label is no Label, or not UTF-8.
        """
        messages = [parsed("Label", message) for message in self._labels[series].as_py()]
        return [(intern(message.name), intern(message.value)) for message in messages]


def decode(request: bytes) -> WriteColumns:
    """
    Raises:
        BadRequestError: not a WriteRequest.
        LimitExceededError: more than MAX_SERIES.
    """
    try:
        batch = _handler().list_to_record_batch([request])
    except ValueError as error:
        raise BadRequestError(f"request of {len(request)} bytes is not a WriteRequest: {error}") from error
    series = batch.column("timeseries").values
    if len(series) > MAX_SERIES:
        raise LimitExceededError(f"request of {len(series)} series exceeds the limit of {MAX_SERIES}")
    labels, samples = series.field("labels"), series.field("samples")
    return WriteColumns(
        label_bytes=_joined_bytes(labels),
        label_counts=_counts(labels),
        sample_counts=_counts(samples),
        timestamps_ms=np.asarray(samples.values.field("timestamp")),
        values=np.asarray(samples.values.field("value")),
        exemplars=_messages(series.field("exemplars")),
        histograms=_messages(series.field("histograms")),
        metadata=batch.column("metadata").values.to_pylist(),
        _labels=labels,
    )


def _counts(lists: pa.ListArray) -> NDArray[np.int64]:
    return np.diff(np.asarray(lists.offsets)).astype(np.int64)


def _joined_bytes(lists: pa.ListArray) -> list[bytes]:
    _, offsets, data = lists.values.buffers()
    if data is None:
        return [b""] * len(lists)
    starts = np.frombuffer(offsets, np.int32)[np.asarray(lists.offsets)].tolist()
    content = data.to_pybytes()
    return [content[start:end] for start, end in itertools.pairwise(starts)]


def _messages(lists: pa.ListArray) -> list[tuple[int, bytes]]:
    if not len(lists.values):
        return []
    owners = np.repeat(np.arange(len(lists)), _counts(lists)).tolist()
    return list(zip(owners, lists.values.to_pylist(), strict=True))


def parsed(name: str, message: bytes) -> Any:
    """
    One message that was left as bytes.

    Raises:
        BadRequestError: not that message.
    """
    try:
        return message_class(name).FromString(message)
    except DecodeError as error:
        raise BadRequestError(f"{len(message)} bytes are not a {name} of remote write: {error}") from error
