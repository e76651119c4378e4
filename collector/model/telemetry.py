"""Spans and log records: as columns on their way in, as values on their way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import pyarrow as pa

from collector.model.attributes import Attribute
from collector.model.ids import SpanId, TraceId

# What the semantic conventions ask for when a resource has no service.name (resource/service).
UNKNOWN_SERVICE = "unknown_service"


class SpanKind(IntEnum):
    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class StatusCode(IntEnum):
    UNSET = 0
    OK = 1
    ERROR = 2


class Origin(NamedTuple):
    """A resource or an instrumentation scope, as it was sent: kept once, whatever number of spans refer to it."""

    message: bytes  # serialised opentelemetry.proto Resource or InstrumentationScope
    schema_url: str


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """The spans of one request, as columns (storage/traces/schema.py, SPAN_COLUMNS), with what they refer to."""

    table: pa.Table
    resources: Mapping[int, Origin]
    scopes: Mapping[int, Origin]
    rejected: Mapping[str, int] = field(default_factory=dict)  # spans left out of it, by reason
    digest: bytes = b""  # of the request, by which one that is sent again is known; empty: not to be known

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)


@dataclass(frozen=True, slots=True)
class LogBatch:
    """The log records of one request, as columns (storage/traces/schema.py, LOG_COLUMNS)."""

    table: pa.Table
    resources: Mapping[int, Origin]
    scopes: Mapping[int, Origin]
    digest: bytes = b""

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)


Batch = SpanBatch | LogBatch


@dataclass(frozen=True, slots=True)
class Resource:
    service: str
    attributes: tuple[Attribute, ...]
    dropped_attributes: int
    schema_url: str


@dataclass(frozen=True, slots=True)
class Scope:
    name: str
    version: str
    attributes: tuple[Attribute, ...]
    dropped_attributes: int
    schema_url: str


@dataclass(frozen=True, slots=True)
class Event:
    time_unix_nano: int
    name: str
    attributes: tuple[Attribute, ...]
    dropped_attributes: int


@dataclass(frozen=True, slots=True)
class Link:
    trace_id: TraceId
    span_id: SpanId
    trace_state: str
    attributes: tuple[Attribute, ...]
    dropped_attributes: int
    flags: int


@dataclass(frozen=True, slots=True)
class Span:
    trace_id: TraceId
    span_id: SpanId
    parent_span_id: SpanId  # 0 for a root
    name: str
    kind: int  # SpanKind, or what a newer OTLP may add
    start_unix_nano: int
    duration_nano: int  # negative if the sender's clock stepped back
    status_code: int
    status_message: str
    trace_state: str
    flags: int
    attributes: tuple[Attribute, ...]
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    dropped_attributes: int
    dropped_events: int
    dropped_links: int
    resource: Resource
    scope: Scope


@dataclass(frozen=True, slots=True)
class Trace:
    trace_id: TraceId
    spans: tuple[Span, ...]  # each span id once, by start


@dataclass(frozen=True, slots=True)
class LogRecord:
    time_unix_nano: int  # 0 if the sender did not know
    observed_unix_nano: int
    severity_number: int
    severity_text: str
    body: Attribute  # its key is empty
    attributes: tuple[Attribute, ...]
    dropped_attributes: int
    trace_id: TraceId  # 0 if none
    span_id: SpanId  # 0 if none
    flags: int
    event_name: str
    resource: Resource
    scope: Scope
