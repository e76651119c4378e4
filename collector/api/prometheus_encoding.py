"""
Answers as Prometheus's JSON, in pieces: a large one is neither held as a whole nor built of Python objects.

Samples are written by Arrow's kernels, some 150 ns each; only what stands around them is Python's.

Source: prometheus/web/api/v1/json_codec.go and util/jsonutil/marshal.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collector.api.prometheus_floats import float_text, float_texts, timestamp_text
from collector.api.prometheus_histograms import histogram_text
from collector.model.histogram import HistogramSeries, NativeHistogram
from collector.model.series import Labels, is_absent
from collector.query.promql.numerals import format_float

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
SeriesJson = tuple[bytes, bytes, bytes]  # labels, samples without the end of the last one, the rest
# Small enough that texts stay in the processor's cache and that a piece takes a thread 5 ms; of 46 MB written in pieces
# of 14,000, 70,000 and 700,000 samples the last took nearly twice as long.
SAMPLES_PER_PIECE = 32_768
SERIES_PER_PIECE = 1_000
PIECE_BYTES = 256 * 1024  # what a client is sent at a time

_text = json.encoder.encode_basestring
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def plain(value: Any) -> str:
    return _json.encode(value)


def labels_text(labels: Labels) -> str:
    return f"{{{','.join([f'{_text(name)}:{_text(value)}' for name, value in labels])}}}"


def labels_list(series: Sequence[Labels]) -> str:
    return f"[{','.join(map(labels_text, series))}]"


def strings_list(texts: Iterable[str]) -> str:
    return f"[{','.join(map(_text, texts))}]"


def scalar_data(kind: str, text: str, at_ms: int, *, stats: str = "") -> str:
    """Of a scalar (whose text never has an exponent) or a string."""
    return f'{{"resultType":"{kind}","result":[{timestamp_text(at_ms)},{_text(text)}{_end(stats)}'


def scalar_text(value: float) -> str:
    """promql/value.go, Scalar.MarshalJSON: never with an exponent."""
    return format_float(value)


def vector_data(
    labels: Sequence[Labels],
    values: Floats,
    at_ms: int,
    *,
    histograms: Mapping[int, NativeHistogram] | None = None,
    stats: str = "",
) -> Iterator[str]:
    """
    The `data` of an instant vector.

    Args:
        values: [s]; ignored where `histograms` has that series.
        stats: JSON of the query's statistics, if asked for.
    """
    time = timestamp_text(at_ms)
    yield '{"resultType":"vector","result":['
    for start in range(0, len(labels), SERIES_PER_PIECE):
        end = min(len(labels), start + SERIES_PER_PIECE)
        texts = float_texts(np.ascontiguousarray(values[start:end])).to_pylist()
        found = [f'"value":[{time},"{text}"]' for text in texts]
        for place, one in (histograms or {}).items():
            if start <= place < end:
                found[place - start] = f'"histogram":[{time},{histogram_text(one)}]'
        items = [f'{{"metric":{labels_text(labels[start + i])},{text}}}' for i, text in enumerate(found)]
        yield ("," if start else "") + ",".join(items)
    yield _end(stats)


def matrix_data(series: Iterable[tuple[Labels, SeriesJson]], *, stats: str = "") -> Iterator[bytes]:
    """The `data` of a matrix, of what `series_json` writes."""
    waiting = [b'{"resultType":"matrix","result":[']
    size, separator = 0, b""
    for _, (head, samples, tail) in series:
        waiting += (separator, head, samples, tail)
        separator = b","
        size += len(samples) + len(tail)
        if size >= PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    waiting.append(_end(stats).encode())
    yield b"".join(waiting)


def _end(stats: str) -> str:
    return f'],"stats":{stats}}}' if stats else "]}"


def series_json(
    labels: Sequence[Labels],
    timestamps_ms: Times,
    values: Floats,
    histograms: Mapping[Labels, HistogramSeries] | None = None,
) -> Iterator[tuple[Labels, SeriesJson]]:
    """
    Each of series that share their timestamps, with its JSON; those without any sample are left out.

    Args:
        values: [s, k], ABSENT where there is no float.
        histograms: Of those of the series that have some.
    """
    steps = len(timestamps_ms)
    openings = pa.array([f'[{timestamp_text(timestamp)},"'.encode() for timestamp in timestamps_ms.tolist()])
    openings = openings.cast(pa.binary())
    rows = min(max(1, SAMPLES_PER_PIECE // max(1, steps)), SERIES_PER_PIECE, max(1, len(labels)))
    opened = _tiled(openings, rows)
    for start in range(0, len(labels), rows):
        samples = _samples(openings, opened, values[start : start + rows])
        for one, text in zip(labels[start : start + rows], samples, strict=True):
            if histograms and one in histograms:
                yield one, _series(text, histograms[one])
            elif text:
                yield one, (f'{{"metric":{labels_text(one)},"values":['.encode("utf-8", "replace"), text, b'"]]}')


def histogram_series_json(series: Iterable[HistogramSeries]) -> Iterator[tuple[Labels, SeriesJson]]:
    """As `series_json`, of series that have nothing but histograms."""
    return ((one.labels, _series(b"", one)) for one in series)


def _series(samples: bytes, series: HistogramSeries) -> SeriesJson:
    times = map(timestamp_text, series.timestamps_ms.tolist())
    pairs = (f"[{time},{histogram_text(one)}]" for time, one in zip(times, series.histograms, strict=True))
    begin, end = ('"values":[', '"]],') if samples else ("", "")
    head = f'{{"metric":{labels_text(series.labels)},{begin}'
    tail = f'{end}"histograms":[{",".join(pairs)}]}}'
    return head.encode("utf-8", "replace"), samples, tail.encode()


def _tiled(openings: pa.BinaryArray, rows: int) -> pa.BinaryArray:
    return pa.DictionaryArray.from_arrays(
        pa.array(np.tile(np.arange(len(openings), dtype=np.int32), rows)), openings
    ).cast(pa.binary())


def _samples(openings: pa.BinaryArray, opened: pa.BinaryArray, values: Floats) -> list[bytes]:
    """For each row `[T,"V"],[T,"V` without the last `"]`; empty where nothing is present."""
    count, steps = values.shape
    absent = is_absent(np.ascontiguousarray(values))
    if not absent.any():
        before, texts = opened[: count * steps], float_texts(np.ascontiguousarray(values).reshape(-1))
        offsets = np.arange(count + 1, dtype=np.int32) * steps
    else:
        present = ~absent
        before = openings.take(pa.array(np.nonzero(present)[1].astype(np.int32)))
        texts = float_texts(values[present])
        offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int32)
    pairs = pc.binary_join_element_wise(before, texts.cast(pa.binary()), b"")
    joined: list[bytes] = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), pairs), b'"],').to_pylist()
    return joined


def enveloped(
    data: Iterable[str | bytes] | Iterable[str] | Iterable[bytes],
    *,
    warnings: Sequence[str] = (),
    infos: Sequence[str] = (),
) -> Iterator[bytes]:
    """`{"status":"success","data":…}` around pieces of JSON, with what the query has to say beside its result."""
    notes = "".join(
        f',"{name}":{strings_list(texts)}' for name, texts in (("warnings", warnings), ("infos", infos)) if texts
    )
    for piece in chain(('{"status":"success","data":',), data, (notes + "}",)):
        yield piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace")


def exemplar_text(labels: Labels, value: float, timestamp_ms: int) -> str:
    head = f'"labels":{labels_text(labels)},"value":"{float_text(value)}"'
    return f'{{{head},"timestamp":{timestamp_text(timestamp_ms)}}}'
