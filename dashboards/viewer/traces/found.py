"""What a search for traces tells of each, whoever was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.viewer.traces.tree import Tree


@dataclass(frozen=True, slots=True)
class Found:
    trace_id: str
    root: str  # service and name
    entry: str  # where the trace came into the service that is looked for, where that is not the root
    start_us: int
    duration_us: int
    spans: int
    errors: int
    services: tuple[str, ...]


def of_tree(tree: Tree, service: str) -> Found:
    """Behind a gateway all roots are alike, so the first span of `service` is told too."""
    entry = next((node for node in tree.nodes if node.service == service), tree.root)
    return Found(
        trace_id=tree.trace_id,
        root=f"{tree.root.service}: {tree.root.name}",
        entry="" if entry is tree.root else f"{service}: {entry.name}",
        start_us=tree.start_us,
        duration_us=tree.duration_us,
        spans=len(tree.nodes),
        errors=tree.errors,
        services=tree.services,
    )


def of_summary(summary: Mapping[str, Any]) -> Found:
    """Of the collector's /api/v1/traces/search; the root may not have come yet."""
    root = f"{summary.get('root_service') or '?'}: {summary.get('root_name') or '?'}"
    return Found(
        trace_id=str(summary["trace_id"]),
        root=root,
        entry="",
        start_us=int(summary["start_unix_nano"]) // 1000,
        duration_us=max(1, int(summary["duration_nano"]) // 1000),
        spans=int(summary["spans"]),
        errors=int(summary["errors"]),
        services=tuple(str(each["name"]) for each in summary.get("services") or []),
    )
