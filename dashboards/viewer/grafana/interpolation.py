"""
Variables put into queries, titles and links: `$name`, `${name}`, `${name:format}`, `[[name]]`, Grafana's own `$__…`.

Source: grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from dashboards.viewer.grafana.timerange import Span, interval_text

ALL = "$__all"
_REFERENCE = re.compile(r"\$\{(\w+)(?:\.[^:}]+)?(?::(\w+))?\}|\[\[(\w+)(?::(\w+))?\]\]|\$(\w+)")
_SPECIAL = re.compile(r"([\\^$.*+?()\[\]{}|])")
Values = Mapping[str, Sequence[str]]


def interpolate(text: str, values: Values, *, promql: bool = False) -> str:
    """What is no variable stays as it is."""

    def replaced(found: re.Match[str]) -> str:
        name = found[1] or found[3] or found[5]
        if name not in values:
            return found[0]
        return formatted(values[name], found[2] or found[4] or ("promql" if promql else "glob"))

    return _REFERENCE.sub(replaced, text)


def formatted(values: Sequence[str], how: str) -> str:
    match how:
        case "regex":
            return _alternatives([_SPECIAL.sub(r"\\\1", value) for value in values])
        case "promql":  # one value as it is, several as a regular expression inside a string
            if len(values) == 1:
                return values[0].replace("\\", "\\\\").replace('"', '\\"')
            return _alternatives([_SPECIAL.sub(r"\\\\\1", value) for value in values])
        case "pipe":
            return "|".join(values)
        case "csv" | "raw" | "text":
            return ",".join(values)
        case "json":
            return json.dumps(list(values))
        case "singlequote":
            return ",".join(f"'{value}'" for value in values)
        case "doublequote":
            return ",".join(f'"{value}"' for value in values)
        case "percentencode":
            return quote(",".join(values), safe="")
        case _:  # glob, Grafana's default
            return values[0] if len(values) == 1 else "{" + ",".join(values) + "}"


def _alternatives(escaped: Sequence[str]) -> str:
    return escaped[0] if len(escaped) == 1 else "(" + "|".join(escaped) + ")"


def builtin(span: Span, step: float, scrape_interval: float) -> dict[str, list[str]]:
    """`$__interval` and its kin. A rate needs four scrapes and two steps (Grafana, prometheus datasource)."""
    rate = max(step + scrape_interval, 4 * scrape_interval)
    return {
        "__interval": [interval_text(step)],
        "__interval_ms": [str(round(step * 1000))],
        "__rate_interval": [interval_text(rate)],
        "__range": [interval_text(span.seconds)],
        "__range_s": [str(round(span.seconds))],
        "__range_ms": [str(round(span.seconds * 1000))],
        "__from": [str(round(span.start * 1000))],
        "__to": [str(round(span.end * 1000))],
    }


def legend(template: str, labels: Mapping[str, str]) -> str:
    """`{{job}}` with its label; without a template, which Grafana calls `__auto`, the series as Prometheus has it."""
    if template and template != "__auto":
        return re.sub(r"\{\{\s*([^}\s]+)\s*\}\}", lambda found: labels.get(found[1], ""), template)
    others = {name: value for name, value in labels.items() if name != "__name__"}
    name = labels.get("__name__", "")
    if template == "__auto" and len(others) == 1 and not name:
        return next(iter(others.values()))
    inside = ", ".join(f'{key}="{value}"' for key, value in sorted(others.items()))
    return f"{name}{{{inside}}}" if inside or not name else name
