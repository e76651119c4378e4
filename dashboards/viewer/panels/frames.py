"""What a panel's queries returned, ready to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.viewer.grafana.dashboard import Panel, Target
from dashboards.viewer.grafana.interpolation import Values, interpolate, legend
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.panels.field import FieldConfig, configured
from dashboards.viewer.panels.records import Edge
from dashboards.viewer.peers.prometheus import Exemplar, Series
from dashboards.viewer.traces.tree import Tree


@dataclass(frozen=True, slots=True)
class Frame:
    """One series as its panel shows it."""

    config: FieldConfig
    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]
    ref_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything one refresh has brought for one panel."""

    frames: Sequence[Frame]
    exemplars: Sequence[Exemplar]
    errors: Sequence[str]
    span: Span
    step: float
    annotations: Sequence[Mapping[str, Any]] = ()  # as Grafana's API has them
    traces: Sequence[Tree] = ()  # newest first
    records: Sequence[Mapping[str, Any]] = ()  # of logs, newest first, as the collector has them
    edges: Sequence[Edge] = ()


def frames_of(panel: Panel, target: Target, series: Sequence[Series], values: Values) -> list[Frame]:
    found = []
    for each in series:
        name = interpolate(legend(target.legend, each.labels), values)
        found.append(Frame(configured(panel, name, target.ref_id), each.labels, each.points, target.ref_id))
    return found


def visible(frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in frames if not frame.config.hidden]
