"""
The tree of a trace filter: `{service = "checkout" && duration > 300ms} >> {status = error} | count() > 2`.

A condition is about one span; a spanset expression combines sets of spans of one trace; a stage keeps the traces whose
spanset satisfies an aggregate. Source of the language: TraceQL (grafana.com/docs/tempo/latest/traceql).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Scope(Enum):
    """Where an attribute is looked for."""

    ANY = ""  # on the span, else on its resource
    SPAN = "span"
    RESOURCE = "resource"
    EVENT = "event"  # on any event of the span


class Intrinsic(Enum):
    """What every span or trace has, by TraceQL's name without its prefix."""

    NAME = "name"
    DURATION = "duration"
    STATUS = "status"
    STATUS_MESSAGE = "statusMessage"
    KIND = "kind"
    SERVICE = "service"
    SPAN_ID = "span:id"
    PARENT_ID = "span:parentID"
    TRACE_ID = "trace:id"
    ROOT_NAME = "rootName"
    ROOT_SERVICE = "rootServiceName"
    TRACE_DURATION = "traceDuration"
    EVENT_NAME = "event:name"
    SCOPE_NAME = "instrumentation:name"
    SCOPE_VERSION = "instrumentation:version"


@dataclass(frozen=True, slots=True)
class AttributeField:
    scope: Scope
    name: str


Field = AttributeField | Intrinsic


@dataclass(frozen=True, slots=True)
class Duration:
    nano: int


# A word is one of a closed list (error, server); text is quoted.
@dataclass(frozen=True, slots=True)
class Word:
    text: str


Value = str | int | float | bool | Duration | Word | None  # None: nil


class Op(Enum):
    EQ = "="
    NE = "!="
    GT = ">"
    GE = ">="
    LT = "<"
    LE = "<="
    MATCH = "=~"
    NOT_MATCH = "!~"


@dataclass(frozen=True, slots=True)
class Comparison:
    field: Field
    op: Op
    value: Value


@dataclass(frozen=True, slots=True)
class Constant:
    value: bool


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


Condition = Comparison | Constant | All | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans of which the condition is true."""

    condition: Condition


class Relation(Enum):
    """How a span of the right side, which is the result, stands to one of the left."""

    DESCENDANT = ">>"
    CHILD = ">"
    ANCESTOR = "<<"
    PARENT = "<"
    SIBLING = "~"


@dataclass(frozen=True, slots=True)
class Related:
    left: Spanset
    relation: Relation
    negated: bool  # the spans of the right side that stand so to none of the left
    right: Spanset


@dataclass(frozen=True, slots=True)
class Both:
    """The spans of all parts, of traces that have every one."""

    parts: tuple[Spanset, ...]


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple[Spanset, ...]


Spanset = Spans | Related | Both | Either


class Aggregate(Enum):
    COUNT = "count"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class Stage:
    """Keeps a trace if the aggregate over its matched spans compares so."""

    aggregate: Aggregate
    field: Field | None  # None for count
    op: Op
    value: int | float | Duration


@dataclass(frozen=True, slots=True)
class Filter:
    spanset: Spanset
    stages: tuple[Stage, ...] = ()
