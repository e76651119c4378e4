"""A trace as columns, for the page that draws it: short, for thousands of spans; details are asked for one by one."""

from __future__ import annotations

from typing import Any

from dashboards.viewer.panels.colours import of_series
from dashboards.viewer.traces.tree import Node, Tree

MAX_SPANS = 50_000  # some 3 MB; beyond, a browser has more to hold than a person to see


def columns(tree: Tree) -> dict[str, Any]:
    """
    Rows are in the order of a waterfall. Times are microseconds, starts since the trace's own; `parent` is a row or -1.
    """
    nodes = tree.nodes[:MAX_SPANS]
    rows = {id(node): row for row, node in enumerate(nodes)}
    parents = [-1] * len(nodes)
    for row, node in enumerate(nodes):
        for child in node.children:
            if id(child) in rows:
                parents[rows[id(child)]] = row
    services = {name: number for number, name in enumerate(tree.services)}
    names = {name: number for number, name in enumerate(dict.fromkeys(node.name for node in nodes))}
    return {
        "trace_id": tree.trace_id,
        "duration_us": tree.duration_us,
        "services": list(services),
        "colours": [of_series(number) for number in range(len(services))],
        "names": list(names),
        "left_out": len(tree.nodes) - len(nodes),
        "parent": parents,
        "service": [services[node.service] for node in nodes],
        "name": [names[node.name] for node in nodes],
        "start": [node.start_us - tree.start_us for node in nodes],
        "duration": [node.duration_us for node in nodes],
        "self": [node.self_us for node in nodes],
        "critical": [node.critical_us for node in nodes],
        "depth": [node.depth for node in nodes],
        "failed": [int(node.failed) for node in nodes],
        "events": [len(node.logs) for node in nodes],
    }


def details(tree: Tree, row: int) -> dict[str, Any]:
    """
    Everything of one span but its logs, which another peer has.

    Raises:
        IndexError: no such row.
    """
    if not 0 <= row < len(tree.nodes):
        raise IndexError(row)
    node = tree.nodes[row]
    return {
        "span_id": node.span_id,
        "service": node.service,
        "name": node.name,
        "start_us": node.start_us - tree.start_us,
        "duration_us": node.duration_us,
        "self_us": node.self_us,
        "critical_us": node.critical_us,
        "attributes": _texts(node.tags),
        "resource": _texts(node.process),
        "events": [_event(log, tree, node) for log in node.logs],
        "links": [{"trace_id": trace, "span_id": span} for trace, span in node.links],
        "warnings": [str(text) for text in node.warnings],
    }


def _event(log: Any, tree: Tree, node: Node) -> dict[str, Any]:
    fields = {str(field.get("key")): field.get("value") for field in log.get("fields") or []}
    return {"at_us": int(log.get("timestamp") or node.start_us) - tree.start_us, "fields": _texts(fields)}


def _texts(pairs: Any) -> list[list[str]]:
    return [[str(key), str(value)] for key, value in sorted(pairs.items(), key=lambda pair: str(pair[0]))]
