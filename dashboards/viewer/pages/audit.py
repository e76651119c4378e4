"""The audit log, for admins: who did what, newest first."""

from __future__ import annotations

import asyncio
import html
from typing import Any

from nicegui import ui

from dashboards.viewer.auth.audit import AuditLog
from dashboards.viewer.auth.permission import visitor
from dashboards.viewer.auth.roles import Act, needed_for
from dashboards.viewer.pages.record import moment
from dashboards.viewer.pages.shell import page

SHOWN = 300
STYLES = {"done": "good", "refused": "bad", "failed": "warn"}


async def audit_page(audit: AuditLog) -> None:
    with page("Audit log", "audit"):
        ui.html('<h1 class="title">Audit log</h1>', sanitize=False)
        if not visitor().may(Act.READ_AUDIT):
            ui.label(f"The audit log is for the role {needed_for(Act.READ_AUDIT)}.").classes("warn")
            return
        lines = await asyncio.to_thread(audit.newest, SHOWN)
        ui.label(f"The last {len(lines)} lines of {audit.path}").classes("soft")
        ui.html(_table(lines), sanitize=False).classes("card scroll-x q-mt-sm").props("tabindex=0").style("width: 100%")


def _table(lines: list[dict[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class="mono nowrap">{moment(line.get("at_unix_ms"))}</td><td><b>{_text(line, "who")}</b> '
        f"<span class=soft>{_text(line, 'role')}</span></td><td>{_text(line, 'what')}</td>"
        f"<td>{_text(line, 'target')}</td>"
        f'<td><span class="pill {STYLES.get(str(line.get("outcome")), "soft")}">{_text(line, "outcome")}</span></td>'
        f"<td class=mono>{_text(line, 'from')}</td><td>{_text(line, 'detail')}</td></tr>"
        for line in lines
    )
    head = "<tr><th>When</th><th>Who</th><th>What</th><th>Target</th><th>Outcome</th><th>From</th><th>Detail</th></tr>"
    return f'<table class="plain cards-on-phone"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _text(line: dict[str, Any], key: str) -> str:
    return html.escape(str(line.get(key) or ""))
