"""A backtest's results for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from collector.model.alert import ALERT_NAME
from collector.model.duration import format_duration
from collector.rules.backtest.result import Result, title
from collector.rules.backtest.timeline import Episode, Summary

MAX_EPISODES = 20  # of one rule that are listed; the JSON has all
_STYLES = {"firing": "bold red", "pending": "yellow", "resolved": "green"}


def show(console: Console, results: Sequence[Result]) -> None:
    """The overview, then what each rule that did something went through."""
    console.print(_overview(results))
    for result in results:
        if result.replayed.episodes or result.replayed.errors:
            console.print()
            console.print(_details(result))


def _overview(results: Sequence[Result]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule")
    table.add_column("pending", justify="right")
    table.add_column("fired", justify="right")
    table.add_column("resolved", justify="right")
    table.add_column("never fired", justify="right")
    table.add_column("flaps", justify="right")
    table.add_column("firing for", justify="right")
    table.add_column("longest", justify="right")
    table.add_column("today fired", justify="right")
    table.add_column("remediations")
    for result in results:
        one = result.summary
        today = result.today_summary
        cells = [
            str(one.pending),
            str(one.fired),
            str(one.resolved),
            str(one.never_fired),
            str(one.flaps),
            format_duration(one.firing_ms),
            format_duration(one.longest_ms),
            "-" if today is None else f"{today.fired} ({format_duration(today.firing_ms)})",
            ", ".join(f"{count}× {name}" for name, count in result.remediations.items()) or "-",
        ]
        style = "bold" if one.fired else "dim" if not one.pending else ""
        table.add_row(Text(title(result), style=style), *(Text(cell, style=style) for cell in cells))
    return table


def _details(result: Result) -> RenderableType:
    parts: list[RenderableType] = [Text(title(result), style="bold")]
    parts += [Text(f"  {count} evaluations failed: {text}", style="red") for text, count in result.replayed.errors]
    shown = result.replayed.episodes[:MAX_EPISODES]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 2))
    for heading in ("active", "fired", "ended", "fired for", "value", "alert", "policy"):
        table.add_column(heading, no_wrap=heading != "alert")
    for episode in shown:
        table.add_row(*_row(result, episode))
    if shown:
        parts.append(table)
    left = len(result.replayed.episodes) - len(shown)
    if left:
        parts.append(Text(f"  and {left} more, which --format json lists", style="dim"))
    if result.today is not None and result.today_summary is not None:
        parts.append(Text(_comparison(result, result.today.source, result.today_summary), style="cyan"))
    return Group(*parts)


def _row(result: Result, episode: Episode) -> list[Text]:
    window = result.window
    fired = episode.fired_at_ms
    state = "pending" if fired is None else "firing" if episode.ended_at_ms is None else "resolved"
    own = {ALERT_NAME, *(name for name, _ in result.replayed.rule.labels)}
    labels = ", ".join(f"{name}={value}" for name, value in episode.labels if name not in own) or "-"
    before = "before " if episode.active_at_ms < window.from_ms else ""
    return [
        Text(before or _clock(episode.active_at_ms)),
        Text("never" if fired is None else "before" if fired < window.from_ms else _clock(fired), style=_STYLES[state]),
        Text("-" if episode.ended_at_ms is None else _clock(episode.ended_at_ms)),
        Text(format_duration(episode.firing_ms(window.from_ms, window.to_ms)) if fired is not None else "-"),
        Text(f"{episode.value:.4g}"),
        Text(labels),
        Text(result.policies.get(episode.labels) or "-"),
    ]


def _comparison(result: Result, source: str, today: Summary) -> str:
    both, only_here, only_today = result.same_firings or (0, 0, 0)
    same = f"{both} firings at the same evaluation"
    if only_here or only_today:
        same += f", {only_here} only here, {only_today} only today"
    return f"  today's rule ({source}): fired {today.fired}, flaps {today.flaps}, {same}"


def _clock(unix_ms: int) -> str:
    """UTC; milliseconds, for rules are compared to the evaluation."""
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return f"{moment:%m-%d %H:%M:%S}.{unix_ms % 1000:03d}"
