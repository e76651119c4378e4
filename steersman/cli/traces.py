"""`traces`, `trace` and what `logs` prints of stored records: what the collector keeps, for a person at a terminal."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from steersman.cli.peers import ask
from steersman.cli.waterfall import ERROR, colours, duration, shown, waterfall
from steersman.errors import PeerError
from steersman.runtime.paths import DataDir
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

UNBOUNDED_WIDTH = 160  # of what goes into a pipe, which has no width
IDS_FROM_WIDTH = 120  # narrower than this a trace's id leaves no room for its name; its number stands for it
MOST_SPANS = 200  # a screen or four; --all shows the rest
BAR = 12  # columns of the bar that compares durations
_LIST = "traces.json"  # of the ids that the last list showed, so that `trace 3` means its third
_SINCE = re.compile(r"(\d{1,6})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SEVERITY_STYLES = {"FATAL": ERROR, "ERROR": ERROR, "WARN": "yellow", "INFO": "green"}


def run_traces(
    data_dir: Path,
    text: str,
    *,
    service: str | None,
    slow: str | None,
    errors: bool,
    since: str,
    limit: int,
    cursor: str | None,
    why: bool,
    as_json: bool,
    url: str | None,
) -> None:
    wanted = combined(text, service=service, slow=slow, errors=errors)
    end = time.time()
    times = {"start": f"{end - seconds(since):.3f}", "end": f"{end:.3f}"}
    where = _collector(data_dir, url)
    if why:
        answer = _ask(f"{where}/api/v1/traces/compare", {"selection": wanted, **times}, wanted)
        _print(answer, as_json=as_json, drawn=lambda width: comparison_table(answer, wanted, width))
        return
    parameters = {"filter": wanted, "limit": str(limit), **times} | ({"cursor": cursor} if cursor else {})
    answer = _ask(f"{where}/api/v1/traces/search", parameters, wanted)
    _remember(data_dir, [trace["trace_id"] for trace in answer["traces"]])
    _print(answer, as_json=as_json, drawn=lambda width: traces_table(answer, since, width))


def run_trace(data_dir: Path, trace_id: str, *, details: bool, all_: bool, as_json: bool, url: str | None) -> None:
    wanted = _remembered(data_dir, trace_id)
    if not re.fullmatch("[0-9a-fA-F]{1,32}", wanted):
        raise typer.BadParameter(f"{wanted[:64]!r} is neither hex digits nor a number of the last list")
    answer = _ask(f"{_collector(data_dir, url)}/api/v1/traces/{wanted}", {}, "")
    most = len(answer["spans"]) if all_ else MOST_SPANS
    _print(answer, as_json=as_json, drawn=lambda width: waterfall(answer, width=width, most=most, details=details))


def run_records(
    data_dir: Path,
    service: str | None,
    *,
    trace: str | None,
    severity: str | None,
    grep: str | None,
    since: str,
    lines: int,
    url: str | None,
) -> None:
    end = time.time()
    asked = {"service": service, "severity": severity, "text": grep}
    if trace is not None:
        asked["trace_id"] = _remembered(data_dir, trace)
    parameters = {key: value for key, value in asked.items() if value is not None}
    parameters |= {"start": f"{end - seconds(since):.3f}", "limit": str(max(1, lines))}
    answer = ask("GET", f"{_collector(data_dir, url)}/api/v1/logs", params=parameters)
    records = answer["data"]
    console = _console()
    services = colours([record["service"] for record in records])
    if answer.get("truncated"):
        console.print(Text(f"… older ones left out; -n shows more than these {len(records)}", style="dim"))
    for record in reversed(records):
        console.print(record_line(record, services, with_service=service is None), soft_wrap=True)
    if not records:
        console.print(Text(f"no log records in the last {since}", style="dim"))


def combined(text: str, *, service: str | None, slow: str | None, errors: bool) -> str:
    """One filter of what stands in the argument and what the options say, which is about one span."""
    conditions = [f"service = {json.dumps(service)}"] if service else []
    conditions += [f"duration > {slow}"] if slow else []
    conditions += ["status = error"] if errors else []
    if not conditions:
        return text
    options = " && ".join(conditions)
    spansets, bar, stages = _split_stages(text)
    if not spansets.strip():
        return f"{{ {options} }}{bar}{stages}"
    if not spansets.lstrip(" (").startswith("{"):
        return f"{{ {options} && ({spansets.strip()}) }}{bar}{stages}"
    return f"({spansets.strip()}) && {{ {options} }}{bar}{stages}"


def _split_stages(text: str) -> tuple[str, str, str]:
    """At the first `|` that is neither quoted nor half of a `||`."""
    for match in re.finditer(r'"(?:\\.|[^"\\])*"|`[^`]*`|\|\||(\|)', text):
        if match[1]:
            return text[: match.start()], " | ", text[match.end() :].strip()
    return text, "", ""


def seconds(since: str) -> float:
    match = _SINCE.fullmatch(since)
    if not match:
        raise typer.BadParameter(f"{since[:40]!r} is not a time such as 90s, 15m, 2h or 7d", param_hint="--since")
    return float(int(match[1]) * _SECONDS[match[2]])


def traces_table(answer: Mapping[str, Any], since: str, width: int) -> Group | Text:
    traces = answer["traces"]
    if not traces:
        return Text(f"no traces in the last {since} match", style="dim")
    with_ids = width >= IDS_FROM_WIDTH
    services = colours([trace["root_service"] for trace in traces])
    longest = max(trace["duration_nano"] for trace in traces) or 1
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), expand=True)
    table.add_column("#", justify="right", style="dim", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=BAR)
    table.add_column("trace", no_wrap=True, ratio=1, overflow="ellipsis")
    table.add_column("spans", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    if with_ids:
        table.add_column("id", no_wrap=True, style="dim", min_width=32)
    for number, trace in enumerate(traces, 1):
        colour = services[trace["root_service"]]
        name = Text.assemble(
            (shown(trace["root_service"]), f"bold {colour}"),
            "  ",
            (shown(trace["root_name"]), ERROR if trace["errors"] else ""),
        )
        cells: list[str | Text] = [
            str(number),
            _clock(int(trace["start_unix_nano"])),
            duration(trace["duration_nano"]),
            Text("━" * max(1, round(BAR * trace["duration_nano"] / longest)), style=colour),
            name,
            str(trace["spans"]),
            Text(str(trace["errors"] or ""), style=ERROR),
        ]
        table.add_row(*cells, *([trace["trace_id"]] if with_ids else []))
    lines: list[Table | Text] = [table]
    if answer["truncated"]:
        further = f", or --cursor {answer['cursor']}" if with_ids else ""
        lines.append(Text(f"there are older ones: -n for more{further}", style="dim"))
    return Group(*lines, Text("steersman trace 1 shows the first, and so on", style="dim"))


def comparison_table(answer: Mapping[str, Any], wanted: str, width: int) -> Group | Text:
    if not answer["selection"] or not answer["baseline"]:
        found = f"{answer['selection']} traces match {wanted or '{}'}, {answer['baseline']} others do not"
        return Text(f"nothing to compare: {found}", style="dim")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), expand=True)
    table.add_column("attribute", no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column("value", no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column("", no_wrap=True, width=BAR)
    for heading in ("these", "others", "times"):
        table.add_column(heading, justify="right", no_wrap=True)
    for value in answer["values"]:
        key = f"{value['scope']}.{value['key']}" if value["scope"] else value["key"]
        mine, others = value["selection_share"], value["baseline_share"]
        bar = Text("━" * round(BAR * others), style="dim").append(
            "━" * (round(BAR * mine) - round(BAR * others)), ERROR
        )
        ratio = "only" if value["ratio"] is None else f"{value['ratio']:.1f}" if value["ratio"] < 100 else ">99"
        table.add_row(Text(shown(key)), Text(shown(value["value"])), bar, f"{mine:.0%}", f"{others:.0%}", ratio)
    newest = " (the newest of each)" if answer["capped"] else ""
    heading = f"{answer['selection']} traces that match, beside {answer['baseline']} that do not{newest}"
    return Group(Text(heading, style="bold"), Text(), table)


def record_line(record: Mapping[str, Any], services: Mapping[str, str], *, with_service: bool) -> Text:
    severity = record["severity_text"] or _severity(record["severity_number"])
    style = next((style for name, style in _SEVERITY_STYLES.items() if severity.upper().startswith(name)), "dim")
    body = record["body"] if isinstance(record["body"], str) else json.dumps(record["body"], ensure_ascii=False)
    line = Text.assemble(
        (_clock(int(record["time_unix_nano"])), "dim"), " ", (f"{severity[:5].upper():<5}", style), " "
    )
    if with_service:
        line.append(f"{shown(record['service'])} ", f"bold {services[record['service']]}")
    line.append(shown(body), style if style == ERROR else "")
    for key, value in record["attributes"].items():
        line.append(f"  {shown(key)}=", "dim")
        line.append(shown(str(value)), "dim")
    if record["trace_id"]:
        line.append(f"  trace={record['trace_id']}", "dim")
    return line


def _severity(number: int) -> str:
    names = ("", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    return names[min(6, (max(0, number) + 3) // 4)]


def _clock(unix_nano: int) -> str:
    """Local time; the date too if it is not of the last day."""
    moment = datetime.fromtimestamp(unix_nano / 10**9, UTC).astimezone()
    recent = time.time() - unix_nano / 10**9 < _SECONDS["d"]
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}" if recent else f"{moment:%Y-%m-%d %H:%M:%S}"


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, UNBOUNDED_WIDTH)
    return console


def _print(answer: Mapping[str, Any], *, as_json: bool, drawn: Any) -> None:
    if as_json:
        print(json.dumps(answer, indent=1))
        return
    console = _console()
    console.print(drawn(console.width))


def _ask(url: str, parameters: Mapping[str, str], wanted: str) -> dict[str, Any]:
    try:
        answer = ask("GET", url, params=dict(parameters))
    except PeerError as error:
        raise PeerError("\n".join(_pointed(str(error), wanted))) from None
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise PeerError(f"{url} answered something that is not the collector's")
    return data


def _pointed(message: str, wanted: str) -> Iterable[str]:
    """A parse error with the place underlined."""
    match = re.match(r"(\d+):(\d+): parse error: (.*)", message, re.DOTALL)
    if not match:
        return [message]
    line = wanted.split("\n")[int(match[1]) - 1] if wanted else ""
    return [f"the filter: {match[3]}", f"  {line}", f"  {' ' * (int(match[2]) - 1)}^"]


def _collector(data_dir: Path, url: str | None) -> str:
    if url:
        return url.rstrip("/")
    state = require_state(DataDir.at(data_dir))
    return Urls.of(state.ports, state.backend).collector


def _remember(data_dir: Path, ids: Sequence[str]) -> None:
    run = DataDir.at(data_dir).run
    if run.is_dir():
        (run / _LIST).write_text(json.dumps(list(ids)))


def _remembered(data_dir: Path, text: str) -> str:
    """
    The id that a number of the last list stands for; anything else as it is.

    Raises:
        BadParameter: it is a number, and none of that list.
    """
    if not re.fullmatch("[0-9]{1,4}", text):
        return text
    path = DataDir.at(data_dir).run / _LIST
    ids = json.loads(path.read_text()) if path.is_file() else []
    if 0 < int(text) <= len(ids):
        return str(ids[int(text) - 1])
    listed = f"the last list had {len(ids)}" if ids else "none is listed"
    raise typer.BadParameter(f"no trace {text}: {listed}; `steersman traces` lists and numbers them")
