"""
The notation of native histograms in promtool's unit tests: `{{schema:1 count:3 sum:4.5 buckets:[1 2]}}`.

Source: prometheus/promql/parser/generated_parser.y (histogram_desc_item), parse.go (buildHistogramFromMap),
model/histogram/float_histogram.go (TestExpression). promtool knows it since Prometheus 2.48.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from collector.errors import BadRequestError, LimitExceededError, UnsupportedError
from collector.gotemplate.goformat import format_float
from collector.model.histogram import MAX_BUCKETS, MAX_SCHEMA, MIN_SCHEMA, NativeHistogram
from collector.query.promql.native import combined, table_of

_NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[iI]nf|[nN]a[nN])"
_FIELD = re.compile(rf"\s*([a-z_]+):(?:\[([^\]]*)\]|({_NUMBER})|([a-z_]+))(?=\s|$)")
_WORD = re.compile(_NUMBER)
_LISTS = frozenset({"buckets", "n_buckets", "custom_values"})
_WHOLE = frozenset({"schema", "offset", "n_offset"})
_NUMBERS = frozenset({"sum", "count", "z_bucket", "z_bucket_w"})
_HINTS = frozenset({"unknown", "reset", "not_reset", "gauge"})
_MAX_INDEX = 1 << 30  # of a bucket; beyond the largest float at every schema

Fields = dict[str, str]


def parse_histogram(text: str) -> NativeHistogram:
    """
    Args:
        text: What stands between `{{` and `}}`.

    Raises:
        BadRequestError: names what is wrong in it.
        UnsupportedError: custom buckets.
        LimitExceededError: more buckets than a histogram may have.
    """
    fields = _fields(text)
    if "custom_values" in fields:
        raise UnsupportedError("histograms with custom buckets (custom_values) are not supported")
    schema = int(fields.get("schema", "0"))
    if not MIN_SCHEMA <= schema <= MAX_SCHEMA:
        raise BadRequestError(f"histogram schema {schema} is not within {MIN_SCHEMA}..{MAX_SCHEMA}")
    positive_index, positive = _buckets(fields, "buckets", "offset")
    negative_index, negative = _buckets(fields, "n_buckets", "n_offset")
    return NativeHistogram(
        schema=schema,
        count=float(fields.get("count", "0")),
        sum=float(fields.get("sum", "0")),
        zero_threshold=float(fields.get("z_bucket_w", "0")),
        zero_count=float(fields.get("z_bucket", "0")),
        positive_index=positive_index,
        positive=positive,
        negative_index=negative_index,
        negative=negative,
        gauge=fields.get("counter_reset_hint") == "gauge",
    )


def _fields(text: str) -> Fields:
    fields: Fields = {}
    at = 0
    while text[at:].strip():
        match = _FIELD.match(text, at)
        if match is None:
            raise BadRequestError(f"parse error: unexpected {text[at:].strip()[:40]!r} in histogram description")
        name, listed, number, word = match.groups()
        if name in fields:
            raise BadRequestError(f'parse error: duplicate key "{name}" in histogram')
        fields[name] = _checked(name, listed, number, word)
        at = match.end()
    return fields


def _checked(name: str, listed: str | None, number: str | None, word: str | None) -> str:
    """The value as text, if it is one that the field may have."""
    if name in _LISTS and listed is not None:
        return listed
    if name in _NUMBERS and number is not None:
        return number
    if name in _WHOLE and number is not None and number.lstrip("+-").isdigit():
        return number
    if name == "counter_reset_hint" and word in _HINTS:
        return str(word)
    if name in _LISTS | _NUMBERS | _WHOLE | {"counter_reset_hint"}:
        raise BadRequestError(f"parse error: bad histogram descriptor: {name}")
    raise BadRequestError(f'parse error: bad histogram descriptor found: "{name}"')


def _buckets(fields: Fields, buckets: str, offset: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    words = fields.get(buckets, "").split()
    for word in words:
        if _WORD.fullmatch(word) is None:
            raise BadRequestError(f"parse error: unexpected {word!r} in {buckets} of a histogram")
    if len(words) > MAX_BUCKETS:
        raise LimitExceededError(f"histogram has {len(words)} {buckets}, more than {MAX_BUCKETS}")
    first = int(fields.get(offset, "0"))
    if abs(first) > _MAX_INDEX:
        raise BadRequestError(f"histogram {offset} {first} is not within {_MAX_INDEX} of 0")
    counts = np.array([float(word) for word in words], dtype=np.float64)
    index = np.arange(first, first + len(counts), dtype=np.int32)
    return index[counts != 0], counts[counts != 0]


def progression(base: NativeHistogram, step: NativeHistogram, count: int, *, sign: int) -> Iterator[NativeHistogram]:
    """
    `base`, and after it `count` more, each by `step` above (sign 1) or below (-1) the one before.

    Raises:
        BadRequestError: the step's buckets are wider than those of the base.
    """
    if base.schema > step.schema:
        raise BadRequestError(f"error combining histograms: cannot merge from schema {step.schema} to {base.schema}")
    yield base
    table, increment = table_of([base]), table_of([step])
    for _ in range(count):
        table = combined(table, increment, sign)
        (value,) = table.to_values()
        yield value


def notation(histogram: NativeHistogram) -> str:
    """
    The canonical text, by which promtool compares; equal histograms have equal ones.

    Whether a counter was reset since the sample before is not in it, as promtool would have it: that is told by the
    samples, and is no part of a histogram here.
    """
    numbers = {
        "count": histogram.count,
        "sum": histogram.sum,
        "z_bucket": histogram.zero_count,
        "z_bucket_w": histogram.zero_threshold,
    }
    parts = [f"schema:{histogram.schema}"] if histogram.schema else []
    parts += [f"{name}:{format_float(value)}" for name, value in numbers.items() if value]
    if histogram.gauge:
        parts.append("counter_reset_hint:gauge")
    parts += _side(histogram.positive_index, histogram.positive, "offset", "buckets")
    parts += _side(histogram.negative_index, histogram.negative, "n_offset", "n_buckets")
    return f"{{{{{' '.join(parts)}}}}}"


def _side(index: NDArray[np.int32], counts: NDArray[np.float64], offset: str, buckets: str) -> list[str]:
    index, counts = index[counts != 0].astype(np.int64), counts[counts != 0]
    if not len(index):
        return []
    first, last = int(index[0]), int(index[-1])
    shown = [f"{offset}:{first}"] if first else []
    if last - first >= MAX_BUCKETS:  # written out it would fill pages
        pairs = zip(index.tolist(), counts.tolist(), strict=True)
        return [*shown, f"{buckets}:[{' '.join(f'{at}={format_float(count)}' for at, count in pairs)}]"]
    dense = np.zeros(last - first + 1)
    dense[index - first] = counts
    return [*shown, f"{buckets}:[{' '.join(map(format_float, dense.tolist()))}]"]
