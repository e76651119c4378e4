"""
Native histograms as bytes, for the log and for sealed chunks.

Histograms that follow one another mostly have the same buckets, so they are kept in runs: the bucket indices once, then
a rectangle of floats with a row for each field and bucket and a column for each histogram.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from collector.model.histogram import NativeHistogram
from collector.storage.metrics.chunk import decode_strip, encode_strip

_RUNS = struct.Struct("<I")
_RUN = struct.Struct("<IIIbBxxI")  # histograms, positive buckets, negative buckets, schema, gauge, bytes of floats
_FIELDS = 4  # count, sum, zero threshold, zero count


def encode(histograms: Sequence[NativeHistogram], *, compress: bool) -> bytes:
    runs = list(_runs(histograms))
    return b"".join([_RUNS.pack(len(runs)), *(_encoded(run, compress) for run in runs)])


def decode(data: bytes, *, compressed: bool) -> list[NativeHistogram]:
    """
    Raises:
        ValueError: these are not bytes that `encode` made.
    """
    try:
        (count,) = _RUNS.unpack_from(data)
        offset = _RUNS.size
        found: list[NativeHistogram] = []
        for _ in range(count):
            offset = _decode_run(data, offset, compressed, found)
    except struct.error as error:
        raise ValueError(f"{len(data)} bytes of histograms end too early") from error
    return found


def _runs(histograms: Sequence[NativeHistogram]) -> Iterator[Sequence[NativeHistogram]]:
    start = 0
    for end in range(1, len(histograms) + 1):
        if end == len(histograms) or not _alike(histograms[start], histograms[end]):
            yield histograms[start:end]
            start = end


def _alike(one: NativeHistogram, other: NativeHistogram) -> bool:
    return (
        (one.schema, one.gauge) == (other.schema, other.gauge)
        and np.array_equal(one.positive_index, other.positive_index)
        and np.array_equal(one.negative_index, other.negative_index)
    )


def _encoded(run: Sequence[NativeHistogram], compress: bool) -> bytes:
    first = run[0]
    p, q = len(first.positive), len(first.negative)
    floats = np.empty((_FIELDS + p + q, len(run)))
    floats[0] = [each.count for each in run]
    floats[1] = [each.sum for each in run]
    floats[2] = [each.zero_threshold for each in run]
    floats[3] = [each.zero_count for each in run]
    for column, each in enumerate(run):
        floats[_FIELDS : _FIELDS + p, column] = each.positive
        floats[_FIELDS + p :, column] = each.negative
    blob = encode_strip(floats) if compress else floats.astype("<f8", copy=False).tobytes()
    header = _RUN.pack(len(run), p, q, first.schema, first.gauge, len(blob))
    indices = (first.positive_index.astype("<i4").tobytes(), first.negative_index.astype("<i4").tobytes())
    return b"".join((header, *indices, blob))


def _decode_run(data: bytes, offset: int, compressed: bool, found: list[NativeHistogram]) -> int:
    rows, p, q, schema, gauge, length = _RUN.unpack_from(data, offset)
    offset += _RUN.size
    end = offset + 4 * (p + q) + length
    if end > len(data):
        raise ValueError(f"a run of histograms ends at byte {end} of {len(data)}")
    positive_index, offset = _indices(data, offset, p)
    negative_index, offset = _indices(data, offset, q)
    fields = _FIELDS + p + q
    if compressed:
        floats = decode_strip(data[offset:end], series=fields, rows=rows)
    else:
        floats = np.frombuffer(data, "<f8", fields * rows, offset).reshape(fields, rows)
    by_row = np.ascontiguousarray(floats.T)
    split = _FIELDS + p
    for row in by_row:
        count, total, threshold, zeros = row[:_FIELDS].tolist()
        counts = row[_FIELDS:split], row[split:]
        found.append(
            NativeHistogram(
                schema,
                count,
                total,
                threshold,
                zeros,
                positive_index,
                counts[0],
                negative_index,
                counts[1],
                bool(gauge),
            )
        )
    return int(end)


def _indices(data: bytes, offset: int, count: int) -> tuple[NDArray[np.int32], int]:
    indices = np.frombuffer(data, "<i4", count, offset).astype(np.int32, copy=False)
    return indices, offset + 4 * count
