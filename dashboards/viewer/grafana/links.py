"""
Links of panels, values and dashboards, with what they point at put in.

Source: grafana.com/docs/grafana/latest/panels-visualizations/configure-data-links.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dashboards.viewer.grafana.interpolation import Values, interpolate
from dashboards.viewer.grafana.timerange import Span

_LABEL = re.compile(r"\$\{__(?:field|series)\.labels\.([^}]+)\}|\$\{__field\.labels\[[\"']([^\"']+)[\"']\]\}")
_CELL = re.compile(r"\$\{__data\.fields\[?[\"'.]*([^\"'\]}]+)[\"']?\]?\}")
_SAFE = re.compile(r"https?://|/(?!/)|#|\?")


@dataclass(frozen=True, slots=True)
class Pointed:
    """What a link points at: one series, or one cell of a table."""

    name: str
    labels: Mapping[str, str]  # of a table's row: its columns
    value: str = ""


def link_of(links: object, pointed: Pointed, values: Values, span: Span) -> tuple[str, str] | None:
    """The title and the address of the first link; None without one that may be followed (http, https, this host)."""
    for each in links if isinstance(links, list) else []:
        if isinstance(each, dict) and each.get("url"):
            url = _filled(str(each["url"]), pointed, values, span, escape=True)
            if _SAFE.match(url):
                return _filled(str(each.get("title") or url), pointed, values, span, escape=False), url
    return None


def panel_links(links: Sequence[Mapping[str, Any]], values: Values, span: Span) -> list[tuple[str, str]]:
    nothing = Pointed("", {})
    found = (link_of([each], nothing, values, span) for each in links)
    return [each for each in found if each is not None]


def _filled(text: str, pointed: Pointed, values: Values, span: Span, *, escape: bool) -> str:
    def written(value: str) -> str:
        return quote(value, safe="") if escape else value

    text = _LABEL.sub(lambda found: written(pointed.labels.get(found[1] or found[2], "")), text)
    text = _CELL.sub(lambda found: written(pointed.labels.get(found[1], "")), text)
    for reference in ("${__series.name}", "${__field.name}", "${__field.displayName}"):
        text = text.replace(reference, written(pointed.name))
    for reference in ("${__value.raw}", "${__value.text}", "${__value.numeric}", "${__value}"):
        text = text.replace(reference, written(pointed.value))
    times = {
        "__from": [str(round(span.start * 1000))],
        "__to": [str(round(span.end * 1000))],
        "__url_time_range": [f"from={round(span.start * 1000)}&to={round(span.end * 1000)}"],
    }
    if "__all_variables" in text:
        pairs = [f"var-{name}={quote(value, safe='')}" for name, chosen in values.items() for value in chosen]
        times["__all_variables"] = ["&".join(pairs)]
    times |= {name: list(values[name]) for name in times if name in values}  # "now-1h" stays what it is, if it is told
    kept = {name: [written(value) for value in chosen] for name, chosen in values.items()} if escape else values
    return interpolate(text, {**kept, **times})
