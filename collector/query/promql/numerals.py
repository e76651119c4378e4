"""Numbers as Go's strconv writes and reads them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_GO_FLOAT = re.compile(
    r"[+-]?(?:inf(?:inity)?|nan|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:e[+-]?\d+)?)", re.IGNORECASE | re.ASCII
)


def format_float(value: float) -> str:
    """The shortest text that reads back as `value`, never with an exponent (strconv.FormatFloat(v, 'f', -1, 64))."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        return format(Decimal(text), "f")
    return text.removesuffix(".0")


def parse_float(text: str) -> float | None:
    """A decimal number as strconv.ParseFloat reads it; None where it would refuse. Hexadecimal ones are refused too."""
    if not _GO_FLOAT.fullmatch(text) or "_" in text:
        return None
    return float(text)
