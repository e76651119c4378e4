"""What panels show that is no series: log records, traces, and who calls whom."""

from __future__ import annotations

import datetime as dt
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.traces.tree import Tree

_MATCHER = re.compile(r'(\w+)\s*(=~|!=|!~|=)\s*(?:"((?:\\.|[^"\\])*)"|`([^`]*)`)')
_LINE = re.compile(r'\|=\s*(?:"((?:\\.|[^"\\])*)"|`([^`]*)`)')
_SERVICE_LABELS = ("service_name", "service", "job", "app")  # what collectors call it in Loki
_SEVERITY_LABELS = ("detected_level", "level", "severity")
_CLASSES = ((17, "bad"), (13, "warn"), (9, ""), (0, "soft"))  # of OpenTelemetry's severity numbers


class LogQueryError(ValueError):
    """A LogQL query says what the collector's API cannot be asked."""


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    calls: int


def log_parameters(expr: str) -> dict[str, str]:
    """
    The part of LogQL that names a service, a severity and a text, as parameters of the collector's /api/v1/logs.

    Raises:
        LogQueryError: anything else in the query; nothing is left out silently.
    """
    found: dict[str, str] = {}
    selector, _, rest = expr.strip().partition("}")
    for name, operator, quoted, raw in _MATCHER.findall(selector):
        value = raw or re.sub(r"\\(.)", r"\1", quoted)
        if operator == "=~" and value in (".*", ".+"):
            continue
        key = "service" if name in _SERVICE_LABELS else "severity" if name in _SEVERITY_LABELS else "trace_id"
        if operator != "=" and not (operator == "=~" and re.fullmatch(r"[\w-]+", value)):
            raise LogQueryError(f"{name}{operator}: only = is understood")
        if key == "trace_id" and name != "trace_id":
            raise LogQueryError(f"no label {name!r}: known are {', '.join(_SERVICE_LABELS)}, level and trace_id")
        found[key] = value
    texts = [raw or re.sub(r"\\(.)", r"\1", quoted) for quoted, raw in _LINE.findall(rest)]
    if len(texts) > 1 or _LINE.sub("", rest).strip():
        raise LogQueryError(f"after the selector only one |= is understood, got {rest.strip()[:80]!r}")
    if texts:
        found["text"] = texts[0]
    return found


def logs_html(records: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for record in records:
        severity = int(record.get("severity_number") or 0)
        shade = next(name for at, name in _CLASSES if severity >= at)
        at = dt.datetime.fromtimestamp(int(record["time_unix_nano"]) / 1e9, dt.UTC).astimezone()
        trace = str(record.get("trace_id") or "")
        link = f'<a href="/trace/{html.escape(trace)}" title="its trace">trace</a>' if trace else ""
        rows.append(
            f'<tr><td class="soft">{at:%H:%M:%S}.{at.microsecond // 1000:03d}</td>'
            f'<td class="{shade}">{html.escape(str(record.get("severity_text") or severity))}</td>'
            f"<td>{html.escape(str(record.get('service') or ''))}</td>"
            f'<td class="body-text">{html.escape(str(record.get("body") or ""))}</td><td>{link}</td></tr>'
        )
    return f'<table class="mono logs"><tbody>{"".join(rows)}</tbody></table>'


def traces_html(trees: Sequence[Tree]) -> str:
    slowest = max((tree.duration_us for tree in trees), default=0) or 1
    rows = []
    for tree in trees:
        began = dt.datetime.fromtimestamp(tree.start_us / 1e6, dt.UTC).astimezone().strftime("%H:%M:%S")
        failed = f' <span class="pill bad">{tree.errors} errors</span>' if tree.errors else ""
        rows.append(
            f'<tr><td class="soft">{began}</td><td><a href="/trace/{html.escape(tree.trace_id)}">'
            f"{html.escape(tree.root.service)}: {html.escape(tree.root.name)}</a>{failed}</td>"
            f'<td class="number hide-narrow">{len(tree.nodes)}</td>'
            f'<td class="hide-narrow">{html.escape(", ".join(tree.services))}</td>'
            f'<td class="number">{format_value(tree.duration_us / 1e6, "s")}'
            f'<div class="share" style="width:{tree.duration_us / slowest:.0%}"></div></td></tr>'
        )
    heads = '<th>Start</th><th>Trace</th><th class="number hide-narrow">Spans</th><th class="hide-narrow">Services</th>'
    heads += '<th class="number">Duration</th>'
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def depths(edges: Sequence[Edge]) -> dict[str, int]:
    """How far each node stands from those that nobody calls; a circle is entered at its most called node."""
    nodes = list(dict.fromkeys(name for edge in edges for name in (edge.source, edge.target)))
    called = {edge.target for edge in edges if edge.source != edge.target}
    found = {name: 0 for name in nodes if name not in called}
    waiting = list(found)
    while len(found) < len(nodes):
        if not waiting:
            left = [name for name in nodes if name not in found]
            calls = {name: sum(edge.calls for edge in edges if name in (edge.source, edge.target)) for name in left}
            waiting = [max(left, key=lambda name: calls[name])]
            found[waiting[0]] = 0
        name = waiting.pop(0)
        for edge in edges:
            if edge.source == name and edge.target not in found:
                found[edge.target] = found[name] + 1
                waiting.append(edge.target)
    return found
