"""
The critical path of a trace: what the time was spent on, without which it would have been faster. Pure.

Jaeger UI's algorithm (TracePage/CriticalPath): from the end of a root backwards, the child that finished last is on the
path; from that child's start, the one that finished last before it, and so on; where there is none, the span itself.
Asynchronous children (producer and consumer spans) are not waited for, so they and what is below them are left out.
Unlike Jaeger's page, a child that ends at the very moment when the next starts is on the path too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from collector.model.ids import SpanId
from collector.model.telemetry import Span, SpanKind
from collector.query.traces.tree import children_of, end_of, roots_of


class Section(NamedTuple):
    """A part of a span that lies on the critical path; never empty."""

    span_id: SpanId
    start_unix_nano: int
    end_unix_nano: int


class _Interval(NamedTuple):
    span_id: SpanId
    start: int
    end: int


def critical_path(spans: Sequence[Span]) -> list[Section]:
    """Of every root, by start. The sections of one root do not overlap, and together last as long as it does."""
    children = children_of(spans)
    sections = [section for root in roots_of(spans) for section in _of_root(root, children)]
    return sorted(sections, key=lambda section: (section.start_unix_nano, section.end_unix_nano))


def critical_nano(sections: Sequence[Section]) -> dict[SpanId, int]:
    """How long each span is on the path; only spans that are."""
    spent: dict[SpanId, int] = {}
    for section in sections:
        spent[section.span_id] = spent.get(section.span_id, 0) + section.end_unix_nano - section.start_unix_nano
    return spent


def _of_root(root: Span, children: dict[SpanId, list[Span]]) -> list[Section]:
    sections: list[Section] = []
    first = _Interval(root.span_id, root.start_unix_nano, end_of(root))
    waiting = [(first, first.end, _within(first, children))]
    seen = {root.span_id}
    while waiting:
        span, until, below = waiting.pop()
        child = _last(below, until, seen)
        begin = span.start if child is None else child.end
        if begin < until:
            sections.append(Section(span.span_id, begin, until))
        if child is not None:
            seen.add(child.span_id)
            waiting.append((span, child.start, below))
            waiting.append((child, child.end, _within(child, children)))
    return sections


def _last(below: list[_Interval], until: int, seen: set[SpanId]) -> _Interval | None:
    """Takes the last to finish by `until`; those that finish later ran beside what is on the path already."""
    while below:
        child = below.pop()
        if child.end <= until and child.span_id not in seen:
            return child
    return None


def _within(parent: _Interval, children: dict[SpanId, list[Span]]) -> list[_Interval]:
    """The children that the parent waits for, cut to its own time, the last to finish at the end of the list."""
    found = []
    for child in children.get(parent.span_id, ()):
        start, end = max(child.start_unix_nano, parent.start), min(end_of(child), parent.end)
        if start <= end and child.kind not in (SpanKind.PRODUCER, SpanKind.CONSUMER):
            found.append(_Interval(child.span_id, start, end))
    return sorted(found, key=lambda one: (one.end, one.start))
