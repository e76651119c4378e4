"""A trace as a tree: each span below its parent, with the time that was its own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collector.model.ids import SpanId
from collector.model.telemetry import Span


@dataclass(frozen=True, slots=True)
class Node:
    span: Span
    depth: int  # 0 for a root
    self_nano: int  # of its duration, what none of its children covers


def end_of(span: Span) -> int:
    """A span that ends before it starts, because a clock stepped back, is taken to last no time."""
    return span.start_unix_nano + max(0, span.duration_nano)


def roots_of(spans: Sequence[Span]) -> list[Span]:
    """Spans without a parent, or whose parent is not among them; by start."""
    there = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_span_id not in there or span.parent_span_id == span.span_id]
    return sorted(roots, key=_by_start)


def children_of(spans: Sequence[Span]) -> dict[SpanId, list[Span]]:
    """By start."""
    children: dict[SpanId, list[Span]] = {}
    for span in sorted(spans, key=_by_start):
        if span.parent_span_id and span.parent_span_id != span.span_id:
            children.setdefault(span.parent_span_id, []).append(span)
    return children


def tree_of(spans: Sequence[Span]) -> list[Node]:
    """
    Every span once, each followed by what is below it.

    Spans that are each other's ancestors hang together with no root; the earliest of them is shown as one.
    """
    children = children_of(spans)
    nodes: list[Node] = []
    seen: set[SpanId] = set()
    for root in [*roots_of(spans), *sorted(spans, key=_by_start)]:
        waiting = [(root, 0)]
        while waiting:
            span, depth = waiting.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            below = children.get(span.span_id, [])
            nodes.append(Node(span, depth, _self_nano(span, below)))
            waiting += [(child, depth + 1) for child in reversed(below)]
    return nodes


def _by_start(span: Span) -> tuple[int, int, SpanId]:
    return span.start_unix_nano, -span.duration_nano, span.span_id


def _self_nano(span: Span, children: Sequence[Span]) -> int:
    """`children` are by start."""
    covered, until, end = 0, span.start_unix_nano, end_of(span)
    for child in children:
        begin, finish = max(child.start_unix_nano, until), min(end_of(child), end)
        if finish > begin:
            covered += finish - begin
            until = finish
    return end - span.start_unix_nano - covered
