"""One alerting rule: what it says now, and what it went through, from the series that it left behind."""

from __future__ import annotations

import datetime as dt
import html
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from nicegui import ui

from dashboards.errors import PeerError
from dashboards.viewer.grafana.timerange import Span, span_of
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.alert_tabs import alert_tabs
from dashboards.viewer.pages.shell import is_dark, page
from dashboards.viewer.pages.silences import of_labels
from dashboards.viewer.panels.canvas import Canvas
from dashboards.viewer.panels.marked_chart import Band, Points, marked_chart, with_gaps
from dashboards.viewer.peers.prometheus import Prometheus, Series

RANGES = {
    "now-15m": "15 minutes",
    "now-1h": "1 hour",
    "now-6h": "6 hours",
    "now-24h": "24 hours",
    "now-2d": "2 days",
    "now-7d": "7 days",
}
DEFAULT_RANGE = "now-6h"
CLOSER = ("now-15m", "now-1h")  # instead of the default, where all that the rule went through lies within it
POINTS = 1500
MAX_LANES, MAX_EPISODES, MAX_LINES = 30, 100, 12
REFRESH_S = 10.0
COLOURS = {"firing": "#e5484d", "pending": "#e3a008"}
_ORDER = {"firing": 0, "pending": 1, "inactive": 2}
STATE_STYLES = {"firing": "bad", "pending": "warn", "inactive": "good"}


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert, in one state without a break. Unix seconds; as exact as the steps that were asked for."""

    labels: tuple[tuple[str, str], ...]
    state: str
    start: float
    end: float


def episodes(series: Sequence[Series], step: float) -> list[Episode]:
    """From `ALERTS` over a range: newest first. A gap of more than a step and a half ends one and begins another."""
    found = []
    for one in series:
        labels = tuple(
            sorted((k, v) for k, v in one.labels.items() if k not in ("__name__", "alertstate", "alertname"))
        )
        state = one.labels.get("alertstate", "")
        begin = before = None
        for at, _ in one.points:
            if before is not None and begin is not None and at - before > 1.5 * step:
                found.append(Episode(labels, state, begin, before + step))
                begin = at
            begin = at if begin is None else begin
            before = at
        if begin is not None and before is not None:
            found.append(Episode(labels, state, begin, before + step))
    return sorted(found, key=lambda each: each.start, reverse=True)


class AlertRulePage:
    def __init__(self, prometheus: Prometheus, asked: Mapping[str, str]) -> None:
        self._prometheus = prometheus
        self._name = asked.get("name", "")[:200]
        self._service = asked.get("service", "")[:200]
        self._wanted = asked.get("from") if asked.get("from") in RANGES else None
        self._range = self._wanted or DEFAULT_RANGE

    async def build(self) -> None:
        if self._wanted is None:
            await self._come_closer()
        with page(self._name or "Rule", "alerts"):
            alert_tabs("alerts")
            with ui.element("div").classes("bar-top"):
                ui.html(f'<h1 class="title">{html.escape(self._name)}</h1>', sanitize=False)
                ui.element("div").classes("grow")
                ui.select(
                    RANGES,
                    value=self._range,
                    label="Range",
                    on_change=lambda event: ui.navigate.to(self._address(str(event.value))),
                ).props("outlined dense options-dense")
            self._lanes = ui.html("", sanitize=False).classes("card q-mt-sm").style("width: 100%")
            with ui.element("div").classes("card q-mt-sm").style("width: 100%") as self._yielded:
                ui.html("<h2>What the expression yielded</h2>", sanitize=False)
                self._chart = Canvas()
                self._chart.element.style("height: 240px; width: 100%")
            self._episodes = (
                ui.html("", sanitize=False).classes("card scroll-x q-mt-sm").props("tabindex=0").style("width: 100%")
            )
            ui.html('<h2 class="title q-my-sm">The rules of this name</h2>', sanitize=False)
            self._now = ui.html("", sanitize=False).style("width: 100%")
            await self._refresh()
        ui.timer(REFRESH_S, self._refresh, immediate=False)

    def _address(self, start: str) -> str:
        return f"/alerts/rule?{urlencode({'name': self._name, 'service': self._service, 'from': start})}"

    async def _come_closer(self) -> None:
        """What lasted a minute is a hair in six hours."""
        now = time.time()
        span = span_of(self._range, "now", now) or Span(now - 3600, now)
        try:
            found = await self._episodes_of(span)
        except PeerError:
            return  # the page says it
        if found:
            first = min(one.start for one in found)
            closer = (start for start in CLOSER if (each := span_of(start, "now", now)) and each.start < first)
            self._range = next(closer, self._range)

    async def _episodes_of(self, span: Span) -> list[Episode]:
        step = max(1.0, span.seconds // POINTS)
        name = self._name.replace("\\", "\\\\").replace('"', '\\"')
        series = await self._prometheus.query_range(f'ALERTS{{alertname="{name}"}}', span, step)
        return episodes([one for one in series if not self._service or self._is_of_service(one.labels)], step)

    async def _refresh(self) -> None:
        now = time.time()
        span = span_of(self._range, "now", now) or Span(now - 3600, now)
        try:
            groups = await self._prometheus.rule_groups()
            found = await self._episodes_of(span)
        except PeerError as error:
            self._now.content = f'<p class="bad">{html.escape(str(error))}</p>'
            return
        rules = [
            (group, rule)
            for group in groups
            for rule in group.get("rules", [])
            if rule.get("name") == self._name and self._is_of_service(rule.get("labels") or {})
        ]
        rules.sort(key=lambda pair: _ORDER.get(str(pair[1].get("state")), 3))
        self._now.content = "".join(_rule(group, rule) for group, rule in rules) or (
            '<div class="card">No rule of that name is in force.</div>'
        )
        self._lanes.content = _lanes(found, span)
        self._episodes.content = _table(found)
        await self._draw(rules, found, span)

    def _is_of_service(self, labels: Mapping[str, str]) -> bool:
        return not self._service or labels.get("service", self._service) == self._service

    async def _draw(self, rules: Sequence[Any], found: Sequence[Episode], span: Span) -> None:
        lines: list[tuple[str, Points]] = []
        step = max(1.0, span.seconds // 400)
        for _, rule in rules[:3]:
            try:
                yielded = await self._prometheus.query_range(str(rule.get("query")), span, step)
            except PeerError:
                continue  # the lanes above say what there is to say
            lines += [(_labels(one.labels.items()), with_gaps(one.points, step)) for one in yielded]
        self._yielded.set_visibility(bool(lines))  # an expression that compares yields nothing while all is well
        bands = [Band(one.start, one.end, COLOURS[one.state]) for one in found if one.state in COLOURS]
        options = marked_chart(
            lines[:MAX_LINES],
            unit="",
            dark=is_dark(),
            clock=True,
            bands=bands[:MAX_EPISODES],
            x_range=(span.start, span.end),
        )
        self._chart.draw(options)


def _rule(group: Mapping[str, Any], rule: Mapping[str, Any]) -> str:
    state, file = str(rule.get("state")), str(group.get("file") or "")
    labels = "".join(
        f'<span class="pill soft">{html.escape(name)}={html.escape(str(value))}</span> '
        for name, value in sorted((rule.get("labels") or {}).items())
    )
    error = f'<div class="bad">{html.escape(str(rule["lastError"]))}</div>' if rule.get("lastError") else ""
    query = str(rule.get("query") or "")
    wanted = {"file": file, "alert": str(rule.get("name"))}
    silence = quote(of_labels({"alertname": str(rule.get("name")), **_fixed(rule)}))
    return (
        f'<div class="card q-mb-sm"><span class="pill {STATE_STYLES.get(state, "soft")}">{html.escape(state)}</span> '
        f"for {format_value(float(rule.get('duration') or 0), 's')} {labels}{error}"
        f'<div class="mono q-mt-sm wrap">{html.escape(query)}</div><div class=links>'
        f'<a href="/explore?expr={quote(query)}">on a chart</a><a href="/rules?{urlencode(wanted)}">edit</a>'
        f'<a href="/silences?matchers={silence}">silence</a>'
        f'<span class="soft">{html.escape(file)}, group {html.escape(str(group.get("name")))}</span></div></div>'
    )


def _fixed(rule: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in (rule.get("labels") or {}).items() if "{{" not in str(value)}


def _labels(pairs: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(pairs) if name != "__name__") or "value"


def _lanes(found: Sequence[Episode], span: Span) -> str:
    """A lane for each alert, amber while it was pending, red while it fired."""
    lanes: dict[tuple[tuple[str, str], ...], list[Episode]] = {}
    for one in found:
        lanes.setdefault(one.labels, []).append(one)
    if not lanes:
        return '<div class="good">It was neither pending nor firing in this time.</div>'
    rows = []
    for labels, parts in list(lanes.items())[:MAX_LANES]:
        bars = "".join(
            f'<i style="left:{(one.start - span.start) / span.seconds:.3%};'
            f"width:max(2px,{(min(one.end, span.end) - one.start) / span.seconds:.3%});"
            f'background:{COLOURS.get(one.state, "#888")}" title="{one.state} {_clock(one.start)}"></i>'
            for one in sorted(parts, key=lambda each: each.state == "firing")
        )
        rows.append(f'<span class="who">{html.escape(_labels(labels))}</span><span class="lane">{bars}</span>')
    ticks = "".join(
        f'<span style="left:{place:.0%}">{_clock(span.start + place * span.seconds)}</span>'
        for place in (0, 0.25, 0.5, 0.75, 1)
    )
    more = f'<div class="soft">{len(lanes) - MAX_LANES} more</div>' if len(lanes) > MAX_LANES else ""
    longest = max(len(_labels(labels)) for labels in lanes)
    return f'<div class="lanes" style="--who:{longest}">{"".join(rows)}<div class="axis">{ticks}</div></div>{more}'


def _table(found: Sequence[Episode]) -> str:
    fired = [one for one in found if one.state == "firing"]
    if not fired:
        return "<div class=soft>It did not fire in this time.</div>"
    rows = "".join(
        f'<tr><td class="mono nowrap">{_moment(one.start)}</td>'
        f"<td class=number>{format_value(one.end - one.start, 's')}</td>"
        f"<td>{html.escape(_labels(one.labels))}</td><td>{_links(one)}</td></tr>"
        for one in fired[:MAX_EPISODES]
    )
    head = "<tr><th>Fired</th><th class=number>For</th><th>Labels</th><th></th></tr>"
    return f'<table class="plain cards-on-phone"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _links(one: Episode) -> str:
    service = quote(dict(one.labels).get("service") or dict(one.labels).get("job") or "")
    if not service:
        return ""
    window = f"from={int(one.start * 1000) - 120_000}&to={int(one.end * 1000) + 120_000}"
    return (
        f'<div class="links row"><a href="/d/steersman-service?var-service={service}&{window}">the service then</a>'
        f'<a href="/remediations?service={service}">what was done</a></div>'
    )


def _clock(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).astimezone().strftime("%H:%M")


def _moment(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).astimezone().strftime("%m-%d %H:%M:%S")
