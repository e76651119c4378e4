"""The map of services as SVG: a card for each, placed by how deep it is called, and an arrow for each call."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.panels.records import Edge, depths

ERRORS_WARN, ERRORS_BAD = 0.01, 0.05  # HighErrorRatio fires above 5 %
P99_WARN_S, P99_BAD_S = 0.5, 1.0  # HighRequestLatency fires above 0.5 s, of checkout above 1 s
_CARD_W, _CARD_H = 218, 78
_GAP_X, _GAP_Y = 190, 20  # between columns there is room for the numbers on the arrows
_TALL_GAP_X, _TALL_GAP_Y = 14, 96
_MARGIN = 12
_BULGE = 120  # how far an arrow within one column reaches out


@dataclass(frozen=True, slots=True)
class Service:
    """None is what nobody could tell."""

    name: str
    rate: float | None = None  # requests a second
    errors: float | None = None  # share of them
    p99_s: float | None = None
    ready: int | None = None
    desired: int | None = None
    alerts: tuple[str, ...] = ()
    critical: bool = False  # one of the alerts is

    @property
    def health(self) -> str:
        """`bad`, `warn`, `good`, or `soft` where nothing is asked of it."""
        errors, p99 = self.errors or 0.0, self.p99_s or 0.0
        if self.critical or errors > ERRORS_BAD or p99 > P99_BAD_S or (self.ready == 0 and self.desired):
            return "bad"
        if self.alerts or errors > ERRORS_WARN or p99 > P99_WARN_S or (self.ready or 0) < (self.desired or 0):
            return "warn"
        return "good" if self.rate else "soft"


def of_calls(edges: Sequence[Edge], seconds: float) -> dict[str, Service]:
    """The services that edges alone tell of, with how often each is called."""
    called: dict[str, int] = {}
    for edge in edges:
        called.setdefault(edge.source, 0)
        called[edge.target] = called.get(edge.target, 0) + edge.calls
    return {name: Service(name, rate=calls / seconds if calls else None) for name, calls in called.items()}


@dataclass(frozen=True, slots=True)
class _Place:
    x: float
    y: float
    depth: int

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + _CARD_W / 2, self.y + _CARD_H / 2


def drawn(services: Mapping[str, Service], edges: Sequence[Edge], seconds: float, *, tall: bool) -> str:
    """
    Args:
        edges: Calls counted over so many `seconds`.
        tall: For a narrow screen: calls go from top to bottom.
    """
    places, width, height = _placed(services, edges, tall=tall)
    arrows = "".join(_arrow(edge, places, services, seconds, tall=tall) for edge in edges)
    cards = "".join(_card(services[name], place) for name, place in places.items())
    kind = "tall" if tall else "wide"
    tip = (
        f'<defs><marker id="tip-{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 8 4 0 8z" class="tip"/></marker></defs>'
    )
    return (
        f'<svg class="map {kind}" viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width * 1.1:.0f}px" '
        f'role="group" aria-label="Services and their calls">{tip}{arrows}{cards}</svg>'
    )


def _placed(
    services: Mapping[str, Service], edges: Sequence[Edge], *, tall: bool
) -> tuple[dict[str, _Place], float, float]:
    depth = depths(edges)
    for name in services:
        depth.setdefault(name, max(depth.values(), default=0))
    levels: dict[int, list[str]] = {}
    for name in sorted(name for name in depth if name in services):
        levels.setdefault(depth[name], []).append(name)
    if tall:  # at most two cards beside one another
        lines = [names[at : at + 2] for _, names in sorted(levels.items()) for at in range(0, len(names), 2)]
        width = 2 * _CARD_W + _TALL_GAP_X + 2 * _MARGIN
        placed = {}
        for line, names in enumerate(lines):
            left = (width - len(names) * _CARD_W - (len(names) - 1) * _TALL_GAP_X) / 2
            for column, name in enumerate(names):
                x = left + column * (_CARD_W + _TALL_GAP_X)
                gap = _TALL_GAP_Y if line else 0
                y = _MARGIN + gap + line * (_CARD_H + 3 * _GAP_Y)
                placed[name] = _Place(x, y, depth[name])
        return placed, width, _MARGIN * 2 + _TALL_GAP_Y + len(lines) * (_CARD_H + 3 * _GAP_Y)
    most = max((len(names) for names in levels.values()), default=1)
    height = most * (_CARD_H + _GAP_Y) - _GAP_Y + 2 * _MARGIN
    placed = {}
    for column, names in levels.items():
        top = (height - len(names) * (_CARD_H + _GAP_Y) + _GAP_Y) / 2
        for row, name in enumerate(names):
            placed[name] = _Place(_MARGIN + column * (_CARD_W + _GAP_X), top + row * (_CARD_H + _GAP_Y), column)
    width = _MARGIN * 2 + (max(levels, default=0) + 1) * (_CARD_W + _GAP_X) - _GAP_X + _BULGE
    return placed, width, height


def _arrow(
    edge: Edge, places: Mapping[str, _Place], services: Mapping[str, Service], seconds: float, *, tall: bool
) -> str:
    source, target = places.get(edge.source), places.get(edge.target)
    if source is None or target is None or edge.source == edge.target:
        return ""
    rate = edge.calls / seconds
    thick = 1 + min(3.0, math.log10(1 + rate * 4))
    if tall:
        (x1, y1), (x2, y2) = source.middle, target.middle
        down = y2 > y1
        start, end = (
            (x1, y1 + (_CARD_H / 2 if down else -_CARD_H / 2)),
            (x2, y2 + (-_CARD_H / 2 if down else _CARD_H / 2)),
        )
        shift = 10 if down else -10
        path = f"M{start[0] + shift} {start[1]}L{end[0] + shift} {end[1]}"
        # Beside the card it leads to, where the arrows of others have parted from it.
        label = (end[0] + shift * 2.4, end[1] - 16) if down else (start[0] + shift * 2.4, start[1] - 8)
    elif source.depth == target.depth:
        x, y1, y2 = source.x + _CARD_W, source.middle[1] + 10, target.middle[1] - 10
        bulge = min(_BULGE, 40 + abs(y2 - y1) * 0.25)
        path = f"M{x} {y1}C{x + bulge} {y1} {x + bulge} {y2} {x + 2} {y2}"
        label = (x + bulge * 0.75, (y1 + y2) / 2)
    else:
        forward = source.depth < target.depth
        shift = -7 if forward else 9
        x1 = source.x + (_CARD_W if forward else 0)
        x2 = target.x + (0 if forward else _CARD_W)
        y1, y2 = source.middle[1] + shift, target.middle[1] + shift
        bend = (x2 - x1) / 2
        path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
        # Near where it ends, above what leads there and below what leads back: the two have the same places.
        label = (x1 + (x2 - x1) * 0.74, y1 + (y2 - y1) * 0.9 + (-4 if forward else 14))
    kind, state = "tall" if tall else "wide", services[edge.target].health
    told = f"{edge.source} calls {edge.target}: {edge.calls} calls, {format_value(rate, 'reqps')}"
    return (
        f'<g class="call {state}"><title>{html.escape(told)}</title>'
        f'<path d="{path}" stroke-width="{thick:.1f}" marker-end="url(#tip-{kind})"/>'
        f'<text x="{label[0]:.0f}" y="{label[1]:.0f}">{format_value(rate, "suffix:/s")}</text></g>'
    )


def _card(service: Service, place: _Place) -> str:
    name = html.escape(service.name)
    address = f"/d/steersman-service?var-service={quote(service.name)}" if service.desired is not None else ""
    traces = f"/traces?service={quote(service.name)}"
    replicas = "" if service.desired is None else f"{service.ready} of {service.desired} replicas"
    alerts = f'<tspan class="bad"> ⚠ {html.escape(service.alerts[0])}</tspan>' if service.alerts else ""
    x, y = place.x, place.y
    first = [format_value(service.rate, "reqps")] if service.rate is not None else ["no requests"]
    first += [f"p99 {format_value(service.p99_s, 's')}"] if service.p99_s is not None else []
    second = [f"{format_value(service.errors, 'percentunit')} errors"] if service.errors is not None else []
    second += [replicas] if replicas and not alerts else []
    aria = html.escape(f"{service.name}: {', '.join([*first, *second, *service.alerts])}")
    return (
        f'<g class="card-of {service.health}">'
        f'<a href="{address or traces}" aria-label="{aria}"><title>{aria}</title>'
        f'<rect x="{x}" y="{y}" width="{_CARD_W}" height="{_CARD_H}" rx="10"/>'
        f'<rect class="band" x="{x}" y="{y}" width="6" height="{_CARD_H}" rx="3"/>'
        f'<text class="name" x="{x + 18}" y="{y + 23}">{name}</text>'
        f'<text class="number" x="{x + 18}" y="{y + 43}">{" · ".join(first)}</text>'
        f'<text class="number" x="{x + 18}" y="{y + 62}">{" · ".join(second)}{alerts}</text></a>'
        f'<a href="{traces}" aria-label="Traces of {name}"><text class="traces" x="{x + _CARD_W - 12}" y="{y + 23}" '
        'text-anchor="end">traces</text></a></g>'
    )
