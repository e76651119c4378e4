"""The values that a dashboard's variables can have, asked of Prometheus."""

from __future__ import annotations

import re

from dashboards.errors import PeerError
from dashboards.viewer.grafana.dashboard import Variable
from dashboards.viewer.grafana.interpolation import ALL, Values, interpolate
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.peers.prometheus import Prometheus

MAX_CHOICES = 1000
_LABEL_VALUES = re.compile(r"label_values\(\s*(?:(.+)\s*,\s*)?(\w+)\s*\)", re.DOTALL)
_QUERY_RESULT = re.compile(r"query_result\((.+)\)", re.DOTALL)
_METRICS = re.compile(r"metrics\((.+)\)", re.DOTALL)
_LABELS_TEXT = re.compile(r"(\w+)=\"((?:\\.|[^\"\\])*)\"")


async def choices(variable: Variable, prometheus: Prometheus, values: Values, span: Span) -> list[str]:
    """
    Sorted, without ALL. Source: grafana.com/docs/grafana/latest/datasources/prometheus/template-variables.

    Raises:
        PeerError: Prometheus refused, or the query is none that it has.
    """
    if variable.kind in ("custom", "interval"):
        return [part.split(" : ")[-1].strip() for part in variable.query.split(",") if part.strip()]
    if variable.kind == "constant":
        return [variable.query]
    if variable.kind != "query":
        return list(variable.current)
    found = await _asked(interpolate(variable.query.strip(), values, promql=True), prometheus, span)
    return _filtered(found, variable.regex)[:MAX_CHOICES]


async def _asked(query: str, prometheus: Prometheus, span: Span) -> list[str]:
    if query in ("label_names()", "label_names"):
        return await prometheus.label_names(span)
    if match := _LABEL_VALUES.fullmatch(query):
        return sorted(await prometheus.label_values(match[2], (match[1] or "").strip(), span))
    if match := _METRICS.fullmatch(query):
        names = await prometheus.label_values("__name__", "", span)
        return sorted(name for name in names if _search(match[1].strip().strip("\"'"), name))
    if match := _QUERY_RESULT.fullmatch(query):
        query = match[1]
    series = await prometheus.query(query, span.end)
    written = []
    for each in series:
        inside = ",".join(f'{name}="{value}"' for name, value in sorted(each.labels.items()) if name != "__name__")
        written.append(f"{each.labels.get('__name__', '')}{{{inside}}} {each.points[-1][1]:g}")
    return sorted(written)


def _filtered(found: list[str], regex: str) -> list[str]:
    """Grafana's regex: keeps what matches; a group takes its part."""
    if not regex:
        return list(dict.fromkeys(found))
    pattern = regex[1:].rpartition("/")[0] if regex.startswith("/") else regex
    kept = []
    for value in found:
        try:
            match = re.search(pattern, value)
        except re.error as error:
            raise PeerError(f"the variable's regex {regex!r}: {error}") from error
        if match:
            kept.append(
                match[1] if match.re.groups and match[1] is not None else match[0] if match.re.groups else value
            )
    return list(dict.fromkeys(kept))


def _search(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


def start_values(variable: Variable, offered: list[str]) -> list[str]:
    """What is chosen when nobody has chosen: what the dashboard was saved with, else everything, else the first."""
    saved = [value for value in variable.current if value in offered or value == ALL]
    if saved:
        return saved
    if variable.kind in ("textbox", "constant", "datasource"):
        return list(variable.current) or offered[:1] or [variable.query]
    if variable.include_all:
        return [ALL]
    return offered[:1]


def substituted(variable: Variable, chosen: list[str], offered: list[str]) -> list[str]:
    """What stands for the variable in queries: ALL is the custom value for it, or everything there is."""
    if ALL not in chosen:
        return chosen
    return [variable.all_value] if variable.all_value else offered or [".*"]
