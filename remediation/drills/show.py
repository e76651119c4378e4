"""The result in the terminal: a line for each event, the grades, the verdict."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from remediation.drills.definition import Definition
from remediation.drills.engine import Engine
from remediation.drills.plan import Line, Plan
from remediation.drills.report import Grade, Happening, Report
from remediation.drills.score import DrillHistory, Resilience, of_run
from remediation.drills.tracker import Status, event_words

# kind → (mark, style). Marks are in every common terminal font, one cell wide.
_LOOKS = {
    "drill": ("·", "dim"),
    "inject": ("⚡", "magenta"),
    "alert": ("!", "yellow"),
    "replicas": ("↕", "cyan"),
    "remediation": ("»", "blue"),
    "action": ("→", "bold blue"),
    "met": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "trouble": ("?", "red"),
    "verdict": ("■", "bold"),
}
_WORDS = {
    "detect": "time to detect",
    "act": "time to act",
    "recover": "time to recover",
    "return": "time to return",
}


def heading(console: Console, title: str, description: str) -> None:
    console.print()
    console.print(f"[bold]{escape(title)}[/bold]")
    console.print(" ".join(description.split()), style="dim", markup=False, highlight=False)
    console.print()


def happening(each: Happening) -> Table:
    """One line, however often it is printed alone: fixed columns, so that all lines stand under one another."""
    mark, style = _LOOKS.get(each.kind, ("·", ""))
    line = Table.grid(padding=(0, 1))
    line.add_column(width=9, justify="right", no_wrap=True)
    line.add_column(width=2, no_wrap=True)
    line.add_column(width=44)
    line.add_column(ratio=1, overflow="fold")
    line.add_row(
        Text(f"{round(each.at_s, 1) + 0.0:+.1f}s", style="dim"),
        Text(mark, style),
        Text(each.event, style),
        Text(each.detail, "dim"),
    )
    return line


def _duration(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def _within(grade: Grade) -> Text:
    if grade.took_s is None:
        return Text(grade.status, "red" if grade.status is Status.FAILED else "dim")
    if grade.aim_s is None or grade.took_s <= grade.aim_s:
        return Text("✓ met", "green")
    return Text("✓ met, past the aim", "yellow")


def grades(console: Console, report: Report) -> None:
    if not report.grades:
        return
    table = Table(box=None, padding=(0, 2), header_style="dim", show_edge=False)
    table.add_column("")
    table.add_column("from → to")
    for header in ("took", "aim", "deadline"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("")
    for each in report.grades:
        table.add_row(
            Text(_WORDS.get(each.grade, f"time to {each.grade}"), "bold"),
            Text(f"{event_words(each.after)} → {each.expectation}", "dim"),
            Text(_duration(each.took_s), "bold"),
            _duration(each.aim_s),
            _duration(each.deadline_s),
            _within(each),
        )
    console.print()
    console.print(table)


def verdict(console: Console, report: Report) -> None:
    """The last line, and above it why it is not PASS."""
    console.print()
    for reason in report.reasons:
        console.print(Text("✗ ", "bold red") + Text(reason, "red"))
    look = "bold white on green" if report.passed else "bold white on red"
    met = sum(each.status is Status.MET for each in report.expectations)
    facts = f"{report.drill}: {met} of {len(report.expectations)} expectations met in {report.duration_s:.0f} s"
    console.print(Text(f" {report.verdict} ", look) + Text(f" {facts}") + Text(f" · {report.run}", "dim"))


def whole(console: Console, report: Report) -> None:
    heading(console, report.title, report.description)
    for each in report.timeline:
        console.print(happening(each))
    grades(console, report)
    verdict(console, report)


def listing(console: Console, definitions: Sequence[Definition]) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim", show_edge=False)
    for header in ("drill", "service", "what it does"):
        table.add_column(header)
    for each in definitions:
        table.add_row(Text(each.name, "bold"), each.service, f"{escape(each.title)}")
    console.print(table)


def plan(console: Console, planned: Plan) -> None:
    """What a dry run found."""
    heading(console, planned.definition.title, planned.definition.description)
    _section(console, "steady state, now", planned.steady, good=True)
    console.print("[bold]would be injected[/bold]")
    for words in planned.injections:
        console.print(Text("  ⚡ ", "magenta") + Text(words))
    console.print("[bold]is expected[/bold]")
    for line in planned.expectations:
        console.print(Text("  · ", "dim") + Text(line.name, "bold") + Text(f": {line.wanted}", "dim"))
    _section(console, "stop conditions, now", planned.stops, good=False)
    console.print()
    for obstacle in planned.obstacles:
        console.print(Text("✗ ", "bold red") + Text(obstacle, "red"))
    verdict = "it would start now" if planned.would_run else "it would not start now"
    console.print(Text(f"dry run of {planned.definition.name}: {verdict}; nothing was changed"))


_SPARKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float]) -> str:
    """The trend in one line: low is quick. Up to the 20 latest."""
    shown = values[-20:]
    highest = max(shown, default=0.0) or 1.0
    return "".join(_SPARKS[min(7, int(value / highest * 7.999))] for value in shown)


def history(console: Console, resilience: Resilience, *, one: bool) -> None:
    """All drills, a line each; or one drill, a line for each run, newest last."""
    if not resilience.drills:
        console.print("no drill was run yet")
    for each in resilience.drills if one else ():
        _runs(console, each)
    if resilience.drills and not one:
        _all_drills(console, resilience)
    if resilience.score is not None and not one:
        console.print()
        console.print(Text(f"resilience score {int(resilience.score)} of 100", "bold"))
    if resilience.never_run:
        console.print(Text(f"never run, so not in the score: {', '.join(resilience.never_run)}", "yellow"))


def _all_drills(console: Console, resilience: Resilience) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim", show_edge=False)
    table.add_column("drill", no_wrap=True)
    for header in ("score", "passed"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict")
    table.add_column("time to")
    for header in ("latest", "median"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("trend", no_wrap=True)
    for each in resilience.drills:
        verdict = Text(each.latest.verdict, "green" if each.latest.passed else "bold red")
        took = [each.took(name) for name in each.grades]
        table.add_row(
            Text(each.drill, "bold"),
            str(int(each.score)),
            f"{each.passed}/{len(each.runs)}",
            verdict,
            "\n".join(each.grades),
            "\n".join(_duration(values[-1] if values else None) for values in took),
            "\n".join(_duration(statistics.median(values) if values else None) for values in took),
            "\n".join(spark(values) if len(values) > 1 else "" for values in took),
        )
    console.print(table)


def _runs(console: Console, drill: DrillHistory) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim", show_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("verdict")
    for header in ("score", *drill.grades):
        table.add_column(header, justify="right", no_wrap=True)
    for run in drill.runs:
        took = {grade.grade: grade.took_s for grade in run.grades}
        verdict = Text(run.verdict, "green" if run.passed else "bold red")
        table.add_row(run.run, verdict, str(int(of_run(run))), *(_duration(took.get(name)) for name in drill.grades))
    console.print(table)


def _section(console: Console, title: str, lines: Sequence[Line], *, good: bool) -> None:
    console.print(f"[bold]{title}[/bold]")
    for line in lines:
        fine = line.holds is good
        mark = (
            Text("  ✓ ", "green") if fine else Text("  ? ", "red") if line.holds is None else Text("  ✗ ", "bold red")
        )
        if not good and line.holds is None:
            mark = Text("  · ", "dim")  # it cannot hold on what is not there
        console.print(mark + Text(line.name, "bold") + Text(f": {line.wanted}; now {line.got}", "dim"))


class Live:
    """Prints each event as it comes; on a terminal also a status line of what is being waited for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed = 0
        self._status = console.status("") if console.is_terminal else None
        if self._status:
            self._status.start()

    def __call__(self, engine: Engine, now: float) -> None:
        entries = engine.timeline.entries
        # Before the injection there is no time zero: count from the first entry, as the report does if none comes.
        zero = engine.timeline.zero
        if zero is None and not engine.done:
            entries = entries[:0]
        zero = zero if zero is not None else (entries[0].at if entries else now)
        for entry in entries[self._printed :]:
            at = round(entry.at - zero, 3)
            self._console.print(happening(Happening(at_s=at, kind=entry.kind, event=entry.event, detail=entry.detail)))
        self._printed = max(self._printed, len(entries))
        if self._status:
            waiting = engine.waiting_for(now)
            shown = "; ".join(waiting[:2]) + (f"; and {len(waiting) - 2} more" if len(waiting) > 2 else "")
            self._status.update(escape(f"{engine.phase}: {shown}") if waiting else str(engine.phase))

    def close(self) -> None:
        if self._status:
            self._status.stop()
