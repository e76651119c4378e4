"""
Secrets taken out of spans, log records and the attributes of metrics before anything is written.

Over columns: one RE2 pass over all texts of a column finds the rows that may hold one, and only those are looked at one
by one. RE2 takes linear time whatever the pattern, so a rule cannot stall ingest.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import re2
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collector.model.attributes import ValueType
from collector.model.telemetry import Origin
from collector.pipeline.columns import numbers, offsets_of, with_texts

MASK = "<redacted>"
_MASK = MASK.encode()
_REMEMBERED = 4096  # resources and scopes, and nested values, that are not looked at again; about 1 MB each

# Names of what is a secret by its name: headers as the semantic conventions record them (http.request.header.<key>),
# configuration, fields of bodies that were logged.
DEFAULT_KEYS = (
    r"(?i)(?:^|[._-])(?:proxy[_-])?authorization$",
    r"(?i)(?:^|[._-])(?:set[_-])?cookies?$",
    r"(?i)(?:^|[._-])(?:secret|credentials?)$",
    r"(?i)(?:pass(?:word|wd|phrase)|api[_-]?key|client[_-]?secret|private[_-]?key|secret[_-]?(?:access[_-]?)?key)$",
    r"(?i)(?:access|refresh|id|auth|bearer|session|security|csrf)[_-]?token$",
)
# What is a secret by its form. A group, where there is one, is the part that is masked.
DEFAULT_VALUES = (
    r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#:@]*:([^\s/?#@]+)@",  # RFC 3986, 3.2.1: the password of a URL
    r"(?i)[?&;](?:api_?key|access_?token|auth|token|password|secret|signature|sig|x-amz-signature)=([^&#;\s\"]+)",
    r"(?i)\b(?:bearer|basic)\s+([a-z0-9._~+/-]{8,}=*)",  # RFC 6750, 2.1; RFC 7617, 2
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",  # a JSON Web Token
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",  # AWS, "IAM unique identifiers"
    r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|xox[abprs]-[A-Za-z0-9-]{10,})",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-[^-])*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
)
# The issuers' ranges (ISO/IEC 7812) of 14 to 16 digits, in groups or not; then the check digit decides. Unix times in
# micro- and nanoseconds begin with 1 and are out of them. What is part of a word is none, such as an id in hex, nor are
# the decimals of a number: of those that a random ratio has, one in fifty would pass for a card.
_CARD = (
    r"(?:^|[^0-9A-Za-z.]|(?:^|[^0-9])\.)((?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|64[4-9]\d|65\d\d|3[47]\d\d|3[0689]\d\d|35\d\d)"
    r"(?:[ -]?\d){10,12})(?:[^0-9A-Za-z]|$)"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """RE2 patterns; none may match the empty text, or use `\\A` or `\\z`."""

    keys: Sequence[str] = DEFAULT_KEYS  # the whole value of such an attribute is masked
    values: Sequence[str] = DEFAULT_VALUES
    cards: bool = True


def luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1, annex B. What is no digit is passed over."""
    numbers_ = [byte - 48 for byte in reversed(digits) if 48 <= byte <= 57]
    doubled = [number * 2 - 9 if number > 4 else number * 2 for number in numbers_[1::2]]
    return (sum(numbers_[::2]) + sum(doubled)) % 10 == 0


class _Patterns:
    """Several patterns, looked for at once."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.each = [re2.compile(pattern.encode()) for pattern in patterns]
        options = re2.Options()
        options.never_capture = True
        union = "|".join(f"(?m:{pattern})" for pattern in patterns)
        self._any = re2.compile(union.encode(), options) if self.each else None

    def rows(self, column: pa.StringArray) -> NDArray[np.int64]:
        """
        The rows in which one may be found.

        The texts are joined by newlines, which `^` and `$` take for an edge (that is what `(?m:` is for) and `\\b` too.
        A match may reach over several rows and hide one that begins in them, so all that it touches are named.
        """
        offsets = offsets_of(column).astype(np.int64)
        if self._any is None or offsets[-1] == offsets[0]:
            return np.empty(0, np.int64)
        data = np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
        ends = offsets[1:] - offsets[0] + np.arange(len(column))
        joined = np.full(len(data) + len(column), ord("\n"), np.uint8)
        inside = np.ones(len(joined), np.bool_)
        inside[ends] = False
        joined[inside] = data
        spans = [match.span() for match in self._any.finditer(joined.tobytes())]
        if not spans:
            return np.empty(0, np.int64)
        first, last = (
            np.searchsorted(ends, np.array(spans, np.int64)[:, 0]),
            np.searchsorted(ends, np.array(spans, np.int64)[:, 1] - 1),
        )
        touched = [np.arange(begin, end + 1) for begin, end in zip(first.tolist(), last.tolist(), strict=True)]
        return np.unique(np.concatenate(touched))

    def matches(self, text: str) -> bool:
        return any(pattern.search(text.encode()) for pattern in self.each)


class Redactor:
    """Safe to use from several threads; `redacted` may then be a few short."""

    def __init__(self, rules: Rules) -> None:
        self.redacted = 0  # values masked, in whole or in part; a resource counts when it is first seen
        self._keys = _Patterns(rules.keys)
        self._values = _Patterns([*rules.values, *([_CARD] if rules.cards else [])])
        self._card = self._values.each[-1] if rules.cards else None
        self._nested: Callable[[str], str] = lru_cache(_REMEMBERED)(self._nested_text)
        self._listed: Callable[[bytes], KeyValueList] = lru_cache(_REMEMBERED)(self._clean_list)
        self._origin: Callable[[Origin, bool], Origin] = lru_cache(_REMEMBERED)(self._clean_origin)

    def texts(self, column: pa.StringArray) -> pa.StringArray:
        """Texts that are no attributes: names, messages."""
        found = {row: self._text(column[row].as_py() or "") for row in self._values.rows(column).tolist()}
        changed = {row: new for row, new in found.items() if new is not None}
        self.redacted += len(changed)
        return with_texts(column, changed)

    def any_values(self, kinds: pa.UInt8Array, texts: pa.StringArray) -> tuple[pa.UInt8Array, pa.StringArray]:
        """Types and texts of values without keys, as of a log record's body."""
        return self._values_of(kinds, texts, np.empty(0, np.int64))

    def attributes(
        self, keys: pa.StringArray, kinds: pa.UInt8Array, texts: pa.StringArray
    ) -> tuple[pa.UInt8Array, pa.StringArray]:
        named = [row for row in self._keys.rows(keys).tolist() if self._keys.matches(keys[row].as_py())]
        return self._values_of(kinds, texts, np.array(named, np.int64))

    def key_values(self, pairs: Iterable[KeyValue]) -> Sequence[KeyValue]:
        """Attributes as messages: copies, which are not to be changed. For what is few, as of series and exemplars."""
        listed = self._listed(KeyValueList(values=pairs).SerializeToString(deterministic=True))
        return list(listed.values)

    def resource(self, origin: Origin) -> Origin:
        return self._origin(origin, True)

    def scope(self, origin: Origin) -> Origin:
        return self._origin(origin, False)

    def _values_of(
        self, kinds: pa.UInt8Array, texts: pa.StringArray, named: NDArray[np.int64]
    ) -> tuple[pa.UInt8Array, pa.StringArray]:
        types = numbers(kinds)
        within = np.flatnonzero((types == ValueType.ARRAY) | (types == ValueType.MAP) | (types == ValueType.BYTES))
        changed: dict[int, str] = {}
        for row in {*self._values.rows(texts).tolist(), *within.tolist()}:
            if (new := self._value(int(types[row]), texts[row].as_py() or "")) is not None:
                changed[row] = new
        named = named[types[named] != ValueType.EMPTY]
        masked = np.concatenate([named, np.array([row for row, new in changed.items() if new == MASK], np.int64)])
        changed |= dict.fromkeys(named.tolist(), MASK)
        if not changed:
            return kinds, texts
        self.redacted += len(changed)
        out = types.copy()
        out[masked] = ValueType.STRING
        return pa.array(out), with_texts(texts, changed)

    def _value(self, kind: int, text: str) -> str | None:
        """What to store instead; MASK alone makes it a string. None: the value may stay."""
        match kind:
            case ValueType.ARRAY | ValueType.MAP:
                new = self._nested(text)
                return None if new == text else new
            case ValueType.BYTES:
                return MASK if self._bytes(base64.b64decode(text)) is not None else None
            case ValueType.STRING:
                return self._text(text)
        return None if self._text(text) is None else MASK

    def _text(self, text: str) -> str | None:
        new = self._bytes(text.encode())
        return None if new is None else new.decode()

    def _bytes(self, text: bytes) -> bytes | None:
        """`text` with what the patterns find masked; None if they find nothing."""
        new = text
        for pattern in self._values.each:
            check = luhn if pattern is self._card else None
            new = _masked(pattern, new, check)
        return None if new == text else new

    def _nested_text(self, text: str) -> str:
        tree = json.loads(text)
        new = self._tree(tree)
        return text if new == tree else json.dumps(new, ensure_ascii=False, separators=(",", ":"))

    def _tree(self, node: Any) -> Any:
        match node:
            case {"$bytes": str(raw)} if len(node) == 1:
                return node if self._bytes(base64.b64decode(raw)) is None else MASK
            case {"$map": list(pairs)} if len(node) == 1:
                return {"$map": [[key, self._of_key(key, value)] for key, value in pairs]}
            case dict():
                return {key: self._of_key(key, value) for key, value in node.items()}
            case list():
                return [self._tree(item) for item in node]
            case str():
                new = self._text(node)
                return node if new is None else new
            case int() if not isinstance(node, bool):
                return node if self._text(str(node)) is None else MASK
        return node

    def _of_key(self, key: str, value: Any) -> Any:
        return MASK if value is not None and self._keys.matches(key) else self._tree(value)

    def _clean_origin(self, origin: Origin, is_resource: bool) -> Origin:
        message = (Resource if is_resource else InstrumentationScope).FromString(origin.message)
        changed = self._pairs(message.attributes)
        self.redacted += changed
        return Origin(message.SerializeToString(), origin.schema_url) if changed else origin

    def _clean_list(self, message: bytes) -> KeyValueList:
        listed: KeyValueList = KeyValueList.FromString(message)
        self.redacted += self._pairs(listed.values)
        return listed

    def _pairs(self, pairs: Iterable[KeyValue]) -> int:
        changed = 0
        for pair in pairs:
            if pair.value.WhichOneof("value") is not None and self._keys.matches(pair.key):
                pair.value.string_value = MASK
                changed += 1
            else:
                changed += self._any_value(pair.value)
        return changed

    def _any_value(self, value: AnyValue) -> int:
        match value.WhichOneof("value"):
            case "string_value":
                if (new := self._text(value.string_value)) is None:
                    return 0
                value.string_value = new
                return 1
            case "int_value":
                hit = self._text(str(value.int_value)) is not None
            case "bytes_value":
                hit = self._bytes(value.bytes_value) is not None
            case "array_value":
                return sum(self._any_value(item) for item in value.array_value.values)
            case "kvlist_value":
                return self._pairs(value.kvlist_value.values)
            case _:
                return 0
        if hit:
            value.string_value = MASK
        return int(hit)


def _masked(pattern: Any, text: bytes, check: Callable[[bytes], bool] | None) -> bytes:
    parts: list[bytes] = []
    kept = at = 0
    group = 1 if pattern.groups else 0
    # From the end of what was masked and not of the match: the delimiter after one card is that before the next.
    while at <= len(text) and (match := pattern.search(text, at)):
        begin, end = match.span(group) if match.span(group) != (-1, -1) else match.span()
        if check is None or check(text[begin:end]):
            parts += [text[kept:begin], _MASK]
            kept = end
        at = max(end, at + 1)
    return b"".join([*parts, text[kept:]])
