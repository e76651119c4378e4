"""
One trace of Jaeger's JSON (version 1), as a tree of spans with self times and the critical path.

Microseconds throughout, as Jaeger has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Node:
    span_id: str
    service: str
    name: str
    start_us: int
    duration_us: int
    tags: Mapping[str, Any]
    logs: Sequence[Mapping[str, Any]]
    process: Mapping[str, Any]  # the resource's attributes
    warnings: Sequence[str]
    links: Sequence[tuple[str, str]] = ()  # trace and span ids of what it follows from
    depth: int = 0
    self_us: int = 0  # not covered by any child
    critical_us: int = 0  # its part of the critical path
    children: list[Node] = field(default_factory=list)

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us

    @property
    def failed(self) -> bool:
        return str(self.tags.get("error")).lower() == "true"


@dataclass(frozen=True, slots=True)
class Tree:
    trace_id: str
    nodes: tuple[Node, ...]  # in the order of a waterfall: a parent, then its children by their start
    start_us: int
    duration_us: int
    services: tuple[str, ...]  # in the order of their first span

    @property
    def root(self) -> Node:
        return self.nodes[0]

    @property
    def errors(self) -> int:
        return sum(node.failed for node in self.nodes)


def build_tree(trace: Mapping[str, Any]) -> Tree | None:
    """None for a trace without spans. A span whose parent is missing stands as a root of its own."""
    processes = trace.get("processes") or {}
    nodes: dict[str, Node] = {}
    parents: dict[str, str] = {}
    for span in trace.get("spans") or []:
        process = processes.get(span.get("processID")) or {}
        node = Node(
            span_id=str(span["spanID"]),
            service=str(process.get("serviceName") or "?"),
            name=str(span.get("operationName") or ""),
            start_us=int(span.get("startTime") or 0),
            duration_us=max(0, int(span.get("duration") or 0)),
            tags={tag["key"]: tag.get("value") for tag in span.get("tags") or []},
            logs=span.get("logs") or [],
            process={tag["key"]: tag.get("value") for tag in process.get("tags") or []},
            warnings=span.get("warnings") or [],
            links=[
                (str(each.get("traceID")), str(each.get("spanID")))
                for each in span.get("references") or []
                if each.get("refType") == "FOLLOWS_FROM"
            ],
        )
        nodes[node.span_id] = node
        for reference in span.get("references") or []:
            if reference.get("refType") == "CHILD_OF" and reference.get("spanID") != node.span_id:
                parents[node.span_id] = str(reference["spanID"])
    if not nodes:
        return None
    roots = _linked(nodes, parents)
    ordered = _ordered(roots)
    for node in ordered:
        node.self_us = node.duration_us - _covered(node)
    _mark_critical(roots[0])
    start = min(node.start_us for node in ordered)
    return Tree(
        trace_id=str(trace.get("traceID") or ""),
        nodes=tuple(ordered),
        start_us=start,
        duration_us=max(1, max(node.end_us for node in ordered) - start),
        services=tuple(dict.fromkeys(node.service for node in ordered)),
    )


def _linked(nodes: Mapping[str, Node], parents: Mapping[str, str]) -> list[Node]:
    """The roots by their start; what is in a circle is cut at its earliest span."""
    roots = [node for node in nodes.values() if parents.get(node.span_id) not in nodes]
    for node in nodes.values():
        parent = nodes.get(parents.get(node.span_id, ""))
        if parent is not None:
            parent.children.append(node)
    reached = {id(node) for node in _ordered(sorted(roots, key=_place))}
    for node in sorted(nodes.values(), key=_place):
        if id(node) not in reached:
            parent = nodes[parents[node.span_id]]
            parent.children.remove(node)
            roots.append(node)
            reached |= {id(each) for each in _ordered([node])}
    return sorted(roots, key=_place)


def _place(node: Node) -> tuple[int, int, str]:
    return node.start_us, -node.duration_us, node.span_id


def _ordered(roots: Sequence[Node]) -> list[Node]:
    found: list[Node] = []
    waiting = [(root, 0) for root in reversed(roots)]
    while waiting:
        node, depth = waiting.pop()
        node.depth = depth
        found.append(node)
        node.children.sort(key=_place)
        waiting += [(child, depth + 1) for child in reversed(node.children)]
    return found


def _covered(node: Node) -> int:
    """How much of a span its children cover, overlaps once, and only what lies within it."""
    total, reached = 0, node.start_us
    for child in node.children:
        low, high = max(child.start_us, reached), min(child.end_us, node.end_us)
        if high > low:
            total += high - low
            reached = high
    return total


def _mark_critical(root: Node) -> None:
    """
    Walk back from the root's end: at each moment, the last child to have ended is what the parent waited for.

    A child that outlasts its parent, as one does that writes its last byte while its caller is already done, counts
    up to the parent's end. Nobody waits for who takes a message off a queue.
    Source: Jaeger UI, packages/jaeger-ui/src/components/TracePage/CriticalPath, sanitizeOverFlowingChildren.
    """
    waiting = [(root, root.start_us, root.end_us)]
    while waiting:
        node, start, moment = waiting.pop()
        for child in sorted(node.children, key=lambda each: each.end_us, reverse=True):
            low, high = max(child.start_us, start), min(child.end_us, moment)
            if high <= low or child.tags.get("span.kind") == "consumer":
                continue
            node.critical_us += moment - high
            waiting.append((child, low, high))
            moment = low
        node.critical_us += max(0, moment - start)
