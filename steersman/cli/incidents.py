"""`remediations` and `remediation show`: what the worker did, told so that a person can judge it."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from steersman.cli.incident_report import actions_in_short, moment, plain, report, took
from steersman.cli.peers import ask
from steersman.errors import PeerError
from steersman.runtime.paths import DataDir
from steersman.runtime.tokens import read_token
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

UNBOUNDED_WIDTH = 200
STATE_STYLES = {"resolved": "green", "escalated": "bold red", "failed": "bold red", "refused": "yellow"}


def run_list(data_dir: Path, *, service: str | None, state: str | None, limit: int, as_json: bool) -> None:
    parameters = {"limit": str(limit)}
    parameters |= {key: value for key, value in (("service", service), ("state", state)) if value}
    answer = ask("GET", f"{_worker(data_dir)}/api/v1/remediations", params=parameters)
    if as_json:
        print(json.dumps(answer, indent=1))
        return
    records = answer.get("remediations", []) if isinstance(answer, dict) else []
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, UNBOUNDED_WIDTH)  # a pipe has no width; grep wants whole lines
    console.print(records_table(records) if records else "no remediations")


def records_table(records: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "started", "service", "alert", "state"):
        table.add_column(heading, no_wrap=True, overflow="fold")
    table.add_column("took", no_wrap=True, justify="right")
    table.add_column("actions")
    for record in records:
        state = str(record.get("state", "?"))
        cells = [
            plain(record.get("id")),
            moment(record.get("started_at_unix_ms")),
            plain(record.get("service")),
            plain(record.get("alertname")),
            state,
            took(record),
            actions_in_short(record.get("actions") or []),
        ]
        # Text, because a plain string's brackets would be read as markup.
        table.add_row(*(Text(cell, style=STATE_STYLES.get(state, "cyan") if cell is state else "") for cell in cells))
    return table


def run_show(data_dir: Path, remediation_id: str, *, as_json: bool) -> None:
    record = ask("GET", f"{_worker(data_dir)}/api/v1/remediations/{quote(remediation_id, safe='')}")
    if not isinstance(record, dict):
        raise PeerError("the worker answered something that is not a record")
    if as_json:
        print(json.dumps(record, indent=1))
        return
    for line in report(record):
        print(line)


def run_answer(data_dir: Path, remediation_id: str, verdict: str, reason: str) -> None:
    """Args: verdict: `approve` or `refuse`."""
    url = f"{_worker(data_dir)}/api/v1/remediations/{quote(remediation_id, safe='')}/{verdict}"
    token = read_token(DataDir.at(data_dir).token_file("remediation"))
    ask("POST", url, token=token, json={"by": getpass.getuser(), "reason": reason})
    print(f"{remediation_id}: {'approved' if verdict == 'approve' else 'refused'}")


def _worker(data_dir: Path) -> str:
    return Urls.of(require_state(DataDir.at(data_dir)).ports).remediation
