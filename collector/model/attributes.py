"""
Attribute values, as they are stored and read: a key, a type and a text.

One text for all types keeps the columns few (which is what a commit costs), makes the tag search of Jaeger a comparison
of strings, and with the type loses nothing that OTLP says of a scalar. Arrays and maps are JSON; what JSON cannot say
stands in them as an object of one reserved key, as in MongoDB's Extended JSON:

    {"$bytes": "AP8="}          bytes
    {"$double": "nan"}          a double that is not finite
    {"$map": [["$bytes", 1]]}   a map that would itself read as one of these three
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


class ValueType(IntEnum):
    """The cases of OTLP's AnyValue. Stored: never renumber."""

    EMPTY = 0
    STRING = 1
    BOOL = 2  # "true", "false"
    INT = 3  # decimal, 64 bits signed
    DOUBLE = 4  # the shortest text that reads back the same; "nan", "inf", "-inf"
    BYTES = 5  # base64
    ARRAY = 6  # JSON, see above
    MAP = 7  # JSON, see above


_NESTED = (ValueType.ARRAY, ValueType.MAP)
_BYTES, _DOUBLE, _MAP = "$bytes", "$double", "$map"
_TAGS = frozenset({_BYTES, _DOUBLE, _MAP})


class Attribute(NamedTuple):
    key: str
    type: ValueType
    text: str

    @property
    def value(self) -> Any:
        return python_value(self.type, self.text)

    @property
    def json_value(self) -> Any:
        """As JSON can show it: bytes in base64, doubles that are not finite as text, at any depth."""
        return _shown(self.value)

    @property
    def shown_text(self) -> str:
        """The text without the reserved keys, as the OpenTelemetry Collector's AsString has it."""
        return _json(self.json_value) if '{"$' in self.text and self.type in _NESTED else self.text


def python_value(kind: ValueType, text: str) -> Any:
    """The value as Python has it: None, str, bool, int, float, bytes, list or dict."""
    match kind:
        case ValueType.EMPTY:
            return None
        case ValueType.STRING:
            return text
        case ValueType.BOOL:
            return text == "true"
        case ValueType.INT:
            return int(text)
        case ValueType.DOUBLE:
            return float(text)
        case ValueType.BYTES:
            return base64.b64decode(text)
        case ValueType.ARRAY | ValueType.MAP:
            return json.loads(text, object_hook=_untagged)


def text_of(value: AnyValue) -> tuple[ValueType, str]:
    match value.WhichOneof("value"):
        case "string_value":
            return ValueType.STRING, value.string_value
        case "bool_value":
            return ValueType.BOOL, "true" if value.bool_value else "false"
        case "int_value":
            return ValueType.INT, str(value.int_value)
        case "double_value":
            return ValueType.DOUBLE, repr(value.double_value)
        case "bytes_value":
            return ValueType.BYTES, base64.b64encode(value.bytes_value).decode()
        case "array_value":
            return ValueType.ARRAY, array_text(value.array_value.values)
        case "kvlist_value":
            return ValueType.MAP, map_text(value.kvlist_value.values)
    return ValueType.EMPTY, ""


def attributes_of(pairs: Iterable[KeyValue]) -> tuple[Attribute, ...]:
    return tuple(Attribute(pair.key, *text_of(pair.value)) for pair in pairs)


def array_text(values: Iterable[AnyValue]) -> str:
    return _json([_plain(value) for value in values])


def map_text(pairs: Iterable[KeyValue]) -> str:
    return _json(_map(pairs))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _map(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    plain = {pair.key: _plain(pair.value) for pair in pairs}
    return plain if len(plain) != 1 or plain.keys().isdisjoint(_TAGS) else {_MAP: list(plain.items())}


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return _map(value.kvlist_value.values)
        case "bytes_value":
            return {_BYTES: base64.b64encode(value.bytes_value).decode()}
        case "double_value":
            return value.double_value if math.isfinite(value.double_value) else {_DOUBLE: repr(value.double_value)}
        case None:
            return None
        case name:
            return getattr(value, name)


def _untagged(read: dict[str, Any]) -> Any:
    if len(read) == 1:
        ((key, inner),) = read.items()
        match key:
            case "$bytes":
                return base64.b64decode(inner)
            case "$double":
                return float(inner)
            case "$map":
                return dict(inner)
    return read


def _shown(value: Any) -> Any:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case float() if not math.isfinite(value):
            return repr(value)
        case list():
            return [_shown(item) for item in value]
        case dict():
            return {key: _shown(item) for key, item in value.items()}
    return value
