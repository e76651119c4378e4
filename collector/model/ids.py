"""Trace and span ids: integers inside, lower-case hex outside. Zero is the invalid id of W3C Trace Context, 2.2.3."""

from __future__ import annotations

import re
from typing import NewType

TraceId = NewType("TraceId", int)  # 128 bits
SpanId = NewType("SpanId", int)  # 64 bits

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8
_LOW_BITS = 64
_LOW_MASK = (1 << _LOW_BITS) - 1
_HEX = re.compile(r"[0-9a-fA-F]{1,32}")


def trace_id_of(high: int, low: int) -> TraceId:
    return TraceId(high << _LOW_BITS | low)


def trace_id_halves(trace_id: TraceId) -> tuple[int, int]:
    """(high, low): DuckDB stores the two halves as UBIGINT, which Arrow and NumPy know and 128-bit integers not."""
    return trace_id >> _LOW_BITS, trace_id & _LOW_MASK


def trace_id_hex(trace_id: TraceId) -> str:
    return f"{trace_id:032x}"


def span_id_hex(span_id: SpanId) -> str:
    return f"{span_id:016x}"


def parse_trace_id(text: str) -> TraceId:
    """
    Read 1 to 32 hex digits of either case; missing leading zeros are understood, as Jaeger does.

    Raises:
        ValueError: other characters, too long, or zero.
    """
    if not _HEX.fullmatch(text) or not int(text, 16):
        raise ValueError(f"trace id {text[:64]!r} is not 1 to 32 hex digits with one that is not 0")
    return TraceId(int(text, 16))


def parse_span_id(text: str) -> SpanId:
    """As `parse_trace_id`, of 1 to 16 digits."""
    if not _HEX.fullmatch(text) or len(text) > 2 * SPAN_ID_BYTES or not int(text, 16):
        raise ValueError(f"span id {text[:64]!r} is not 1 to 16 hex digits with one that is not 0")
    return SpanId(int(text, 16))
