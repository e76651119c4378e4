"""The record of one run as HTML, told like an incident report. Pure; it tolerates what is missing: records grow."""

from __future__ import annotations

import datetime as dt
import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from dashboards.viewer.grafana.units import format_value

STATE_STYLES = {
    "resolved": "good",
    "escalated": "bad",
    "failed": "bad",
    "refused": "warn",
    "awaiting_approval": "warn",
}
FINISHED = frozenset({"resolved", "escalated", "failed", "refused"})
MAX_COLUMNS = 6  # moments at which evidence was taken: the first, and the latest ones
MAX_NOTES = 10  # lines of one piece of evidence that is a list
AROUND_S = 60.0  # shown before and after a run on its charts
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_KINDS = {
    "scale_out": "act", "scale_in": "act", "undo": "act", "restart": "act", "run": "act", "call": "act",
    "verified": "met", "alert_resolved": "met", "resolved": "met", "escalated": "fault", "failed": "fault",
    "not_enough": "fault", "refused": "fault", "other_alert": "faint", "asked": "ask", "approved": "ask",
}  # fmt: skip
CRITICAL_PATH = "critical path"  # evidence: seconds by span, as the worker names it
Json = Mapping[str, Any]


def heading(record: Json) -> str:
    service, alert = str(record.get("service")), record.get("alert") or {}
    annotations = alert.get("annotations") or {}
    began = record.get("started_at_unix_ms")
    outcome = html.escape(str(record.get("outcome") or "At work; nothing is decided yet"))
    return (
        f'<div class="bar-top"><h1 class="title">{html.escape(str(record.get("alertname")))} '
        f"on {html.escape(service)}</h1>{pill(record)}"
        f"<span class=soft>{moment(began)}, {took(record)}, "
        f"policy {html.escape(str(record.get('policy')))}</span></div>"
        f'<div class="card q-mb-sm"><b>{outcome}</b><div>{html.escape(str(annotations.get("summary") or ""))}</div>'
        f'<div class="soft">{html.escape(str(annotations.get("description") or ""))}</div>'
        f"{_milestones(record)}<div class=links>{_links(record, service)}</div></div>"
    )


def _links(record: Json, service: str) -> str:
    start, end = span_ms(record)
    window = urlencode({"from": start, "to": end})
    name = quote(service)
    return (
        f'<a href="/d/steersman-service?var-service={name}&{window}">the service at that time</a>'
        f'<a href="/traces?service={name}">its traces</a>'
        f'<a href="/alerts/rule?{urlencode({"name": str(record.get("alertname")), "service": service})}">the rule</a>'
        f'<a href="/remediations?service={name}">other runs on it</a>'
    )


def _milestones(record: Json) -> str:
    """The four times that a report begins with, counted from the alert."""
    began = record.get("started_at_unix_ms")
    if not isinstance(began, int):
        return ""
    timeline = record.get("timeline") or []

    def first(*events: str) -> int | None:
        found = (line.get("at_unix_ms") for line in timeline if line.get("event") in events)
        return next((at for at in found if isinstance(at, int)), None)

    actions = [at for one in record.get("actions") or [] if isinstance(at := one.get("at_unix_ms"), int)]
    starts = _unix_ms(str((record.get("alert") or {}).get("startsAt") or ""))
    cells = [
        ("alert fired", starts),
        ("accepted", began),
        ("first action", actions[0] if actions else None),
        ("alert over", first("alert_resolved")),
        ("verified", first("verified")),
        ("closed", record.get("finished_at_unix_ms")),
    ]
    zero = starts or began
    shown = "".join(
        f"<div><span class=soft>{name}</span><b>{'–' if not isinstance(at, int) else _offset(at, zero)}</b></div>"
        for name, at in cells
    )
    return f'<div class="milestones">{shown}</div>'


def timeline(record: Json) -> str:
    began = record.get("started_at_unix_ms")
    lines = "".join(
        f'<li class="{_KINDS.get(str(line.get("event")), "")}"><div>'
        f'<span class="at">{since(line.get("at_unix_ms"), began)}</span>'
        f"<span><b>{html.escape(str(line.get('event')).replace('_', ' '))}</b> "
        f"{_linked(str(line.get('detail') or ''))}</span></div></li>"
        for line in record.get("timeline") or []
    )
    return f'<ul class="timeline">{lines}</ul>' if lines else "<div class=soft>Nothing yet.</div>"


def _linked(text: str) -> str:
    """Addresses of traces lead to our own page; all else is text."""
    parts = re.split(r"(https?://[^\s]*/trace/[0-9a-f]{32}|https?://\S+)", text)
    shown = []
    for part in parts:
        trace = re.search(r"/trace/([0-9a-f]{32})$", part)
        if trace:
            shown.append(f'<a class="mono" href="/trace/{trace[1]}">{trace[1][:12]}…</a>')
        else:
            shown.append(html.escape(part))
    return "".join(shown)


def actions(record: Json) -> str:
    began = record.get("started_at_unix_ms")
    taken = record.get("actions") or []
    rows = [(since(action.get("at_unix_ms"), began), _action(action)) for action in taken]
    return _two_columns(rows) or "<div class=soft>None was taken.</div>"


def _action(action: Json) -> str:
    status = str(action.get("status") or "")
    look = "bad" if status in ("failed", "conflict", "unknown") else "soft"
    return (
        f'<b>{html.escape(change(action))}</b> <span class="{look}">{html.escape(status)}</span>'
        f"<div>{html.escape(str(action.get('reason') or ''))}</div>"
    )


def _two_columns(rows: Sequence[tuple[str, str]], look: str = "plain") -> str:
    """
    Args:
        rows: When, or of what, as text; and what, as HTML. None: no table at all.
    """
    cells = "".join(f"<tr><td class=soft>{html.escape(first)}</td><td>{second}</td></tr>" for first, second in rows)
    return f'<table class="{look}">{cells}</table>' if cells else ""


def evidence(record: Json) -> str:
    """One row for each thing that was measured, one column for each time: before the action, and after it."""
    began = record.get("started_at_unix_ms")
    found = record.get("evidence") or []
    times: list[Any] = list(dict.fromkeys(one.get("at_unix_ms") for one in found))
    if len(times) > MAX_COLUMNS:
        times = [times[0], *times[-MAX_COLUMNS + 1 :]]
    names: dict[str, str] = {}
    values: dict[tuple[str, Any], Any] = {}
    for one in found:
        name = str(one.get("name"))
        if isinstance(one.get("value"), list | dict):
            continue  # no measure: see `traces` and `noted`
        names.setdefault(name, str(one.get("query") or ""))
        values[name, one.get("at_unix_ms")] = one.get("value")
    if not names:
        return "<div class=soft>None yet.</div>"
    start, end = span_ms(record)
    window = f"&from={start}&to={end}"
    heads = "".join(
        f"<th class=number>{'before<br>' if number == 0 else ''}{since(at, began)}</th>"
        for number, at in enumerate(times)
    )
    rows = "".join(
        f'<tr><td><a href="/explore?expr={quote(query)}{window}" title="{html.escape(query)}">{html.escape(name)}</a>'
        f"</td>{''.join(f'<td class=number>{_value(values.get((name, at)))}</td>' for at in times)}</tr>"
        for name, query in names.items()
    )
    return f'<table class="plain evidence"><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def noted(record: Json) -> str:
    """Evidence that is no number, such as what was changed lately: what was said last of each."""
    found = {
        str(one.get("name")): one["value"]
        for one in record.get("evidence") or []
        if isinstance(one.get("value"), list | dict) and one["value"] and not is_traces(one["value"])
    }
    return "".join(
        f"<div class='q-mt-sm'><b>{html.escape(name)}</b>"
        + "".join(f"<div class=soft>{html.escape(_text(each))}</div>" for each in _listed(name, value)[:MAX_NOTES])
        + "</div>"
        for name, value in found.items()
    )


def _listed(name: str, value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if name == CRITICAL_PATH:
        return [f"{span} {format_value(float(seconds), 's')}" for span, seconds in value.items()]
    return [f"{key}: {_text(each)}" for key, each in value.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def traces(record: Json) -> str:
    """Those that the alert carried and those that were gathered, each once."""
    told = str(((record.get("alert") or {}).get("annotations") or {}).get("trace_ids") or "")
    found = [each.strip() for each in told.split(",")]
    for one in record.get("evidence") or []:
        if is_traces(one.get("value")):
            found += [str(each) for each in one["value"]]
    ids = [each for each in dict.fromkeys(found) if _TRACE_ID.fullmatch(each)][:12]
    if not ids:
        return "<div class=soft>None was found.</div>"
    compare = f' · <a href="/compare?a={ids[0]}&b={ids[1]}">compare the first two</a>' if len(ids) > 1 else ""
    links = " ".join(f'<a class="mono" href="/trace/{each}">{each[:12]}…</a>' for each in ids)
    return f'<div class="trace-ids">{links}</div><div class=soft>slowest first{compare}</div>'


def approvals(record: Json) -> str:
    asked = record.get("approvals") or []
    return _two_columns([(moment(one.get("asked_at_unix_ms")), _approval(one)) for one in asked])


def _approval(one: Json) -> str:
    by = f" by {one['by']}" if one.get("by") else ""
    why = f": {one['reason']}" if one.get("reason") else ""
    return (
        f"{html.escape(str(one.get('question')))}"
        f"<div><b>{html.escape(str(one.get('verdict') or 'open'))}</b>{html.escape(by + why)}</div>"
    )


def alert(record: Json) -> str:
    found = record.get("alert") or {}
    annotations = found.get("annotations") or {}
    facts = [(str(name), html.escape(str(value))) for name, value in (found.get("labels") or {}).items()]
    runbook = str(annotations.get("runbook") or annotations.get("runbook_url") or "")
    told = f'<div class="soft q-mt-sm"><b>Runbook</b> {html.escape(runbook)}</div>' if runbook else ""
    return _two_columns(facts, look="pairs") + told


def open_question(record: Json) -> str | None:
    """What the run waits to be told; None if it waits for nobody."""
    if record.get("state") != "awaiting_approval":
        return None
    asked = [one for one in record.get("approvals") or [] if not one.get("verdict")]
    return str(asked[-1].get("question")) if asked else "May it act?"


def measured(record: Json) -> list[tuple[str, str]]:
    """Name and query of each number that was taken as evidence."""
    found = {
        str(one.get("name")): str(one["query"])
        for one in record.get("evidence") or []
        if one.get("query") and isinstance(one.get("value"), int | float)
    }
    return list(found.items())


def span_ms(record: Json) -> tuple[int, int]:
    """From some time before the run to some time after it, or to now: Unix milliseconds."""
    began = record.get("started_at_unix_ms")
    began = began if isinstance(began, int) else int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    ended = record.get("finished_at_unix_ms")
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    end = min(ended + int(AROUND_S * 1000), now) if isinstance(ended, int) else now
    return began - int(AROUND_S * 1000), max(end, began + 1000)


def is_traces(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(_TRACE_ID.fullmatch(str(each)) for each in value)
    )


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return format_value(float(value))
    return html.escape(_text(value))


def pill(record: Json) -> str:
    state = str(record.get("state"))
    return f'<span class="pill {STATE_STYLES.get(state, "soft")}">{html.escape(state.replace("_", " "))}</span>'


def change(action: Json) -> str:
    changed = f" {action['from']} → {action.get('to')}" if action.get("from") is not None else ""
    return f"{str(action.get('action')).replace('_', ' ')} {action.get('target')}{changed}"


def since(at_unix_ms: object, began_unix_ms: object) -> str:
    if not isinstance(at_unix_ms, int) or not isinstance(began_unix_ms, int):
        return ""
    return _offset(at_unix_ms, began_unix_ms)


def _offset(at_unix_ms: int, zero_unix_ms: int) -> str:
    seconds = (at_unix_ms - zero_unix_ms) / 1000
    return f"{seconds:+.1f} s" if abs(seconds) < 600 else f"{seconds / 60:+.0f} min"


def took(record: Json) -> str:
    began, ended = record.get("started_at_unix_ms"), record.get("finished_at_unix_ms")
    if not isinstance(began, int) or not isinstance(ended, int):
        return "at work"
    return format_value((ended - began) / 1000, "s")


def moment(unix_ms: object) -> str:
    if not isinstance(unix_ms, int):
        return "–"
    return dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC).astimezone().strftime("%m-%d %H:%M:%S")


def _unix_ms(text: str) -> int | None:
    try:
        return round(dt.datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None
