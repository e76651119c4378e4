"""What the worker does and did: a list that is live, and the record of one run, told like an incident report."""

from __future__ import annotations

import datetime as dt
import html
import json
import re
from typing import Any
from urllib.parse import quote

from nicegui import ui

from dashboards.errors import PeerError
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.pages.shell import page
from dashboards.viewer.peers.remediation import Remediation

REFRESH_S = 2.0
LIMIT = 100
STATE_STYLES = {"resolved": "good", "escalated": "bad", "failed": "bad", "refused": "warn"}
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


class RemediationsPage:
    def __init__(self, remediation: Remediation, service: str) -> None:
        self._remediation = remediation
        self._service = service
        self._switch: ui.html | None = None
        self._list: ui.html | None = None

    async def build(self) -> None:
        with page("Remediations", "remediations"):
            of = f" of {html.escape(self._service)}" if self._service else ""
            ui.html(f'<h1 class="title">Remediations{of}</h1>', sanitize=False)
            self._switch = ui.html("", sanitize=False)
            self._list = ui.html("", sanitize=False).classes("card scroll-x q-mt-sm").style("width: 100%")
            await self._refresh()
        ui.timer(REFRESH_S, self._refresh)

    async def _refresh(self) -> None:
        if self._list is None or self._switch is None:
            return
        try:
            records = await self._remediation.records(service=self._service, limit=LIMIT)
            switch = await self._remediation.kill_switch()
        except PeerError as error:
            self._list.content = f'<p class="bad">{html.escape(str(error))}</p>'
            return
        self._switch.content = (
            f'<div class="card bad q-mt-sm">The kill switch is on, by {html.escape(str(switch.get("by")))}: '
            f"{html.escape(str(switch.get('reason')))}. The worker does nothing.</div>"
            if switch.get("on")
            else ""
        )
        self._list.content = _table(records) if records else '<div class="none">Nothing had to be done yet.</div>'


def _table(records: list[dict[str, Any]]) -> str:
    rows = [
        f'<tr><td class="mono">{moment(record.get("started_at_unix_ms"))}</td>'
        f"<td>{_pill(record)}</td><td><b>{html.escape(str(record.get('service')))}</b></td>"
        f'<td><a href="/remediation/{quote(str(record.get("id")))}">'
        f"{html.escape(str(record.get('alertname')))}</a></td>"
        f"<td>{html.escape(_actions(record))}</td><td class=number>{took(record)}</td>"
        f"<td>{html.escape(str(record.get('outcome') or ''))}</td></tr>"
        for record in records
    ]
    head = (
        "<tr><th>Started</th><th>State</th><th>Service</th><th>Alert</th><th>Actions</th>"
        "<th class=number>Took</th><th>Outcome</th></tr>"
    )
    return f'<table class="plain"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


class RecordPage:
    def __init__(self, remediation: Remediation, run_id: str) -> None:
        self._remediation = remediation
        self._run_id = run_id
        self._body: ui.html | None = None

    async def build(self) -> None:
        with page("Remediation", "remediations"):
            if not _RUN_ID.fullmatch(self._run_id):
                ui.label(f"No remediation can have the id {self._run_id[:80]!r}").classes("bad")
                return
            self._body = ui.html("", sanitize=False).style("width: 100%")
            await self._refresh()
        ui.timer(REFRESH_S, self._refresh)

    async def _refresh(self) -> None:
        if self._body is None:
            return
        try:
            self._body.content = report(await self._remediation.record(self._run_id))
        except PeerError as error:
            self._body.content = f'<p class="bad">{html.escape(str(error))}</p>'


def report(record: dict[str, Any]) -> str:
    """The whole record as HTML. Tolerates what is missing: a record is readable while it grows."""
    alert = record.get("alert") or {}
    labels, annotations = alert.get("labels") or {}, alert.get("annotations") or {}
    began = record.get("started_at_unix_ms")
    service = str(record.get("service"))
    facts = "".join(
        f'<tr><td class="soft">{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>' for k, v in labels.items()
    )
    timeline = "".join(
        f'<li><span class="at">{_since(line.get("at_unix_ms"), began)}</span> '
        f"<b>{html.escape(str(line.get('event')))}</b> "
        f"{html.escape(str(line.get('detail') or ''))}</li>"
        for line in record.get("timeline") or []
    )
    return (
        f'<div class="bar-top"><h1 class="title">{html.escape(str(record.get("alertname")))} '
        f"on {html.escape(service)}</h1>{_pill(record)}<span class=soft>{moment(began)}, {took(record)}, "
        f"policy {html.escape(str(record.get('policy')))}</span></div>"
        f'<div class="card q-mb-sm"><b>{html.escape(str(record.get("outcome") or "Not decided yet"))}</b>'
        f"<div>{html.escape(str(annotations.get('summary') or ''))}</div>"
        f'<div class="soft">{html.escape(str(annotations.get("description") or ""))}</div>'
        f'<div><a href="/traces?service={quote(service)}">traces of {html.escape(service)}</a> · '
        f'<a href="/d/steersman-fleet?var-service={quote(service)}">its dashboard</a></div></div>'
        f'<div class="two"><div class="card"><b>What happened</b><ul class="timeline">{timeline}</ul></div>'
        f'<div><div class="card q-mb-sm"><b>Actions</b>{_action_rows(record, began)}</div>'
        f'<div class="card q-mb-sm scroll-x"><b>Evidence</b>{_evidence_rows(record, began)}</div>'
        f'<div class="card"><b>The alert</b><table class="pairs">{facts}</table></div></div></div>'
    )


def _action_rows(record: dict[str, Any], began: object) -> str:
    rows = "".join(
        f"<tr><td class=soft>{_since(action.get('at_unix_ms'), began)}</td>"
        f"<td><b>{html.escape(_change(action))}</b> "
        f"<span class=soft>{html.escape(str(action.get('status') or ''))}</span>"
        f"<div>{html.escape(str(action.get('reason') or ''))}</div></td></tr>"
        for action in record.get("actions") or []
    )
    return f'<table class="plain">{rows}</table>' if rows else "<div class=soft>None was taken.</div>"


def _evidence_rows(record: dict[str, Any], began: object) -> str:
    rows = "".join(
        f"<tr><td class=soft>{_since(found.get('at_unix_ms'), began)}</td>"
        f"<td>{html.escape(str(found.get('name')))}</td>"
        f"<td class=number>{_value(found.get('value'))}</td></tr>"
        for found in record.get("evidence") or []
    )
    return f'<table class="plain">{rows}</table>' if rows else "<div class=soft>None yet.</div>"


def _value(value: Any) -> str:
    """Numbers short, trace ids as links."""
    if isinstance(value, list) and value and all(_TRACE_ID.fullmatch(str(each)) for each in value):
        return "<br>".join(f'<a class="mono" href="/trace/{each}">{str(each)[:16]}…</a>' for each in value)
    if isinstance(value, bool) or value is None:
        return html.escape("–" if value is None else str(value))
    if isinstance(value, int | float):
        return format_value(float(value))
    return html.escape(value if isinstance(value, str) else json.dumps(value))


def _pill(record: dict[str, Any]) -> str:
    state = str(record.get("state"))
    return f'<span class="pill {STATE_STYLES.get(state, "soft")}">{html.escape(state)}</span>'


def _change(action: dict[str, Any]) -> str:
    change = f" {action['from']} → {action.get('to')}" if action.get("from") is not None else ""
    return f"{action.get('action')} {action.get('target')}{change}"


def _actions(record: dict[str, Any]) -> str:
    return ", ".join(_change(action) for action in record.get("actions") or []) or "–"


def _since(at_unix_ms: object, began_unix_ms: object) -> str:
    if not isinstance(at_unix_ms, int) or not isinstance(began_unix_ms, int):
        return ""
    return f"{(at_unix_ms - began_unix_ms) / 1000:+.1f} s"


def took(record: dict[str, Any]) -> str:
    began, ended = record.get("started_at_unix_ms"), record.get("finished_at_unix_ms")
    if not isinstance(began, int) or not isinstance(ended, int):
        return "at work"
    return format_value((ended - began) / 1000, "s")


def moment(unix_ms: object) -> str:
    if not isinstance(unix_ms, int):
        return "–"
    return dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC).astimezone().strftime("%m-%d %H:%M:%S")
