"""A drill's report as HTML: grades, expectations, timeline. Pure; a report that still grows is drawn the same way."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.viewer.panels.marked_chart import Band, Mark

Json = Mapping[str, Any]
SECTIONS = {"confirm": "The injection landed", "expect": "Expected while it lasted", "then": "Expected after its end"}
_MARKS = {"met": ("good", "✓", "met"), "failed": ("bad", "✗", "failed"), "active": ("warn", "…", "waited for")}
_KINDS = {"inject": "ask", "alert": "fault", "action": "act", "remediation": "act", "met": "met", "failed": "fault",
          "trouble": "fault", "verdict": "met"}  # fmt: skip
_KIND_WORDS = {"inject": "injection", "remediation": "worker"}
UNREAD = "no answer"  # what an expectation says whose turn has not come
MARK_COLOURS = {"inject": "#9a5cf0", "alert": "#e08a00", "action": "#4c8dff", "met": "#2f9e5c", "failed": "#e5484d"}

MAX_MARKS = 24


def seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def verdict_pill(verdict: str | None, score: float | None = None) -> str:
    if verdict is None:
        return '<span class="pill warn">running</span>'
    points = f" {score:.0f}" if score is not None else ""
    return f'<span class="pill {"good" if verdict == "PASS" else "bad"}">{html.escape(verdict)}{points}</span>'


def grades(report: Json) -> str:
    return f'<div class="grades">{"".join(map(_grade, report.get("grades") or []))}</div>'


def _grade(grade: Json) -> str:
    """How long it took, on a bar from 0 to the deadline with the aim marked."""
    took, aim, deadline = grade.get("took_s"), grade.get("aim_s"), grade.get("deadline_s") or 1.0
    status = str(grade.get("status"))
    look = "soft" if took is None else "good" if aim is None or took <= aim else "warn"
    look = "bad" if status == "failed" else look
    share = 100.0 if status == "failed" else 100 * min(1.0, (took or 0.0) / deadline)
    tick = f'<i style="left:{100 * min(1.0, aim / deadline):.1f}%"></i>' if aim is not None else ""
    word = {"active": "waiting", "waiting": "not yet"}.get(status, status)
    shown = seconds(took) if took is not None else html.escape(word)
    aims = f"aim {seconds(aim)}, " if aim is not None else ""
    return (
        f'<div class="card grade {look}"><span class=soft>time to {html.escape(str(grade.get("grade")))}</span>'
        f"<b>{shown}</b><div class=track><span style='width:{share:.1f}%'></span>{tick}</div>"
        f"<span class=soft>{aims}deadline {seconds(deadline)}</span></div>"
    )


def expectations(report: Json) -> str:
    rows = []
    for section, words in SECTIONS.items():
        outcomes = [one for one in report.get("expectations") or [] if one.get("section") == section]
        if outcomes:
            rows.append(f"<tr><th colspan=3>{words}</th></tr>")
            rows += map(_outcome, outcomes)
    return f'<table class="plain">{"".join(rows)}</table>'


def _outcome(outcome: Json) -> str:
    status = str(outcome.get("status"))
    look, mark, words = _MARKS.get(status, ("soft", "–", status))
    asked = outcome.get("got") and not (outcome["got"] == UNREAD and outcome.get("took_s") is None)
    got = f"; got {html.escape(str(outcome['got']))}" if asked else ""
    took = outcome.get("took_s")
    return (
        f'<tr><td class="{look}" title="{html.escape(words)}"><b>{mark}</b></td>'
        f"<td>{html.escape(str(outcome.get('name')))}"
        f"<div class=soft>{html.escape(str(outcome.get('wanted')))}{got}</div></td>"
        f"<td class=number>{seconds(took) if took is not None else ''}</td></tr>"
    )


def timeline(report: Json, *, newest_first: bool = False) -> str:
    entries: Sequence[Json] = report.get("timeline") or []
    lines = "".join(
        f'<li class="{_KINDS.get(str(one.get("kind")), "")}">'
        f'<div><span class="at">{round(float(one.get("at_s") or 0), 1) + 0.0:+.1f} s</span><span>'
        f"<span class=soft>{html.escape(_KIND_WORDS.get(str(one.get('kind')), str(one.get('kind'))))}</span> "
        f"<b>{html.escape(str(one.get('event')))}</b> {html.escape(str(one.get('detail') or ''))}</span></div></li>"
        for one in (reversed(entries) if newest_first else entries)
    )
    return f'<ul class="timeline">{lines}</ul>' if lines else "<div class=soft>Nothing yet.</div>"


def marks(report: Json) -> list[Mark]:
    """What stands in the charts: the first alert, actions, what is graded. Seconds since the injection."""
    graded = {one.get("expectation") for one in report.get("grades") or []}
    found: list[Mark] = []
    alerted = False
    for one in report.get("timeline") or []:
        kind, event = str(one.get("kind")), str(one.get("event"))
        first_alert = kind == "alert" and event.endswith(" firing") and not alerted
        alerted = alerted or first_alert
        if first_alert or kind == "action" or (kind == "met" and event in graded):
            found.append(Mark(float(one["at_s"]), event, MARK_COLOURS[kind]))
    return found[:MAX_MARKS]


def injection_band(report: Json) -> list[Band]:
    """While the injection was in force."""
    began, ended = report.get("injected_at_unix_ms"), report.get("injection_ended_at_unix_ms")
    if not isinstance(began, int):
        return []
    end_s = (ended - began) / 1000 if isinstance(ended, int) else float(report.get("duration_s") or 0.0)
    return [Band(0.0, end_s, MARK_COLOURS["inject"], "injection in force")]


def when(unix_ms: object) -> str:
    if not isinstance(unix_ms, int):
        return "–"
    return dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
