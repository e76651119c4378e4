"""
Floats as Prometheus's JSON has them: the shortest text that reads back as the same number, in Go's forms.

Arrow writes a column of them in C++, some 80 ns each; what Go would write differently is written over.

Source: prometheus/util/jsonutil/marshal.go, MarshalFloat (strconv's 'f', and 'e' below 1e-6 and from 1e21).
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# Outside of these bounds Arrow writes an exponent (cpp/src/arrow/util/formatting.cc: double-conversion's ToShortest).
_ARROW_BELOW, _ARROW_FROM = 1e-5, 1e10
_EXACT_INTEGERS = 2.0**53  # up to here a float's digits are those of the integer
# Where Go begins and ends to write an exponent.
_GO_BELOW, _GO_FROM = 1e-6, 1e21


def float_text(value: float) -> str:
    """One number, as in `float_texts`."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text and _GO_BELOW <= abs(value) < _GO_FROM:
        return format(Decimal(text), "f")
    return text.removesuffix(".0")


def float_texts(values: NDArray[np.float64]) -> pa.StringArray:
    """
    Args:
        values: [n], C-contiguous.
    """
    size = np.abs(values)
    if _are_integers(values, size):  # counters and counts; some 4 times as fast
        return pa.array(values.astype(np.int64)).cast(pa.string())
    texts = pa.array(values, pa.float64()).cast(pa.string())
    with np.errstate(invalid="ignore"):  # NaN is in no bounds
        plain = ((size >= _ARROW_BELOW) & (size < _ARROW_FROM)) | (size == 0)
        if plain.all():
            return texts
        whole = ~plain & (size < _EXACT_INTEGERS) & (np.floor(values) == values)
    if whole.any():
        integers = pa.array(values[whole].astype(np.int64)).cast(pa.string())
        texts = pc.replace_with_mask(texts, pa.array(whole), integers)
    rest = ~(plain | whole)
    if rest.any():
        others = pa.array(list(map(float_text, values[rest].tolist())), pa.string())
        texts = pc.replace_with_mask(texts, pa.array(rest), others)
    return texts


def _are_integers(values: NDArray[np.float64], size: NDArray[np.float64]) -> bool:
    """And no negative zeros, which integers do not have."""
    with np.errstate(invalid="ignore"):
        return bool(((np.floor(values) == values) & (size < _EXACT_INTEGERS)).all() and not np.signbit(values).any())


def timestamp_text(timestamp_ms: int) -> str:
    """Seconds with up to three decimals: `1435781451.781`, `1435781451`."""
    sign = "-" if timestamp_ms < 0 else ""
    seconds, fraction = divmod(abs(timestamp_ms), 1000)
    return f"{sign}{seconds}.{fraction:03d}" if fraction else f"{sign}{seconds}"
