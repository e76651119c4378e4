"""
Resources and scopes, told apart by a hash of what was sent, so that a span only carries 8 bytes of each.

The id is a hash and not a number given out by the store, so that decoding needs no look-up: 64 bits of BLAKE2 collide
with probability 1e-9 at 200,000 distinct resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collector.errors import BadRequestError
from collector.model.attributes import text_of
from collector.model.telemetry import UNKNOWN_SERVICE, Origin
from collector.pipeline.columns import parents_of
from collector.pipeline.intake import Intake

_REMEMBERED = 4096  # distinct resources whose service name is not parsed again; about 1 MB


@lru_cache(maxsize=_REMEMBERED)
def service_of(resource: bytes) -> str:
    """The service name of a serialised Resource."""
    for attribute in Resource.FromString(resource).attributes:
        if attribute.key == "service.name":
            return text_of(attribute.value)[1] or UNKNOWN_SERVICE
    return UNKNOWN_SERVICE


@lru_cache(maxsize=_REMEMBERED)
def _checked_resource(resource: bytes) -> bytes:
    try:
        Resource.FromString(resource)
    except DecodeError as error:
        raise BadRequestError(f"malformed resource of {len(resource)} bytes: {error}") from error
    return resource


@lru_cache(maxsize=_REMEMBERED)
def _checked_scope(scope: bytes) -> bytes:
    try:
        InstrumentationScope.FromString(scope)
    except DecodeError as error:
        raise BadRequestError(f"malformed instrumentation scope of {len(scope)} bytes: {error}") from error
    return scope


def origin_id(origin: Origin) -> int:
    digest = blake2b(origin.message, digest_size=8, key=blake2b(origin.schema_url.encode(), digest_size=16).digest())
    return int.from_bytes(digest.digest(), "little")


@dataclass(frozen=True, slots=True)
class Records:
    """The spans or log records of one request, with where each came from."""

    records: pa.StructArray  # n of them
    services: pa.Array  # [n] strings, dictionary-encoded
    resource_ids: NDArray[np.uint64]  # [n]
    scope_ids: NDArray[np.uint64]  # [n]
    resources: Mapping[int, Origin]
    scopes: Mapping[int, Origin]


def unfold(per_resource: pa.StructArray, intake: Intake, *, scopes_field: str, records_field: str) -> Records:
    """
    Flatten resource → scope → record to records that know their resource and scope.

    Raises:
        BadRequestError: a resource or a scope is malformed.
    """
    resources = [
        intake.resource(Origin(_checked_resource(message or b""), url))
        for message, url in zip(
            per_resource.field("resource").to_pylist(), per_resource.field("schema_url").to_pylist(), strict=True
        )
    ]
    scope_lists = per_resource.field(scopes_field)
    per_scope = scope_lists.values
    scopes = [
        intake.scope(Origin(_checked_scope(message or b""), url))
        for message, url in zip(
            per_scope.field("scope").to_pylist(), per_scope.field("schema_url").to_pylist(), strict=True
        )
    ]
    record_lists = per_scope.field(records_field)
    scope_index = parents_of(record_lists)
    resource_index = parents_of(scope_lists)[scope_index]
    resource_ids = np.array([origin_id(origin) for origin in resources], np.uint64)
    scope_ids = np.array([origin_id(origin) for origin in scopes], np.uint64)
    services = pa.array([service_of(origin.message) for origin in resources], pa.string())
    return Records(
        records=record_lists.values,
        services=pa.DictionaryArray.from_arrays(pa.array(resource_index.astype(np.int32)), services),
        resource_ids=resource_ids[resource_index],
        scope_ids=scope_ids[scope_index],
        resources=dict(zip(resource_ids.tolist(), resources, strict=True)),
        scopes=dict(zip(scope_ids.tolist(), scopes, strict=True)),
    )
