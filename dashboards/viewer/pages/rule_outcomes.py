"""What the collector says of a rule file that is tried, as HTML: findings, what would have been, unit tests. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import yaml

from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.alert_rule import COLOURS
from dashboards.viewer.panels.marked_chart import Band

Json = dict[str, Any]


def alerts_of(text: str) -> list[str]:
    """The names of a file's alerts, in order; nothing of a text that is no YAML yet."""
    try:
        document = yaml.safe_load(text)
        groups = document.get("groups") or [] if isinstance(document, dict) else []
        rules = [rule for group in groups if isinstance(group, dict) for rule in group.get("rules") or []]
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return []
    names = (str(rule["alert"]) for rule in rules if isinstance(rule, dict) and rule.get("alert"))
    return list(dict.fromkeys(names))


def report(report: Json) -> str:
    rows = "".join(
        f'<li class="{look}"><b>line {int(one.get("line") or 0)}</b> {html.escape(str(one.get("rule") or ""))} '
        f"{html.escape(str(one.get('message')))}</li>"
        for key, look in (("errors", "bad"), ("lint", "warn"))
        for one in report.get(key) or []
    )
    if not rows:
        count = sum(int(each) for each in (report.get("rules") or {}).values())
        return f'<div class="good">✓ {count} rules, nothing to say against them</div>'
    return f'<ul class="findings">{rows}</ul>'


def outcomes(rules: list[Json]) -> str:
    head = (
        "<tr><th>Rule</th><th>This text</th><th>In force</th><th class=number>In both, only here, only there</th></tr>"
    )
    rows = "".join(map(_outcome, rules))
    return f'<table class="plain cards-on-phone"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _outcome(rule: Json) -> str:
    labels = {key: str(value) for key, value in (rule.get("labels") or {}).items() if key not in ("severity", "team")}
    fixed = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()) if "{{" not in value)
    today = rule.get("today") or {}
    same = f"{today['sameFirings']}, {today['onlyHere']}, {today['onlyToday']}" if today else "–"
    errors = "".join(
        f'<div class="bad">{html.escape(str(each.get("error")))}</div>' for each in rule.get("errors") or []
    )
    return (
        f"<tr><td><b>{html.escape(str(rule.get('name')))}</b><div class=soft>{html.escape(fixed)}</div>{errors}</td>"
        f"<td>{_counts(rule.get('summary') or {})}</td>"
        f"<td>{_counts(today['summary']) if today else 'not there'}</td><td class=number>{same}</td></tr>"
    )


def _counts(one: Json) -> str:
    fired = int(one.get("fired") or 0)
    if not fired:
        return f"did not fire, was pending {int(one['pending'])} times" if one.get("pending") else "quiet"
    return (
        f"fired {fired} {'time' if fired == 1 else 'times'}, {format_value(float(one.get('firingSeconds') or 0), 's')} "
        f"in all, the longest {format_value(float(one.get('longestSeconds') or 0), 's')}"
        + (f", flapped {one['flaps']} times" if one.get("flaps") else "")
    )


def bands(alert: Json, span: Span) -> list[Band]:
    ended = _seconds(alert.get("endedAt")) or span.end
    active = _seconds(alert.get("activeAt")) or span.start
    fired = span.start if alert.get("firedBefore") else _seconds(alert.get("firedAt"))
    bands = [Band(max(active, span.start), fired or ended, COLOURS["pending"])]
    return bands + ([Band(max(fired, span.start), ended, COLOURS["firing"])] if fired else [])


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None


def named(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "__name__") or "value"


def verdict(verdict: Json) -> str:
    if verdict.get("passed"):
        return f'<div class="card good">✓ {int(verdict.get("tests") or 0)} unit tests pass</div>'
    failures = "".join(f"<pre>{html.escape(str(each))}</pre>" for each in verdict.get("failures") or [])
    return f'<div class="card bad">Unit tests fail{failures}</div>'
