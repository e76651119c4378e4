"""
Secrets masked in OTLP messages, as the queue is on disk too.

A request is sent on as a message, so the columns that it is decoded into serve only to find out whether a secret is in
it. The few requests that hold one are then walked through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collector.model.telemetry import Origin
from collector.pipeline.redaction import Redactor

# The texts that are not attributes, as the collector masks them (pipeline/spans.py, pipeline/logs.py).
_TEXTS = frozenset(
    {("Span", "name"), ("Span", "trace_state"), ("Status", "message"), ("Event", "name"), ("Link", "trace_state")}
    | {("LogRecord", "severity_text"), ("LogRecord", "event_name")}
)


class SecretsSeen:
    """Stands in for the redactor that it asks, and remembers whether anything was masked."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.any = False

    def texts(self, column: pa.StringArray) -> pa.StringArray:
        return self._noted(column, self._redactor.texts(column))

    def any_values(self, kinds: pa.UInt8Array, texts: pa.StringArray) -> tuple[pa.UInt8Array, pa.StringArray]:
        kinds, masked = self._redactor.any_values(kinds, texts)
        return kinds, self._noted(texts, masked)

    def attributes(
        self, keys: pa.StringArray, kinds: pa.UInt8Array, texts: pa.StringArray
    ) -> tuple[pa.UInt8Array, pa.StringArray]:
        kinds, masked = self._redactor.attributes(keys, kinds, texts)
        return kinds, self._noted(texts, masked)

    def resource(self, origin: Origin) -> Origin:
        return self._compared(origin, self._redactor.resource(origin))

    def scope(self, origin: Origin) -> Origin:
        return self._compared(origin, self._redactor.scope(origin))

    def _noted(self, before: pa.StringArray, after: pa.StringArray) -> pa.StringArray:
        self.any = self.any or after is not before
        return after

    def _compared(self, before: Origin, after: Origin) -> Origin:
        self.any = self.any or after != before
        return after


def mask(message: Message, redactor: Redactor) -> bool:
    """Mask what is secret in an OTLP request, in place. Whether there was any."""
    found = False
    for field, value in message.ListFields():
        kind = field.message_type
        if kind is None:
            if (message.DESCRIPTOR.name, field.name) in _TEXTS:
                found |= _mask_text(message, field.name, value, redactor)
        elif kind is KeyValue.DESCRIPTOR:
            found |= _mask_pairs(value, redactor)
        elif kind is AnyValue.DESCRIPTOR:
            found |= _mask_value(value, redactor)
        else:
            for inner in value if hasattr(value, "extend") else (value,):
                found |= mask(inner, redactor)
    return found


def _mask_pairs(pairs: Any, redactor: Redactor) -> bool:
    clean = _clean(pairs, redactor)
    if clean == list(pairs):
        return False
    del pairs[:]
    pairs.extend(clean)
    return True


def _mask_value(value: AnyValue, redactor: Redactor) -> bool:
    (clean,) = _clean([KeyValue(value=value)], redactor)
    if clean.value == value:
        return False
    value.CopyFrom(clean.value)
    return True


def _mask_text(message: Message, name: str, text: str, redactor: Redactor) -> bool:
    (clean,) = _clean([KeyValue(value=AnyValue(string_value=text))], redactor)
    setattr(message, name, clean.value.string_value)
    return bool(clean.value.string_value != text)


def _clean(pairs: Any, redactor: Redactor) -> Sequence[KeyValue]:
    return redactor.key_values(pairs)
