"""
One trace drawn in a terminal: the tree to the left, time to the right. Pure.

A line is drawn in halves of a character, heavy where the span is on the critical path and thin where it is not, so that
it reads without colours too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

MIN_LABEL, MAX_LABEL = 26, 64
LABEL_SHARE = 0.45  # of the width, for the tree
NUMBERS = 10  # columns of one duration, with the space before it
SELF_FROM_WIDTH = 100  # narrower than this only one duration fits beside the line
DETAIL = 2  # columns that what is said of a span stands in from it

_ABSENT, _THIN, _HEAVY = 0, 1, 2
_STROKES = {
    (_ABSENT, _ABSENT): " ",
    (_ABSENT, _THIN): "╶",
    (_ABSENT, _HEAVY): "╺",
    (_THIN, _ABSENT): "╴",
    (_THIN, _THIN): "─",
    (_THIN, _HEAVY): "╼",
    (_HEAVY, _ABSENT): "╸",
    (_HEAVY, _THIN): "╾",
    (_HEAVY, _HEAVY): "━",
}
_PALETTE = ("cyan", "yellow", "magenta", "green", "blue", "bright_cyan", "bright_yellow", "bright_magenta")
ERROR = "bold red"


def duration(nano: int) -> str:
    """Three digits at most: `870 µs`, `12.3 ms`, `1.24 s`, `2 m 05 s`."""
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6), ("s", 10**9)):
        value = nano / size
        if round(value, 2 if value < 10 else 0) < (60 if unit == "s" else 1000):
            digits = 0 if unit == "ns" or value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f} {unit}"
    seconds = round(nano / 10**9)
    minutes, hours = seconds // 60, seconds // 3600
    return f"{hours} h {minutes % 60:02d} m" if hours else f"{minutes} m {seconds % 60:02d} s"


def colours(services: Sequence[str]) -> dict[str, str]:
    """The same services always get the same colours."""
    return {name: _PALETTE[place % len(_PALETTE)] for place, name in enumerate(sorted(set(services)))}


def shown(text: str) -> str:
    """One line without what a terminal would obey."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def line(halves: int, begin: int, length: int, critical: Sequence[tuple[int, int]], *, total: int, style: str) -> Text:
    """
    A span's line, `halves` / 2 characters wide.

    Args:
        begin, length: Nanoseconds from the trace's start, of `total`.
        critical: The parts on the critical path, from and to, likewise.
    """
    cells = [_ABSENT] * halves
    for first, last, stroke in [(begin, begin + length, _THIN), *((low, high, _HEAVY) for low, high in critical)]:
        low = min(halves - 1, max(0, first) * halves // total)
        high = min(halves, max(low + 1, -(-last * halves // total)))
        cells[low:high] = [stroke] * (high - low)
    text = "".join(_STROKES[left, right] for left, right in zip(cells[::2], cells[1::2], strict=True))
    return Text(text, style=style, no_wrap=True)


def waterfall(trace: Mapping[str, Any], *, width: int, most: int, details: bool = False) -> RenderableType:
    """
    Args:
        trace: The answer of /api/v1/traces/{id}.
        most: How many spans are shown at most.
        details: Whether attributes and events are shown below each span.
    """
    spans = trace["spans"]
    there = colours([span["service"] for span in spans])
    drawn = _Drawing(trace, width, there)
    rows: list[RenderableType] = [*_heading(trace, there), Text(), drawn.axis()]
    service_of = {span["span_id"]: span["service"] for span in spans}
    for span, guide, below in zip(spans[:most], *_guides(spans), strict=False):
        rows.append(drawn.row(span, guide, service_of.get(span["parent_span_id"], "")))
        rows += drawn.failure(span, below)
        if details:
            rows += drawn.details(span, below)
    if len(spans) > most:
        rows.append(Text(f"… {len(spans) - most} more spans; --all shows them", style="dim"))
    return Group(*rows, Text(), *_where(trace, there, width))


def _heading(trace: Mapping[str, Any], there: Mapping[str, str]) -> Iterator[Text]:
    spans = trace["spans"]
    root = spans[0]
    errors = sum(span["status"] == "error" for span in spans)
    yield Text.assemble((root["service"], f"bold {there[root['service']]}"), "  ", (shown(root["name"]), "bold"))
    yield Text.assemble(
        (f"trace {trace['trace_id']}", "dim"),
        f"  {duration(trace['duration_nano'])}, ",
        f"{len(spans)} span{'s' * (len(spans) != 1)} of {len(there)} service{'s' * (len(there) != 1)}",
        (f", {errors} failed" if errors else "", ERROR),
    )


class _Drawing:
    def __init__(self, trace: Mapping[str, Any], width: int, there: Mapping[str, str]) -> None:
        self._colours = there
        self._start = int(trace["start_unix_nano"])
        self._total = max(1, trace["duration_nano"])
        self._with_self = width >= SELF_FROM_WIDTH
        self._label = min(MAX_LABEL, max(MIN_LABEL, int(width * LABEL_SHARE)))
        numbers = NUMBERS * (2 if self._with_self else 1)
        self._line = max(10, width - self._label - numbers - 1)
        self._critical: dict[str, list[tuple[int, int]]] = {}
        for section in trace["critical_path"]:
            begin, end = int(section["start_unix_nano"]), int(section["end_unix_nano"])
            self._critical.setdefault(section["span_id"], []).append((begin - self._start, end - self._start))

    def axis(self) -> Text:
        middle, end = duration(self._total // 2), duration(self._total)
        half = self._line // 2
        scale = f"{'0':<{half}}{middle:<{self._line - half - len(end)}}{end}"
        heads = f"{'took':>{NUMBERS}}" + (f"{'itself':>{NUMBERS}}" if self._with_self else "")
        return Text(f"{'':{self._label}} {scale}{heads}", style="dim", no_wrap=True)

    def row(self, span: Mapping[str, Any], guide: str, parent_service: str) -> Text:
        failed = span["status"] == "error"
        colour = self._colours[span["service"]]
        label = Text(_cut(guide, self._label // 2), style="dim")
        if failed:
            label.append("✗ ", ERROR)
        if span["service"] != parent_service:
            label.append(f"{shown(span['service'])} ", f"bold {colour}")
        label.append(shown(span["name"]), ERROR if failed else "")
        label.truncate(self._label, overflow="ellipsis", pad=True)
        length = max(0, span["duration_nano"])
        drawn = line(
            2 * self._line,
            int(span["start_unix_nano"]) - self._start,
            length,
            self._critical.get(span["span_id"], ()),
            total=self._total,
            style="red" if failed else colour,
        )
        numbers = Text(f"{duration(length):>{NUMBERS}}", style="" if span["critical_nano"] else "dim")
        if self._with_self:
            numbers.append(f"{duration(span['self_nano']):>{NUMBERS}}", "dim")
        return Text.assemble(label, " ", drawn, numbers, no_wrap=True, overflow="crop")

    def failure(self, span: Mapping[str, Any], guide: str) -> Iterator[Text]:
        """What went wrong: the exception, else the status's message."""
        if span["status"] != "error":
            return
        said = span["status_message"]
        for event in span["events"]:
            attributes = event["attributes"]
            if event["name"] == "exception":
                words = (str(attributes.get(f"exception.{part}", "")) for part in ("type", "message"))
                said = ": ".join(word for word in words if word) or said
        if said:
            yield self._below(guide, Text(shown(said), style="red"))

    def details(self, span: Mapping[str, Any], guide: str) -> Iterator[Text]:
        yield from self._attributes(guide, span["attributes"])
        for event in span["events"]:
            at = duration(max(0, int(event["time_unix_nano"]) - self._start))
            yield self._below(guide, Text.assemble((f"+{at} ", "dim"), (shown(event["name"]), "bold")))
            yield from self._attributes(f"{guide}  ", event["attributes"])

    def _attributes(self, guide: str, attributes: Mapping[str, Any]) -> Iterator[Text]:
        for key, value in attributes.items():
            yield self._below(guide, Text.assemble((f"{shown(key)} ", "dim"), shown(str(value))))

    def _below(self, guide: str, text: Text) -> Text:
        row = Text.assemble((_cut(guide, self._label // 2), "dim"), " " * DETAIL, text, no_wrap=True)
        row.truncate(self._label + self._line + NUMBERS, overflow="ellipsis")
        return row


def _cut(guide: str, width: int) -> str:
    """What is nested deeper than fits stands at the same place, with the depth that was cut."""
    return guide if len(guide) <= width else f"…{guide[-width + 1 :]}"


def _guides(spans: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The lines of the tree before each span, and before what is said below it."""
    last = [True] * len(spans)
    open_: set[int] = set()
    for index in range(len(spans) - 1, -1, -1):
        depth = spans[index]["depth"]
        last[index] = depth not in open_
        open_ = {level for level in open_ if level <= depth} | {depth}
    guides, below = [], []
    stems: list[str] = []
    for index, span in enumerate(spans):
        depth = span["depth"]
        del stems[max(0, depth - 1) :]
        before = "".join(stems)
        guides.append(before + ("" if depth == 0 else "└ " if last[index] else "├ "))
        if depth:
            stems.append("  " if last[index] else "│ ")
        children = index + 1 < len(spans) and spans[index + 1]["depth"] > depth
        below.append("".join(stems) + ("│" if children else " "))
    return guides, below


def _where(trace: Mapping[str, Any], there: Mapping[str, str], width: int) -> Iterator[Text]:
    """Which service's own work the critical path is made of."""
    spent: dict[str, int] = {}
    for span in trace["spans"]:
        spent[span["service"]] = spent.get(span["service"], 0) + span["critical_nano"]
    total = sum(spent.values())
    if not total:
        return
    yield Text.assemble(("━", "bold"), (" on the critical path, ", "dim"), "─", (" not. It is made of:", "dim"))
    room = max(10, min(40, width - 50))
    for service, nano in sorted(spent.items(), key=lambda item: -item[1]):
        if not nano:
            continue
        name = Text(shown(service), style=f"bold {there[service]}")
        name.truncate(24, overflow="ellipsis", pad=True)
        bar = "━" * max(1, round(room * nano / total))
        yield Text.assemble(name, f"{duration(nano):>{NUMBERS}}{nano / total:>6.0%}  ", (bar, there[service]))
