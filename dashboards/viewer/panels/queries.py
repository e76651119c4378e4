"""What a panel shows: its queries asked, their answers named, transformed and put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dashboards.errors import PeerError
from dashboards.viewer.grafana.dashboard import Panel, Target
from dashboards.viewer.grafana.interpolation import builtin, interpolate
from dashboards.viewer.grafana.timerange import Span, parse_interval
from dashboards.viewer.panels.frames import Answer, Frame, frames_of, visible
from dashboards.viewer.panels.records import Edge
from dashboards.viewer.panels.sources import Sources
from dashboards.viewer.panels.transformations import renamed
from dashboards.viewer.peers.prometheus import Exemplar, Prometheus
from dashboards.viewer.traces.tree import Tree

SCRAPE_INTERVAL_S = 1.0  # of the shop; `$__rate_interval` is at least four of it
POINTS_FOR_STATS = 120
NUMBERS = ("stat", "gauge", "bargauge", "barchart", "piechart")  # panels of one number a series, mostly the last
MAX_EXEMPLARS = 2000  # the newest; the chart shows the slowest of each of its columns
TRACE_KINDS = ("jaeger", "tempo")


@dataclass(slots=True)
class _Collected:
    """What the queries of one panel have brought so far."""

    frames: list[Frame] = field(default_factory=list)
    exemplars: list[Exemplar] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    traces: list[Tree] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)


class Queries:
    def __init__(self, prometheus: Prometheus, sources: Sources) -> None:
        self._prometheus = prometheus
        self._sources = sources

    async def answer(
        self, panel: Panel, values: dict[str, list[str]], span: Span, marks: list[dict[str, Any]]
    ) -> Answer:
        """What could not be asked or is not understood is named in `errors`; nothing is raised."""
        points = POINTS_FOR_STATS if panel.kind in NUMBERS else panel.width * 40
        least = max(SCRAPE_INTERVAL_S, parse_interval(str(panel.raw.get("interval") or "").lstrip(">=")) or 0.0)
        step = span.step(points, least)
        all_values = {**values, **builtin(span, step, least)}
        answer = _Collected()
        for target in panel.targets:
            try:
                await self._ask(panel, target, all_values, span, step, answer)
            except PeerError as error:
                answer.errors.append(f"{target.ref_id}: {error}")
        frames = answer.frames
        if panel.kind != "table":  # a table applies them itself, all of them
            frames, unknown = renamed(panel, frames)
            if unknown:
                answer.errors.append(f"The viewer does not apply the transformation “{', '.join(unknown)}” here.")
            frames = visible(frames)
        return Answer(
            frames,
            sorted(answer.exemplars, key=lambda one: one.at)[-MAX_EXEMPLARS:],
            answer.errors,
            span,
            step,
            marks,
            answer.traces,
            answer.records,
            answer.edges,
        )

    async def _ask(
        self,
        panel: Panel,
        target: Target,
        values: dict[str, list[str]],
        span: Span,
        step: float,
        answer: _Collected,
    ) -> None:
        if target.kind in TRACE_KINDS:
            if panel.kind == "nodeGraph" or target.raw.get("queryType") == "dependencyGraph":
                answer.edges += await self._sources.dependencies(span)
            else:
                answer.traces += await self._sources.traces(target, values, span)
        elif target.kind == "loki":
            answer.records += await self._sources.logs(target, values, span)
        elif target.kind not in ("prometheus", "datasource"):
            answer.errors.append(f"{target.ref_id}: the viewer asks no data source of type “{target.kind}”")
        elif target.expr:
            expr = interpolate(target.expr, values, promql=True)
            if target.instant or (target.format == "table" and not target.raw.get("range")):
                series = await self._prometheus.query(expr, span.end)
            else:
                whole = panel.kind not in NUMBERS
                series = await self._prometheus.query_range(expr, span, step, whole_steps=whole)
            answer.frames += frames_of(panel, target, series, values)
            if target.raw.get("exemplar") and panel.kind != "heatmap":
                answer.exemplars += await self._prometheus.exemplars(expr, span)
