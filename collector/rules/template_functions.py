"""
The functions that an alert rule's template may call beside Go's own.

Source: prometheus/template/template.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from urllib.parse import quote_plus, urlsplit

from collector.gotemplate.builtins import BUILTINS, Function
from collector.gotemplate.goformat import type_name
from collector.gotemplate.humanize import (
    humanize,
    humanize1024,
    humanize_duration,
    humanize_percentage,
    humanize_timestamp,
    to_duration,
    to_time,
)
from collector.gotemplate.text_functions import TEXT_FUNCTIONS, text_of, title
from collector.gotemplate.values import Struct
from collector.model.duration import parse_duration_ms


def strip_port(text: object) -> str:
    host, colon, port = text_of(text).rpartition(":")
    return host.strip("[]") if colon and port.isdigit() and (":" not in host or host.startswith("[")) else text_of(text)


def strip_domain(text: object) -> str:
    host = strip_port(text)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        port = text_of(text).removeprefix(host)
        return host.split(".", 1)[0] + port
    return text_of(text)


def _path_prefix(external_url: str) -> str:
    return urlsplit(external_url).path


def _first(samples: object) -> object:
    if isinstance(samples, list) and samples:
        return samples[0]
    raise ValueError("first() called on vector with no elements")


def _sample(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or "Labels" not in value:
        raise ValueError(f"wrong type for value; expected *template.sample; got {type_name(value)}")
    return value


def _label(name: object, sample: object) -> object:
    labels = _sample(sample)["Labels"]
    return labels.get(name, "") if isinstance(labels, Mapping) else ""


def _graph_link(tab: int) -> Callable[[object], str]:
    return lambda expr: graph_link(text_of(expr), tab)


def graph_link(expr: str, tab: int = 1) -> str:
    """The path of Prometheus's page for an expression (util/strutil/strconv.go, TableLinkForExpression)."""
    return f"/graph?g0.expr={quote_plus(expr)}&g0.tab={tab}"


def functions(external_url: str, query: Callable[[str], list[Struct]], *, now_s: float = 0.0) -> Mapping[str, Function]:
    """
    All functions by name. Not among them is `tmpl`, which Prometheus has in console templates only.

    Args:
        query: Evaluates an expression at the time of the alert; samples have the fields Labels and Value.
        now_s: That time, in Unix seconds.
    """
    return {
        **BUILTINS,
        **TEXT_FUNCTIONS,
        "query": lambda expr: query(text_of(expr)),
        "first": _first,
        "label": _label,
        "value": lambda sample: _sample(sample)["Value"],
        "strvalue": lambda sample: _label("__value__", sample),
        "sortByLabel": lambda name, samples: sorted(samples, key=lambda sample: str(_label(name, sample))),
        "args": lambda *values: {f"arg{position}": value for position, value in enumerate(values)},
        "title": title,
        "graphLink": _graph_link(0),
        "tableLink": _graph_link(1),
        "humanize": humanize,
        "humanize1024": humanize1024,
        "humanizeDuration": humanize_duration,
        "humanizePercentage": humanize_percentage,
        "humanizeTimestamp": humanize_timestamp,
        "toTime": to_time,
        "toDuration": to_duration,
        "now": lambda: now_s,
        "parseDuration": lambda text: parse_duration_ms(text_of(text)) / 1000,
        "stripPort": strip_port,
        "stripDomain": strip_domain,
        "urlQueryEscape": lambda text: quote_plus(text_of(text)),
        "pathPrefix": lambda: _path_prefix(external_url),
        "externalURL": lambda: external_url,
    }


FUNCTION_NAMES = frozenset(functions("", lambda _expr: []))
