"""
Answers as Prometheus's JSON. The loops over samples run in C: repr, map and join.

Source: prometheus/web/api/v1/json_codec.go and util/jsonutil/marshal.go.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterable
from decimal import Decimal
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.model.series import Block, Labels, Vector, is_absent
from collector.query.promql.numerals import format_float
from collector.query.promql.values import Answer, Floats, Matrix, RangeVector, Scalar, StringValue, Times

_WITH_EXPONENT = re.compile(r'"(-?[0-9.]+e[+-][0-9]+)"')
# Go writes an exponent outside of these bounds only, Python from 1e16 and below 1e-4.
_EXPONENT_BELOW, _EXPONENT_FROM = 1e-6, 1e21


def timestamp_text(timestamp_ms: int) -> str:
    """Seconds with up to three decimals: `1435781451.781`, `1435781451`."""
    sign = "-" if timestamp_ms < 0 else ""
    seconds, fraction = divmod(abs(timestamp_ms), 1000)
    return f"{sign}{seconds}.{fraction:03d}" if fraction else f"{sign}{seconds}"


def _go_floats(text: str) -> str:
    """Turn every quoted number of `text`, which repr wrote, into Go's form of it."""
    if "e" in text:
        text = _WITH_EXPONENT.sub(_go_exponent, text)
    text = text.replace('.0"', '"')
    if "n" in text:  # nan, inf, -inf
        text = text.replace('"nan"', '"NaN"').replace('"inf"', '"+Inf"').replace('"-inf"', '"-Inf"')
    return text


def _go_exponent(match: re.Match[str]) -> str:
    if _EXPONENT_BELOW <= abs(float(match[1])) < _EXPONENT_FROM:
        return f'"{Decimal(match[1]):f}"'
    return match[0]


def value_text(value: float) -> str:
    return _go_floats(f'"{value!r}"')


def _openings(timestamps_ms: Times) -> list[str]:
    """`[1435781451.781,"` for each timestamp: what stands before a value."""
    return [f'[{timestamp_text(timestamp)},"' for timestamp in timestamps_ms.tolist()]


def _samples(openings: Iterable[str], values: Floats) -> str:
    """`[[T,"V"],…]`."""
    joined = '"],'.join(map(operator.add, openings, map(repr, values.tolist())))
    return f"[{_go_floats(joined + chr(34) + ']')}]" if joined else "[]"


def labels_text(labels: Labels) -> str:
    return json.dumps(dict(labels), ensure_ascii=False, separators=(",", ":"))


def _all_series(labels: tuple[Labels, ...], timestamps_ms: Times, values: Floats) -> Iterable[str]:
    openings = _openings(timestamps_ms)
    present: NDArray[np.bool_] = np.logical_not(is_absent(values))
    complete: list[bool] = np.logical_and.reduce(present, axis=1).tolist()
    for row, one in enumerate(labels):
        if complete[row]:
            samples = _samples(openings, values[row])
        else:
            samples = _samples(compress(openings, present[row].tolist()), values[row][present[row]])
        yield f'{{"metric":{labels_text(one)},"values":{samples}}}'


def query_data(answer: Answer | Matrix, *, at_ms: int = 0, limit: int = 0) -> str:
    """The `data` of /query and /query_range. `at_ms` is the time of a vector; `limit` series, 0 for all."""
    match answer:
        case Scalar():
            # unlike samples, scalars never have an exponent (promql/value.go, Scalar.MarshalJSON)
            return _data("scalar", f'[{timestamp_text(answer.timestamp_ms)},"{format_float(answer.value)}"]')
        case StringValue():
            return _data("string", f"[{timestamp_text(answer.timestamp_ms)},{json.dumps(answer.value)}]")
        case Vector():
            return _data("vector", f"[{','.join(_vector(answer, at_ms, limit))}]")
        case Matrix():
            kept = slice(0, limit or None)
            rows = _all_series(answer.labels[kept], answer.timestamps_ms, answer.values[kept])
            return _data("matrix", f"[{','.join(rows)}]")
        case RangeVector():
            ordered = sorted(_range_series(answer.blocks))[: limit or None]
            return _data("matrix", f"[{','.join(text for _, text in ordered)}]")
    raise TypeError(f"not an answer: {type(answer).__name__}")


def _vector(vector: Vector, at_ms: int, limit: int) -> list[str]:
    time = timestamp_text(at_ms)
    pairs = list(zip(vector.labels, vector.values.tolist(), strict=True))[: limit or None]
    return [f'{{"metric":{labels_text(one)},"value":[{time},{value_text(value)}]}}' for one, value in pairs]


def _range_series(blocks: tuple[Block, ...]) -> Iterable[tuple[Labels, str]]:
    for block in blocks:
        yield from zip(block.labels, _all_series(block.labels, block.timestamps_ms, block.values), strict=True)


def _data(kind: str, result: str) -> str:
    return f'{{"resultType":"{kind}","result":{result}}}'


def success(data: str) -> bytes:
    """The envelope around `data`, which is JSON already."""
    return f'{{"status":"success","data":{data}}}'.encode("utf-8", "replace")


def plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_jsonable)


def _jsonable(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"not JSON: {type(value).__name__}")
