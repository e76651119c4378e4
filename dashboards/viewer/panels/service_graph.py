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
_MARGIN = 8
_BULGE = 120  # how far an arrow within one column reaches out
_LETTER = 7.2  # pixels that a bold letter of 12 px takes at most, so that an alert's name does not leave its card


@dataclass(frozen=True, slots=True)
class _Card:
    """Pixels; between columns, and between the rows of the tall form, there is room for the numbers on the arrows."""

    width: int
    height: int
    gap_x: int
    gap_y: int


_WIDE, _TALL = _Card(218, 78, 190, 20), _Card(172, 96, 14, 56)  # two tall ones fill a phone of 390 px, unscaled
# What a card is marked with beside its colour, which not everybody tells apart; 12 by 12, from the top left.
_MARKS = {
    "warn": "M6 0 12 12H0z",
    "bad": "M3.5 0h5L12 3.5v5L8.5 12h-5L0 8.5v-5z",
}


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
    card: _Card

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.card.width / 2, self.y + self.card.height / 2


def key() -> str:
    """HTML: what the colours and marks of `Service.health` mean."""
    slow, worse = format_value(P99_WARN_S, "s"), format_value(P99_BAD_S, "s")
    failing, many = format_value(ERRORS_WARN, "percentunit"), format_value(ERRORS_BAD, "percentunit")
    meanings = {
        "good": "well",
        "warn": f"strained: p99 over {slow}, over {failing} errors, an alert, or too few replicas",
        "bad": f"critical: p99 over {worse}, over {many} errors, a critical alert, or no replica",
        "soft": "nothing is asked of it",
    }
    plain = "M2 0h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H2a2 2 0 0 1-2-2V2a2 2 0 0 1 2-2z"
    return "".join(
        f'<span><svg viewBox="0 0 12 12" class="{state}" aria-hidden="true"><path class="band" '
        f'd="{_MARKS.get(state, plain)}"/></svg>{html.escape(words)}</span>'
        for state, words in meanings.items()
    )


def both_forms(services: Mapping[str, Service], edges: Sequence[Edge], seconds: float) -> str:
    """HTML: for wide and for narrow screens; the styles show one of them."""
    return "".join(
        f'<div class="{look}">{drawn(services, edges, seconds, tall=tall)}</div>'
        for look, tall in (("wide-only", False), ("tall-only", True))
    )


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
    card = _TALL if tall else _WIDE
    if tall:  # at most two cards beside one another
        lines = [names[at : at + 2] for _, names in sorted(levels.items()) for at in range(0, len(names), 2)]
        width = 2 * card.width + card.gap_x + 2 * _MARGIN
        placed = {}
        for line, names in enumerate(lines):
            left = (width - len(names) * card.width - (len(names) - 1) * card.gap_x) / 2
            for column, name in enumerate(names):
                x = left + column * (card.width + card.gap_x)
                placed[name] = _Place(x, _MARGIN + line * (card.height + card.gap_y), depth[name], card)
        return placed, width, 2 * _MARGIN + len(lines) * (card.height + card.gap_y) - card.gap_y
    most = max((len(names) for names in levels.values()), default=1)
    height = most * (card.height + card.gap_y) - card.gap_y + 2 * _MARGIN
    placed = {}
    for column, names in levels.items():
        top = (height - len(names) * (card.height + card.gap_y) + card.gap_y) / 2
        x = _MARGIN + column * (card.width + card.gap_x)
        for row, name in enumerate(names):
            placed[name] = _Place(x, top + row * (card.height + card.gap_y), column, card)
    width = _MARGIN * 2 + (max(levels, default=0) + 1) * (card.width + card.gap_x) - card.gap_x + _BULGE
    return placed, width, height


def _arrow(
    edge: Edge, places: Mapping[str, _Place], services: Mapping[str, Service], seconds: float, *, tall: bool
) -> str:
    source, target = places.get(edge.source), places.get(edge.target)
    if source is None or target is None or edge.source == edge.target:
        return ""
    rate = edge.calls / seconds
    thick = 1 + min(3.0, math.log10(1 + rate * 4))
    card_w, card_h = source.card.width, source.card.height
    if tall:
        (x1, y1), (x2, y2) = source.middle, target.middle
        down = y2 > y1
        start, end = (
            (x1, y1 + (card_h / 2 if down else -card_h / 2)),
            (x2, y2 + (-card_h / 2 if down else card_h / 2)),
        )
        shift = 10 if down else -10
        path = f"M{start[0] + shift} {start[1]}L{end[0] + shift} {end[1]}"
        # Beside the card it leads to, where the arrows of others have parted from it.
        label = (end[0] + shift * 2.4, end[1] - 16) if down else (start[0] + shift * 2.4, start[1] - 8)
    elif source.depth == target.depth:
        x, y1, y2 = source.x + card_w, source.middle[1] + 10, target.middle[1] - 10
        bulge = min(_BULGE, 40 + abs(y2 - y1) * 0.25)
        path = f"M{x} {y1}C{x + bulge} {y1} {x + bulge} {y2} {x + 2} {y2}"
        label = (x + bulge * 0.75, (y1 + y2) / 2)
    else:
        forward = source.depth < target.depth
        shift = -7 if forward else 9
        x1 = source.x + (card_w if forward else 0)
        x2 = target.x + (0 if forward else card_w)
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
    card, x, y = place.card, place.x, place.y
    name = html.escape(service.name)
    traces = f"/traces?service={quote(service.name)}"
    address = f"/d/steersman-service?var-service={quote(service.name)}" if service.desired is not None else traces
    first, second = _numbers(service, unit="reqps" if card is _WIDE else "suffix:/s")
    aria = html.escape(f"{service.name}: {', '.join([*first, *second, *service.alerts])}")
    mark = _MARKS.get(service.health)
    drawn_mark = f'<path class="band" transform="translate({x + 18} {y + 12})" d="{mark}"/>' if mark else ""
    words = html.escape(" · ".join(second))
    if service.alerts:
        words = f'<tspan class="bad">{html.escape(_alerts(service.alerts, int((card.width - 28) / _LETTER)))}</tspan>'
    band = f"M{x + 6} {y + 0.8}A10 10 0 0 0 {x} {y + 10}v{card.height - 20}a10 10 0 0 0 6 9.2z"
    # The way to the traces: at the right of the name, or below the numbers, with as much room as a finger needs.
    link_x, link_y = (x + card.width - 12, y + 23) if card is _WIDE else (x + 66, y + 84)
    return (
        f'<g class="card-of {service.health}">'
        f'<a href="{address}" aria-label="{aria}"><title>{aria}</title>'
        f'<rect class="box" x="{x}" y="{y}" width="{card.width}" height="{card.height}" rx="10"/>'
        f'<path class="band" d="{band}"/>{drawn_mark}'
        f'<text class="name" x="{x + (36 if mark else 18)}" y="{y + 23}">{name}</text>'
        f'<text class="number" x="{x + 18}" y="{y + 43}">{html.escape(" · ".join(first))}</text>'
        f'<text class="number" x="{x + 18}" y="{y + 62}">{words}</text></a>'
        f'<a href="{traces}" aria-label="Traces of {name}">'
        f'<rect class="touch" x="{link_x - 54}" y="{link_y - 17}" width="60" height="28"/>'
        f'<text class="traces" x="{link_x}" y="{link_y}" text-anchor="end">traces</text></a></g>'
    )


def _numbers(service: Service, *, unit: str) -> tuple[list[str], list[str]]:
    first = [format_value(service.rate, unit)] if service.rate is not None else ["no requests"]
    first += [f"p99 {format_value(service.p99_s, 's')}"] if service.p99_s is not None else []
    second = [f"{format_value(service.errors, 'percentunit')} errors"] if service.errors is not None else []
    second += [f"{service.ready}/{service.desired} replicas"] if service.desired is not None else []
    return first, second


def _alerts(names: Sequence[str], letters: int) -> str:
    """The first by name, and how many more there are, in so many letters."""
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    room = letters - len(more) - 2
    first = names[0] if len(names[0]) <= room else names[0][: room - 1] + "…"
    return f"⚠ {first}{more}"
