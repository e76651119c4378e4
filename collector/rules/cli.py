"""
`steersman rules`: check, test, backtest.

Exit codes are promtool's: 0 all is well; 1 something is wrong with the rules, or could not be done; 3 lint only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

WELL, WRONG, LINT = 0, 1, 3
UNBOUNDED_WIDTH = 200  # a pipe has no width; grep wants whole lines

# The policy that answers an alert of these labels. `partial`: labels that are not given may have any value.
Answer = Callable[[Mapping[str, str], bool], str | None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What whoever starts these commands knows.

    Args:
        url: Of the Prometheus API to ask when none is given; empty if nothing runs.
        policies: Where they are if nobody says, or None.
        answers: Reads policies; raises OSError or ValueError with a message that names the file.
    """

    url: str = ""
    policies: Path | None = None
    answers: Callable[[Path], Answer] | None = None


class Format(str, Enum):  # noqa: UP042  (typer takes the values of a str enum; StrEnum would do, from 3.11 on)
    TEXT = "text"
    JSON = "json"


app = typer.Typer(no_args_is_help=True, help="Write rules: check them, test them, replay them over what happened.")

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Rule files.")]
UrlOption = Annotated[str, typer.Option(help="A Prometheus or collector; the running stack's by default.")]
TokenOption = Annotated[
    Path | None, typer.Option(envvar="STEERSMAN_PROMETHEUS_TOKEN_FILE", help="A file with a bearer token for it.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
PoliciesOption = Annotated[Path | None, typer.Option(help="A policy file or a folder of them.")]


# What a command needs is imported when it runs, so that `steersman --help` stays quick.


@app.command()
def check(
    context: typer.Context,
    files: Files,
    url: UrlOption = "",
    token_file: TokenOption = None,
    policies: PoliciesOption = None,
    lint: Annotated[str, typer.Option(help="Checks beyond promtool's, by commas; all or none.")] = "all",
    lint_fatal: Annotated[
        bool, typer.Option("--lint-fatal/--no-lint-fatal", help="Whether lint alone makes the exit code 3.")
    ] = True,
    scrape_interval: Annotated[str, typer.Option(help="Instead of what the samples tell, e.g. 15s.")] = "",
    format_: FormatOption = Format.TEXT,
) -> None:
    """promtool's checks, and lint: exit 0 if all is well, 1 for errors, 3 for lint alone."""
    from collector.errors import CollectorError
    from collector.rules import check_files

    around = _surroundings(context)
    try:
        report = check_files.check(
            files,
            url=url or around.url,
            token=_token(token_file),
            scrape_interval=scrape_interval,
            answer=_answer(around, policies),
            wanted=lint,
        )
    except (CollectorError, OSError, ValueError) as error:
        _give_up(error)
    check_files.show(report, as_json=format_ is Format.JSON)
    raise typer.Exit(WRONG if report.errors else LINT if report.findings and lint_fatal else WELL)


@app.command("test")
def unit_test(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Unit-test files in promtool's format.")],
    format_: FormatOption = Format.TEXT,
) -> None:
    """promtool's unit tests: exit 0 if all pass, 1 if one fails."""
    import asyncio
    import logging

    from collector.rules.unit_test import run_file, show

    logging.getLogger("collector.rules").setLevel(logging.ERROR)  # a rule that fails is in the verdict
    verdicts = [asyncio.run(run_file(path)) for path in files]
    show(verdicts, as_json=format_ is Format.JSON)
    raise typer.Exit(WRONG if any(verdict.failures for verdict in verdicts) else WELL)


@app.command()
def backtest(
    context: typer.Context,
    files: Files,
    from_: Annotated[str, typer.Option("--from", help="RFC 3339, Unix seconds, or how long ago: 2h.")] = "1h",
    to: Annotated[str, typer.Option(help="As --from.")] = "now",
    url: UrlOption = "",
    token_file: TokenOption = None,
    step: Annotated[str, typer.Option(help="Between evaluations, instead of the groups' intervals, e.g. 15s.")] = "",
    rule: Annotated[list[str] | None, typer.Option(help="Only the alerts of this name; may be repeated.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="A rule file to compare with, instead of what is in force.")
    ] = None,
    policies: PoliciesOption = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the states over time into this SVG file.")] = None,
    format_: FormatOption = Format.TEXT,
) -> None:
    """Replay rules over stored data: when they would have been pending, firing, resolved."""
    from collector.errors import CollectorError
    from collector.rules.backtest import command

    around = _surroundings(context)
    try:
        command.backtest(
            files,
            url=url or around.url,
            token=_token(token_file),
            from_=from_,
            to=to,
            step=step,
            names=rule or [],
            baseline=baseline,
            answer=_answer(around, policies),
            picture=picture,
            as_json=format_ is Format.JSON,
            console=_console(),
        )
    except (CollectorError, OSError, ValueError) as error:
        _give_up(error)


def _surroundings(context: typer.Context) -> Surroundings:
    return context.obj if isinstance(context.obj, Surroundings) else Surroundings()


def _answer(around: Surroundings, policies: Path | None) -> Answer | None:
    path = policies or around.policies
    return None if path is None or around.answers is None else around.answers(path)


def _token(path: Path | None) -> str:
    return path.read_text(encoding="utf-8").strip() if path else ""


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, UNBOUNDED_WIDTH)
    return console


def _give_up(error: Exception) -> NoReturn:
    print(f"steersman rules: {error}", file=sys.stderr)
    raise typer.Exit(WRONG)


if __name__ == "__main__":  # python -m collector.rules.cli, for who has no stack
    app(prog_name="collector.rules", obj=Surroundings(url=os.environ.get("STEERSMAN_PROMETHEUS_URL", "")))
