"""
One remediation told as an incident report: what happened and how it ended first, then what it was decided on. Tolerates
fields that are missing, as a record is readable while it grows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeAlias

Record: TypeAlias = "dict[str, Any]"

CHANGES = "recent changes"  # the finding that the worker makes of the dashboards' annotations
CRITICAL_PATH = "critical path"  # the finding that the worker makes of a trace, whose id is its query
TRACES = "trace_ids"  # the annotation in which a rule names traces
MAX_CHANGES_ELSEWHERE = 5  # the last ones: what was done to other services explains less
MAX_MOMENTS = 7  # of a table of values, so that it fits 120 columns beside the names
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_ENDS = {
    "resolved": "it helped",
    "escalated": "people must look",
    "refused": "a guard refused, nothing was done",
    "failed": "the worker could not do it",
}


def report(record: Record) -> list[str]:
    """Line by line."""
    began = record.get("started_at_unix_ms")
    alert = record.get("alert") or {}
    state, service = str(record.get("state", "?")), plain(record.get("service") or "?")
    annotations = alert.get("annotations") or {}
    lines = [f"{plain(record.get('alertname') or '?')} on {service}: {state}"]
    lines += [f"  {plain(annotations['summary'])}"] if annotations.get("summary") else []
    lines += _columns(
        [
            ("outcome", _outcome(record)),
            ("changed", actions_in_short(record.get("actions") or []) or "nothing"),
            ("began", f"{moment(began)}, took {took(record)}"),
            ("policy", plain(record.get("policy"))),
            ("id", plain(record.get("id") or "?")),
        ]
    )
    evidence = record.get("evidence") or []
    lines += _section("What was done, and why", [_action(one, began) for one in record.get("actions") or []], "nothing")
    if record.get("approvals"):
        lines += _section("What was asked", [_question(asked) for asked in record["approvals"]])
    measured = [one for one in evidence if _is_measured(one)]
    lines += _section("Evidence", _values(measured, began))
    lines += _section("Traces", _traces(record), "none")
    lines += _section("Changed in the half hour before", _changes(evidence, service), "nothing that is known")
    lines += _section("Alert", _alert(alert))
    lines += _section("Timeline", _timeline(record.get("timeline") or [], began))
    return lines + _section("Queries behind the evidence", _queries(measured))


def actions_in_short(actions: list[Record]) -> str:
    """Changes of one target that follow each other become one chain: `catalog 1→4→1`."""
    chains: list[tuple[str, list[str]]] = []
    for action in actions:
        target = plain(action.get("target"))
        if action.get("from") is None:
            chains.append((f"{_words(action.get('action'))} {target}", []))
            continue
        before, after = plain(action["from"]), plain(action.get("to"))
        if chains and chains[-1][0] == target and chains[-1][1][-1:] == [before]:
            chains[-1][1].append(after)
        else:
            chains.append((target, [before, after]))
    return ", ".join(f"{name} {'→'.join(values)}".rstrip() for name, values in chains)


def plain(value: Any) -> str:
    """One line that cannot steer a terminal, whatever it was."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def moment(unix_ms: Any) -> str:
    """In local time, to the second."""
    if not isinstance(unix_ms, int):
        return "-"
    return datetime.fromtimestamp(unix_ms / 1000, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def took(record: Record) -> str:
    began, ended = record.get("started_at_unix_ms"), record.get("finished_at_unix_ms")
    if not isinstance(began, int) or not isinstance(ended, int):
        return "unfinished"
    return f"{(ended - began) / 1000:.1f} s"


def _outcome(record: Record) -> str:
    if not record.get("outcome"):
        return "not decided yet"
    acted = bool(record.get("actions"))
    told = (
        _ENDS.get(str(record.get("state")), "") if acted or record.get("state") != "resolved" else "nothing was needed"
    )
    return f"{told}: {plain(record['outcome'])}" if told else plain(record["outcome"])


def _columns(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {name:<8} {value}".rstrip() for name, value in pairs]


def _section(title: str, lines: list[str], none: str = "none") -> list[str]:
    return ["", title, *(f"  {line}" for line in lines or [none])]


def _alert(alert: Record) -> list[str]:
    labels, annotations = alert.get("labels") or {}, alert.get("annotations") or {}
    told = ", ".join(f'{name}="{plain(value)}"' for name, value in sorted(labels.items()))
    rest = {name: value for name, value in sorted(annotations.items()) if name not in ("summary", TRACES)}
    return [f"{{{told}}}", *(f"{name}: {plain(value)}" for name, value in rest.items())]


# Evidence


def _is_measured(finding: Record) -> bool:
    return finding.get("name") not in (CHANGES, CRITICAL_PATH) and not _trace_ids(finding)


def _trace_ids(finding: Record) -> list[str]:
    value = finding.get("value")
    return value if isinstance(value, list) and all(_is_trace_id(one) for one in value) else []


def _is_trace_id(value: Any) -> bool:
    return isinstance(value, str) and _TRACE_ID.fullmatch(value) is not None


def _values(findings: list[Record], began: int | None) -> list[str]:
    """A row for each query, or each series of it, with its values in the order of time: before, and after."""
    moments = _shown(sorted({at for one in findings if isinstance(at := one.get("at_unix_ms"), int)}))
    rows: dict[str, dict[int, str]] = {}
    for one in findings:
        name, at = plain(one.get("name") or "?"), one.get("at_unix_ms")
        value = one.get("value")
        for labels, number in value.items() if isinstance(value, dict) else [("", value)]:
            row = rows.setdefault(f"{name} {plain(labels)}".rstrip(), {})
            if at in moments:
                row[at] = "none" if number is None else plain(number)
    width = max((len(name) for name in rows), default=0)
    times = [_offset(at, began).strip() for at in moments]
    table = {name: [row.get(at, "") for at in moments] for name, row in rows.items()}
    short = {name: cells for name, cells in table.items() if max(map(len, cells), default=0) <= len("no answer")}
    widths = [max(len(time), *(len(cells[place]) for cells in short.values()), 0) for place, time in enumerate(times)]
    lines = [_row("", width, times, widths)] if short else []
    lines += [_row(name, width, cells, widths) for name, cells in short.items()]
    for name, cells in table.items():
        if name not in short:
            told = [f"{cell} ({time})" for cell, time in zip(cells, times, strict=True) if cell]
            lines.append(f"{name}: {'; '.join(told)}")
    return lines


def _queries(findings: list[Record]) -> list[str]:
    asked = {(plain(one.get("name") or "?"), plain(one["query"])): None for one in findings if one.get("query")}
    return [f"{name}: {query}" for name, query in asked]


def _shown(moments: list[int]) -> list[int]:
    """The first is what it was before; of the others the last."""
    return moments if len(moments) <= MAX_MOMENTS else [moments[0], *moments[1 - MAX_MOMENTS :]]


def _row(name: str, width: int, cells: list[str], widths: list[int]) -> str:
    return "  ".join(
        [f"{name:<{width}}", *(f"{cell:>{size}}" for cell, size in zip(cells, widths, strict=True))]
    ).rstrip()


def _traces(record: Record) -> list[str]:
    """Each once, as a link if the worker knew where traces are looked at; and what the time went into, if it knew."""
    found: dict[str, str] = {}
    paths: dict[str, dict[str, Any]] = {}
    for one in record.get("evidence") or []:
        if one.get("name") == CRITICAL_PATH and isinstance(one.get("value"), dict):
            paths[str(one.get("query"))] = one["value"]  # the last: by then all of its spans had come
        for trace_id in _trace_ids(one):
            found.setdefault(trace_id, plain(one.get("name")))
    annotations = (record.get("alert") or {}).get("annotations") or {}
    for trace_id in str(annotations.get(TRACES, "")).split(","):
        if _is_trace_id(trace_id.strip()):
            found.setdefault(trace_id.strip(), "named by the alert")
    told = [str(event.get("detail")) for event in record.get("timeline") or [] if event.get("event") == "traces"]
    links = {link.rpartition("/")[2]: link for text in told for link in text.split() if "://" in link}
    lines: list[str] = []
    for name in dict.fromkeys(found.values()):
        lines.append(name)
        for trace_id in (one for one in found if found[one] == name):
            lines.append(f"  {plain(links.get(trace_id, trace_id))}")
            lines += [f"    {_seconds(took_s):>8}  {plain(span)}" for span, took_s in paths.get(trace_id, {}).items()]
    return lines


def _seconds(value: Any) -> str:
    return f"{value:.3f} s" if isinstance(value, int | float) else plain(value)


def _changes(evidence: list[Record], service: str) -> list[str]:
    """Those of the service itself, then the last of the others."""
    entries = [plain(text) for one in evidence if one.get("name") == CHANGES for text in one.get("value") or []]
    entries = list(dict.fromkeys(entries))
    own = [text for text in entries if re.search(rf"(?<![\w-]){re.escape(service)}(?![\w-])", text)]
    others = [text for text in entries if text not in own]
    hidden = len(others) - MAX_CHANGES_ELSEWHERE
    lines = [*own, *(["elsewhere"] if others and own else [])]
    indent = "  " if own else ""
    lines += [f"{indent}and {hidden} more, earlier"] if hidden > 0 else []
    return lines + [f"{indent}{text}" for text in others[-MAX_CHANGES_ELSEWHERE:]]


# What was done


def _action(action: Record, began: int | None) -> str:
    status = action.get("status")
    how = f" [{plain(status)}]" if status not in (None, "done") else ""
    change = f" {plain(action['from'])} → {plain(action.get('to'))}" if action.get("from") is not None else ""
    what = f"{_words(action.get('action'))} {plain(action.get('target'))}{change}{how}"
    return f"{_offset(action.get('at_unix_ms'), began)}  {what}: {plain(action.get('reason'))}"


def _question(asked: Record) -> str:
    if asked.get("verdict") is None:
        return f"{plain(asked.get('question'))} (open until {moment(asked.get('expires_at_unix_ms'))})"
    by = f" by {plain(asked['by'])}: {plain(asked.get('reason'))}" if asked.get("by") else ""
    return f"{plain(asked.get('question'))} {plain(asked['verdict'])}{by}"


def _timeline(events: list[Record], began: int | None) -> list[str]:
    """Without the links to traces, which stand by themselves, and what was told twice."""
    lines, told = [], None
    width = max((len(_words(event.get("event"))) for event in events), default=0)
    for event in events:
        what = (event.get("event"), event.get("detail"))
        if event.get("event") == "traces" or what == told:
            continue
        told = what
        detail = "" if event.get("detail") is None else plain(event["detail"])
        lines.append(
            f"{_offset(event.get('at_unix_ms'), began)}  {_words(event.get('event')):<{width}}  {detail}".rstrip()
        )
    return lines


def _words(name: Any) -> str:
    return plain(name or "?").replace("_", " ")


def _offset(at_unix_ms: Any, began_unix_ms: Any) -> str:
    """Since it began, so that the columns below each other are aligned."""
    if not isinstance(at_unix_ms, int) or not isinstance(began_unix_ms, int):
        return f"{'?':>9}"
    return f"{(at_unix_ms - began_unix_ms) / 1000:+7.1f} s"
