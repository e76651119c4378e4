"""Traces as data for the browser: `/trace-data/ID`, and one span of it with its logs. Reading only."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import httpx
from fastapi import APIRouter, HTTPException

from dashboards.errors import PeerError
from dashboards.viewer.peers.client import ask
from dashboards.viewer.peers.jaeger import Jaeger
from dashboards.viewer.traces.columns import columns, details
from dashboards.viewer.traces.tree import Tree, build_tree

TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")
KEPT = 4  # traces that were looked at last; one of 5,000 spans is some 10 MB
FRESH_S = 20.0  # a trace may still grow; who opens it again sees what has come
GROWING_S = 10.0  # after its last span: exporters send every one to five seconds, and not all at once
GROWING_FRESH_S = 1.0  # until then
MAX_LOGS = 50  # of one span
AROUND_S = 5.0  # the clock of a log record may differ from the span's


class Traces:
    """Trees by trace id, asked of Jaeger and kept for a moment. Methods raise PeerError."""

    def __init__(
        self,
        jaeger: Jaeger,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._jaeger = jaeger
        self._clock = clock
        self._wall_clock = wall_clock
        self._kept: OrderedDict[str, tuple[float, Tree]] = OrderedDict()  # with the moment until which it is fresh

    async def tree(self, trace_id: str) -> Tree:
        now = self._clock()
        if trace_id in self._kept and now < self._kept[trace_id][0]:
            return self._kept[trace_id][1]
        tree = build_tree(await self._jaeger.trace(trace_id))
        if tree is None:
            raise PeerError(f"trace {trace_id} has no spans", 404)
        self._kept[trace_id] = (now + (GROWING_FRESH_S if self.may_grow(tree) else FRESH_S), tree)
        self._kept.move_to_end(trace_id)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return tree

    def may_grow(self, tree: Tree) -> bool:
        """Whether spans of it may still be on their way."""
        return self._wall_clock() - (tree.start_us + tree.duration_us) / 1e6 < GROWING_S


def trace_data_router(traces: Traces, client: httpx.AsyncClient, *, logs_url: str) -> APIRouter:
    router = APIRouter(prefix="/trace-data")

    async def tree_of(trace_id: str) -> Tree:
        if not TRACE_ID.fullmatch(trace_id):
            raise HTTPException(400, f"a trace id has up to 32 hexadecimal digits, this has not: {trace_id[:80]!r}")
        try:
            return await traces.tree(trace_id.lower())
        except PeerError as error:
            raise HTTPException(404 if error.status == 404 else 502, str(error)) from error

    @router.get("/{trace_id}")
    async def trace(trace_id: str) -> dict[str, Any]:
        return columns(await tree_of(trace_id))

    @router.get("/{trace_id}/{row}")
    async def span(trace_id: str, row: int) -> dict[str, Any]:
        tree = await tree_of(trace_id)
        try:
            found = details(tree, row)
        except IndexError:
            raise HTTPException(404, f"trace {trace_id} has {len(tree.nodes)} spans, no row {row}") from None
        return found | {"logs": await _logs(client, logs_url, tree, found["span_id"])}

    return router


async def _logs(client: httpx.AsyncClient, url: str, tree: Tree, span_id: str) -> list[dict[str, Any]]:
    """Oldest first; nothing where no collector of ours keeps logs."""
    start = tree.start_us / 1e6
    parameters = {
        "trace_id": tree.trace_id.zfill(32),
        "span_id": span_id.zfill(16),
        "start": f"{max(0.0, start - AROUND_S):.3f}",
        "end": f"{start + tree.duration_us / 1e6 + AROUND_S:.3f}",
        "limit": str(MAX_LOGS),
    }
    try:
        body = await ask(client, "GET", f"{url}/api/v1/logs", params=parameters)
    except PeerError:
        return []
    records = body.get("data") if isinstance(body, dict) else None
    return [
        {
            "at_us": int(record.get("time_unix_nano") or 0) // 1000 - tree.start_us,
            "severity": str(record.get("severity_text") or ""),
            "body": str(record.get("body")),
        }
        for record in reversed(records or [])
    ]
