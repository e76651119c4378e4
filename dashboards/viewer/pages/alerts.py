"""What fires, and what each rule says now; a rule's course and the remediation that answered are a click away."""

from __future__ import annotations

import datetime as dt
import html
import time
from typing import Any
from urllib.parse import quote, urlencode

from nicegui import ui

from dashboards.errors import PeerError
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.alert_tabs import alert_tabs
from dashboards.viewer.pages.shell import page
from dashboards.viewer.pages.silences import of_labels
from dashboards.viewer.peers.prometheus import Prometheus

REFRESH_S = 2.0
STATE_STYLES = {"firing": "bad", "pending": "warn", "inactive": "good"}
ORDER = {"firing": 0, "pending": 1, "inactive": 2}


class AlertsPage:
    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._firing: ui.html | None = None
        self._rules: ui.html | None = None

    async def build(self) -> None:
        with page("Alerts", "alerts"):
            alert_tabs("alerts")
            ui.html('<h1 class="title">Alerts</h1>', sanitize=False)
            self._firing = ui.html("", sanitize=False).classes("q-my-sm").style("width: 100%")
            ui.html('<h1 class="title">Rules</h1>', sanitize=False)
            self._rules = (
                ui.html("", sanitize=False).classes("card scroll-x q-mt-sm").props("tabindex=0").style("width: 100%")
            )
            await self._refresh()
        ui.timer(REFRESH_S, self._refresh)

    async def _refresh(self) -> None:
        if self._firing is None or self._rules is None:
            return
        try:
            groups = await self._prometheus.rule_groups()
        except PeerError as error:
            self._firing.content = f'<p class="bad">{html.escape(str(error))}</p>'
            return
        rules = [rule for group in groups for rule in group.get("rules", []) if rule.get("type") == "alerting"]
        alerts = [(rule, alert) for rule in rules for alert in rule.get("alerts") or []]
        alerts.sort(key=lambda pair: (ORDER.get(str(pair[1].get("state")), 3), str(pair[1].get("activeAt"))))
        self._firing.content = "".join(_alert_card(rule, alert) for rule, alert in alerts) or (
            '<div class="card good">Nothing is pending or firing.</div>'
        )
        self._rules.content = _rules_table(rules)


def _alert_card(rule: dict[str, Any], alert: dict[str, Any]) -> str:
    state = str(alert.get("state"))
    labels = alert.get("labels") or {}
    annotations = alert.get("annotations") or {}
    since = _age(str(alert.get("activeAt")))
    shown = " ".join(
        f'<span class="pill soft">{html.escape(name)}={html.escape(str(value))}</span>'
        for name, value in sorted(labels.items())
        if name not in ("alertname",)
    )
    summary = html.escape(str(annotations.get("summary") or ""))
    description = html.escape(str(annotations.get("description") or ""))
    runbook = html.escape(str(annotations.get("runbook") or annotations.get("runbook_url") or ""))
    return (
        f'<div class="card q-mb-sm"><span class="pill {STATE_STYLES.get(state, "soft")}">{html.escape(state)}</span> '
        f"<b>{html.escape(str(labels.get('alertname')))}</b> for {since} {shown}"
        f"<div>{summary}</div>"
        f'<div class="soft">{description}</div>'
        f"{f'<div class=soft>Runbook: {runbook}</div>' if runbook else ''}"
        f'<div class=links><a href="{_rule_page(rule)}">the rule and its history</a>'
        f'<a href="/explore?expr={quote(str(rule.get("query") or ""))}">its expression on a chart</a>'
        f'<a href="/remediations?service={quote(str(labels.get("service") or ""))}">what was done</a>'
        f'<a href="/traces?service={quote(str(labels.get("service") or ""))}">traces</a>'
        f'<a href="/silences?matchers={quote(of_labels(labels))}">silence</a></div></div>'
    )


def _rules_table(rules: list[dict[str, Any]]) -> str:
    ordered = sorted(rules, key=lambda rule: (ORDER.get(str(rule.get("state")), 3), str(rule.get("name"))))
    rows = []
    for rule in ordered:
        state = str(rule.get("state"))
        took = format_value(float(rule.get("evaluationTime") or 0), "s")
        error = f'<div class="bad">{html.escape(str(rule["lastError"]))}</div>' if rule.get("lastError") else ""
        expr = str(rule.get("query") or "")
        rows.append(
            f'<tr><td><span class="pill {STATE_STYLES.get(state, "soft")}">{html.escape(state)}</span></td>'
            f'<td><a href="{_rule_page(rule)}"><b>{html.escape(str(rule.get("name")))}</b></a>{error}</td>'
            f"<td>{html.escape(_service(rule))}</td>"
            f'<td class="number">{format_value(float(rule.get("duration") or 0), "s")}</td>'
            f'<td><a class="mono wrap" href="/explore?expr={quote(expr)}">{html.escape(expr)}</a></td>'
            f'<td class="number">{took}</td></tr>'
        )
    head = (
        "<tr><th>State</th><th>Rule</th><th>Service</th><th class=number>For</th><th>Expression</th>"
        "<th class=number>Evaluation</th></tr>"
    )
    return f'<table class="plain cards-on-phone"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def _service(rule: dict[str, Any]) -> str:
    """Whom it is about; a template stands for whoever the expression finds."""
    named = str((rule.get("labels") or {}).get("service", ""))
    return "each" if "{{" in named or not named else named


def _rule_page(rule: dict[str, Any]) -> str:
    return f"/alerts/rule?{urlencode({'name': str(rule.get('name'))})}"


def _age(moment: str) -> str:
    try:
        began = dt.datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return "?"
    return format_value(max(0.0, time.time() - began), "s")
