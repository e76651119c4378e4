"""Messages of protobuf described in Python, for protocols whose compiled descriptions no library brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

_F = FieldDescriptorProto


class Field(NamedTuple):
    name: str
    number: int
    type: int | str  # a protobuf type, or the name of a message of the same package
    repeated: bool = False
    oneof: str = ""


def pool_of(package: str, file: str, messages: Mapping[str, Sequence[Field]]) -> DescriptorPool:
    """All messages of one package, in proto3: a number that is 0 is not told from one that is not there."""
    described = FileDescriptorProto(name=file, package=package, syntax="proto3")
    for name, fields in messages.items():
        _describe(described.message_type.add(name=name), package, fields)
    pool = DescriptorPool()
    pool.Add(described)
    return pool


def _describe(message: DescriptorProto, package: str, fields: Sequence[Field]) -> None:
    oneofs: dict[str, int] = {}
    for field in fields:
        described = message.field.add(name=field.name, number=field.number)
        described.label = _F.LABEL_REPEATED if field.repeated else _F.LABEL_OPTIONAL
        if isinstance(field.type, str):
            described.type, described.type_name = _F.TYPE_MESSAGE, f".{package}.{field.type}"
        else:
            described.type = field.type
        if field.oneof:
            if field.oneof not in oneofs:
                oneofs[field.oneof] = len(message.oneof_decl)
                message.oneof_decl.add(name=field.oneof)
            described.oneof_index = oneofs[field.oneof]
