"""
OTLP's protobuf read straight into Arrow columns.

ptars needs a descriptor to know the columns. OTLP's own is recursive (AnyValue holds AnyValues), which no Arrow type
can be, and spells out resource and scope, which we keep as they came. So the descriptors are edited: those fields
become `bytes`, which on the wire is the same (protobuf.dev/programming-guides/encoding, "Length-Delimited Records").
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from ptars import HandlerPool

from collector.errors import BadRequestError

_AS_BYTES = {
    ("AnyValue", "array_value"),
    ("AnyValue", "kvlist_value"),
    ("ResourceSpans", "resource"),
    ("ScopeSpans", "scope"),
    ("ResourceLogs", "resource"),
    ("ScopeLogs", "scope"),
}
# Only profiles may set these (common.proto); columns nobody fills cost time in every batch.
_LEFT_OUT = {("AnyValue", "string_value_strindex"), ("KeyValue", "key_strindex")}


def _edited(message: DescriptorProto) -> None:
    for index in reversed(range(len(message.field))):
        field = message.field[index]
        if (message.name, field.name) in _LEFT_OUT:
            del message.field[index]
        elif (message.name, field.name) in _AS_BYTES:
            field.type = FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
    for nested in message.nested_type:
        _edited(nested)


def _add(file: FileDescriptor, pool: DescriptorPool, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add(dependency, pool, added)
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        _edited(message)
    pool.Add(proto)


@cache
def _handlers() -> tuple[Any, Any]:
    pool, added = DescriptorPool(), set[str]()
    files = (trace_service_pb2.DESCRIPTOR, logs_service_pb2.DESCRIPTOR)
    for file in files:
        _add(file, pool, added)
    handlers = HandlerPool([pool.FindFileByName(file.name) for file in files])
    names = (
        "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
        "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
    )
    spans, logs = (handlers.get_for_message(pool.FindMessageTypeByName(name)) for name in names)
    return spans, logs


def _read(handler: Any, request: bytes, column: str) -> pa.StructArray:
    try:
        return handler.list_to_record_batch([request]).column(column).values
    except ValueError as error:
        raise BadRequestError(f"request of {len(request)} bytes is not OTLP protobuf: {error}") from error


def resource_spans(request: bytes) -> pa.StructArray:
    """
    One row for each ResourceSpans of a serialised ExportTraceServiceRequest; the columns are the message's fields.

    Raises:
        BadRequestError: not that message.
    """
    return _read(_handlers()[0], request, "resource_spans")


def resource_logs(request: bytes) -> pa.StructArray:
    """As `resource_spans`, for ExportLogsServiceRequest."""
    return _read(_handlers()[1], request, "resource_logs")
