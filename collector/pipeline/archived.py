"""A part of an archive, checked and masked: what an import stores. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collector.errors import BadRequestError
from collector.model.attributes import ValueType, python_value
from collector.model.telemetry import LogBatch, Origin, SpanBatch
from collector.pipeline.columns import numbers, relisted
from collector.pipeline.origins import origin_id, service_of
from collector.pipeline.redaction import Redactor
from collector.storage.traces.archive import SPANS, Kind, Part

_Message = TypeVar("_Message", Resource, InstrumentationScope)
_TEXTS = ("name", "status_message", "trace_state", "severity_text", "event_name")


def batch_of(part: Part, kind: Kind, *, received_ms: int, redactor: Redactor | None = None) -> SpanBatch | LogBatch:
    """
    Args:
        received_ms: when it is imported, from which on it is kept as long as what is received then.
        redactor: an archive may come from where less was masked.

    Raises:
        BadRequestError: a record has ids that cannot be, a value that is not of its type, or a resource or scope that
            the part does not bring.
    """
    clean_resource = redactor.resource if redactor else _same
    clean_scope = redactor.scope if redactor else _same
    resources = _origins(part.resources, Resource, clean_resource, "resource")
    scopes = _origins(part.scopes, InstrumentationScope, clean_scope, "scope")
    columns = {name: _whole(part.records, name) for name in part.records.column_names}
    resource_ids, here = _referred(columns["resource_id"], resources, "resource")
    scope_ids, scopes_here = _referred(columns["scope_id"], scopes, "scope")
    if kind is SPANS:
        _check_ids(columns)
    clean = _Values(redactor)
    columns |= {name: clean.text(columns[name]) for name in _TEXTS if name in columns}
    columns["attributes"] = clean.lists(columns["attributes"])
    if kind is SPANS:
        columns["events"] = clean.details(columns["events"], "name")
        columns["links"] = clean.details(columns["links"], "trace_state")
    else:
        columns["body_type"], columns["body"] = clean.values(columns["body_type"], columns["body"])
    services = {key: service_of(origin.message) for key, origin in here.items()}
    columns["service"] = pa.array([services[key] for key in resource_ids.tolist()], pa.string())
    columns["resource_id"], columns["scope_id"] = pa.array(resource_ids), pa.array(scope_ids)
    table = pa.table(columns).append_column("received_ms", pa.array(np.full(len(part.records), received_ms, np.int64)))
    made = SpanBatch if kind is SPANS else LogBatch
    return made(table=table, resources=here, scopes=scopes_here)


def _same(origin: Origin) -> Origin:
    return origin


def _whole(table: pa.Table, name: str) -> pa.Array:
    """One array, as columns.py wants it; no record lacks a field."""
    column = table.column(name)
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    if array.null_count and name != "body":
        raise BadRequestError(f"column {name} has {array.null_count} records without a value")
    return array


def _origins(
    table: pa.Table, kind: type[_Message], clean: Callable[[Origin], Origin], what: str
) -> Mapping[int, tuple[int, Origin]]:
    """By the id that the archive has: the id that it has now, and what it is."""
    found = {}
    rows = zip(*(table.column(name).to_pylist() for name in ("id", "message", "schema_url")), strict=True)
    for number, message, schema_url in rows:
        sent = Origin(message or b"", schema_url or "")
        try:
            kind.FromString(sent.message)
        except DecodeError as error:
            raise BadRequestError(f"{what} {number} is malformed: {error}") from error
        if origin_id(sent) != number:
            raise BadRequestError(f"{what} {number} is not what its id says")
        origin = clean(sent)
        found[number] = origin_id(origin), origin
    return found


def _referred(
    column: pa.Array, origins: Mapping[int, tuple[int, Origin]], what: str
) -> tuple[NDArray[np.uint64], dict[int, Origin]]:
    """The ids that the records have now, and what they refer to."""
    distinct, places = np.unique(numbers(column), return_inverse=True)
    missing = [number for number in distinct.tolist() if number not in origins]
    if missing:
        raise BadRequestError(f"{what} {missing[0]} is referred to and not there")
    now = [origins[number] for number in distinct.tolist()]
    return np.array([number for number, _ in now], np.uint64)[places], dict(now)


def _check_ids(columns: Mapping[str, pa.Array]) -> None:
    if not (numbers(columns["trace_hi"]) | numbers(columns["trace_lo"])).all() or not numbers(columns["span_id"]).all():
        raise BadRequestError("a span has no trace id or no span id")


class _Values:
    """Types and texts of attribute values: checked, then masked."""

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor
        self._known: set[tuple[int, str]] = set()  # that are of their type

    def text(self, column: pa.StringArray) -> pa.StringArray:
        return column if self._redactor is None else self._redactor.texts(column)

    def values(self, kinds: pa.UInt8Array, texts: pa.StringArray) -> tuple[pa.UInt8Array, pa.StringArray]:
        self._check(kinds, texts)
        return (kinds, texts) if self._redactor is None else self._redactor.any_values(kinds, texts)

    def lists(self, lists: pa.ListArray) -> pa.ListArray:
        if lists.null_count:
            raise BadRequestError("attributes are no list")
        pairs = lists.values
        keys, kinds, texts = (pairs.field(name) for name in ("k", "t", "v"))
        if keys.null_count or kinds.null_count:
            raise BadRequestError("an attribute has no key or no type")
        self._check(kinds, texts)
        if self._redactor is not None:
            kinds, texts = self._redactor.attributes(keys, kinds, texts)
        return relisted(lists, pa.StructArray.from_arrays([keys, kinds, texts], names=["k", "t", "v"]))

    def details(self, lists: pa.ListArray, named: str) -> pa.ListArray:
        """Events or links."""
        items = lists.values
        fields = {field.name: items.field(field.name) for field in items.type}
        for name, column in fields.items():
            if column.null_count:
                raise BadRequestError(f"{name} of an event or link has no value")
        fields[named] = self.text(fields[named])
        fields["attributes"] = self.lists(fields["attributes"])
        return relisted(lists, pa.StructArray.from_arrays(list(fields.values()), names=list(fields)))

    def _check(self, kinds: pa.UInt8Array, texts: pa.StringArray) -> None:
        """Each distinct value once: a reader takes it for what its type says."""
        types: Sequence[int] = numbers(kinds).tolist()
        plain = (ValueType.STRING, ValueType.EMPTY)
        for kind, text in {pair for pair in zip(types, texts.to_pylist(), strict=True) if pair[0] not in plain}:
            if (kind, text) in self._known:
                continue
            try:
                python_value(ValueType(kind), text)
            except (ValueError, TypeError, RecursionError):
                raise BadRequestError(f"value {str(text)[:64]!r} is not of type {kind}") from None
            self._known.add((kind, text))
