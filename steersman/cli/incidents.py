"""`remediations` and `remediation show`: what the worker did, told so that a person can judge it."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from steersman.cli.peers import ask
from steersman.errors import PeerError
from steersman.runtime.paths import DataDir
from steersman.runtime.tokens import read_token
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

UNBOUNDED_WIDTH = 200
CHANGES = "recent changes"  # the finding that the worker makes of the dashboards' annotations
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
            _text(record.get("id")),
            moment(record.get("started_at_unix_ms")),
            _text(record.get("service")),
            _text(record.get("alertname")),
            state,
            _took(record),
            actions_in_short(record.get("actions") or []),
        ]
        # Text, because a plain string's brackets would be read as markup.
        table.add_row(*(Text(cell, style=STATE_STYLES.get(state, "cyan") if cell is state else "") for cell in cells))
    return table


def actions_in_short(actions: list[dict[str, Any]]) -> str:
    """Changes of one target that follow each other become one chain: `catalog 1→4→1`."""
    chains: list[tuple[str, list[str]]] = []
    for action in actions:
        target = _text(action.get("target"))
        if action.get("from") is None:
            chains.append((f"{_text(action.get('action'))} {target}", []))
            continue
        before, after = _text(action["from"]), _text(action.get("to"))
        if chains and chains[-1][0] == target and chains[-1][1][-1:] == [before]:
            chains[-1][1].append(after)
        else:
            chains.append((target, [before, after]))
    return ", ".join(f"{name} {'→'.join(values)}".rstrip() for name, values in chains)


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


def report(record: dict[str, Any]) -> list[str]:
    """The incident report, line by line. Tolerates fields that are missing: a record is readable while it grows."""
    began = record.get("started_at_unix_ms")
    lines = [
        f"Remediation {record.get('id', '?')}",
        f"  {record.get('alertname', '?')} on {record.get('service', '?')}: {record.get('state', '?')}",
        f"  started {moment(began)}, took {_took(record)}, policy {_text(record.get('policy'))}",
        f"  in short: {actions_in_short(record.get('actions') or []) or 'nothing was changed'}",
    ]
    alert = record.get("alert") or {}
    lines += _section("Alert", [*_pairs(alert.get("labels")), *_pairs(alert.get("annotations"))])
    evidence = record.get("evidence") or []
    changes = [text for one in evidence if one.get("name") == CHANGES for text in one.get("value") or []]
    lines += _section(
        "Changes in the half hour before", [_text(one) for one in dict.fromkeys(changes)], none="none known"
    )
    lines += _section("Evidence", _evidence([one for one in evidence if one.get("name") != CHANGES], began))
    lines += _section("Actions", [_action(action, began) for action in record.get("actions") or []], none="none taken")
    if record.get("approvals"):
        lines += _section("Questions", [_question(asked) for asked in record["approvals"]])
    lines += _section("Timeline", [_event(event, began) for event in record.get("timeline") or []])
    return [*lines, "", f"Outcome: {_text(record.get('outcome')) if record.get('outcome') else 'not decided yet'}"]


def _section(title: str, lines: list[str], *, none: str = "none") -> list[str]:
    return ["", title, *(f"  {line}" for line in lines or [none])]


def _pairs(values: dict[str, Any] | None) -> list[str]:
    return [f"{key}: {_text(value)}" for key, value in sorted((values or {}).items())]


def _evidence(entries: list[dict[str, Any]], began: int | None) -> list[str]:
    """Each query once, with its values in the order of time: what it was before, and what it is after."""
    by_query: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in entries:
        by_query.setdefault((str(entry.get("name", "?")), str(entry.get("query") or "")), []).append(entry)
    lines: list[str] = []
    for (name, query), found in by_query.items():
        values = [f"{_text(one.get('value'))} ({_since(one.get('at_unix_ms'), began).strip() or '?'})" for one in found]
        lines.append(f"{_text(name)} = {' → '.join(values)}")
        lines += [f"  {_text(query)}"] if query else []
    return lines


def _action(action: dict[str, Any], began: int | None) -> str:
    status = action.get("status")
    how = f" [{_text(status)}]" if status not in (None, "done") else ""
    return f"{_since(action.get('at_unix_ms'), began)}  {_change(action)}{how}: {_text(action.get('reason'))}"


def _event(event: dict[str, Any], began: int | None) -> str:
    return f"{_since(event.get('at_unix_ms'), began)}  {event.get('event', '?')}  {_text(event.get('detail'))}".rstrip()


def _question(asked: dict[str, Any]) -> str:
    if asked.get("verdict") is None:
        return f"{_text(asked.get('question'))} (open until {moment(asked.get('expires_at_unix_ms'))})"
    by = f" by {_text(asked['by'])}: {_text(asked.get('reason'))}" if asked.get("by") else ""
    return f"{_text(asked.get('question'))} {_text(asked['verdict'])}{by}"


def _change(action: dict[str, Any]) -> str:
    change = f" {_text(action['from'])} -> {_text(action.get('to'))}" if action.get("from") is not None else ""
    return f"{action.get('action', '?')} {_text(action.get('target'))}{change}"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _since(at_unix_ms: int | None, began_unix_ms: int | None) -> str:
    if not isinstance(at_unix_ms, int) or not isinstance(began_unix_ms, int):
        return f"{'':>9}"
    return f"{(at_unix_ms - began_unix_ms) / 1000:+8.1f}s"


def _took(record: dict[str, Any]) -> str:
    began, ended = record.get("started_at_unix_ms"), record.get("finished_at_unix_ms")
    if not isinstance(began, int) or not isinstance(ended, int):
        return "unfinished"
    return f"{(ended - began) / 1000:.1f} s"


def moment(unix_ms: Any) -> str:
    """In local time, to the second."""
    if not isinstance(unix_ms, int):
        return "-"
    return datetime.fromtimestamp(unix_ms / 1000, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _worker(data_dir: Path) -> str:
    return Urls.of(require_state(DataDir.at(data_dir)).ports).remediation
