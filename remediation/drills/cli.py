"""`steersman drill`: list, check, run, report, history. Exit codes: 0 PASS, 1 FAIL, 2 it could not be run."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from remediation.drills.definition import Definition
    from remediation.drills.endpoints import Endpoints
    from remediation.drills.report import Report

PASSED, FAILED, NOT_RUN = 0, 1, 2


class StackKind(StrEnum):
    EMBEDDED = "embedded"
    COMPOSE = "compose"


app = typer.Typer(no_args_is_help=True, help="Rehearse the loop on purpose, and grade it.")


# What a command needs is imported when it runs, so that `steersman --help` stays quick.


@app.command("list")
def list_drills() -> None:
    """The drills there are."""
    from remediation.drills import definition, show
    from remediation.drills.errors import DrillError

    try:
        found = [definition.load(path) for path in definition.available(_definitions())]
    except DrillError as error:
        _give_up(error)
    show.listing(_console(), found)


@app.command("check")
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Drills, or YAML files; all there are without one.")] = None,
) -> None:
    """Validate definitions; each problem on a line with file, key and value. Exit 0 if all are sound, else 1."""
    from remediation.drills import definition
    from remediation.drills.errors import DrillError

    sound, problems = [], []
    for name in names or [str(path) for path in definition.available(_definitions())]:
        try:
            sound.append(definition.find(name, _definitions()))
        except DrillError as error:
            problems.append(str(error))
    for problem in problems:
        typer.echo(problem, err=True)
    for each in sound:
        expected = len(each.confirm) + len(each.expect) + len(each.then)
        typer.echo(f"{each.name}: sound, {len(each.inject)} injected, {expected} expected")
    if not sound and not problems:
        typer.echo(f"no drill in {_definitions()}", err=True)
    raise typer.Exit(FAILED if problems or not sound else PASSED)


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of a definition."""
    from remediation.drills import schema

    typer.echo(schema.text(), nl=False)


@app.command("run")
def run_one(
    name: Annotated[str, typer.Argument(help="A drill's name, or the path of a YAML file.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the report here.")] = None,
    junit_file: Annotated[Path | None, typer.Option("--junit", help="Also write JUnit XML here, for CI.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Also write one HTML page here.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the verdict, and why.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="After a failure, check the rest too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and change nothing.")] = False,
    stack: Annotated[
        StackKind, typer.Option("--stack", help="What runs: `steersman up`'s, or `make compose-up`'s.")
    ] = StackKind.EMBEDDED,
) -> None:
    """Run one drill against the running stack; exit 0 on PASS, 1 on FAIL, 2 if it could not be run."""
    import asyncio

    from remediation.drills import definition, report, show
    from remediation.drills.endpoints import Endpoints
    from remediation.drills.errors import DrillError
    from remediation.drills.run import run_drill

    console = _console()
    try:
        drill = definition.find(name, _definitions())
        endpoints = Endpoints.of_compose() if stack is StackKind.COMPOSE else Endpoints.from_environment()
        if dry_run:
            _dry_run(drill, endpoints)
        if quiet:
            result = asyncio.run(run_drill(drill, endpoints, keep_going=keep_going))
        else:
            show.heading(console, drill.title, drill.description)
            live = show.Live(console)
            try:
                result = asyncio.run(run_drill(drill, endpoints, keep_going=keep_going, watcher=live))
            finally:
                live.close()
        report.write(result, report.path_of(result, endpoints.data_dir.drills))
        _write(result, json_file, junit_file, html_file)
    except (DrillError, OSError) as error:
        _give_up(error)
    if not quiet:
        show.grades(console, result)
    show.verdict(console, result)
    raise typer.Exit(PASSED if result.passed else FAILED)


@app.command("report")
def show_report(
    run: Annotated[
        str | None, typer.Argument(help="A run's or a drill's name, or a report file; the last run without it.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report here instead.")] = None,
    junit_file: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here instead.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write one HTML page here instead.")] = None,
) -> None:
    """Show a run again: timeline, grades, verdict. The exit code is the run's own."""
    from remediation.drills import report, show
    from remediation.drills.endpoints import Endpoints
    from remediation.drills.errors import DrillError

    try:
        found = report.find(run, Endpoints.from_environment().data_dir.drills)
        written = _write(found, json_file, junit_file, html_file)
    except (DrillError, OSError) as error:
        _give_up(error)
    if written:
        show.verdict(_console(), found)
    else:
        show.whole(_console(), found)
    raise typer.Exit(PASSED if found.passed else FAILED)


@app.command("history")
def history(
    name: Annotated[str | None, typer.Argument(help="One drill: each of its runs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=1, max=10_000, help="Runs of each drill, at most.")] = 20,
) -> None:
    """Verdicts and grades over time, and the resilience score of all drills."""
    import json

    from remediation.drills import history as past
    from remediation.drills import show
    from remediation.drills.endpoints import Endpoints
    from remediation.drills.errors import DrillError

    try:
        found = past.read(Endpoints.from_environment().data_dir.drills, _definitions(), name, last)
    except DrillError as error:
        _give_up(error)
    for problem in found.problems:
        typer.echo(f"steersman drill: {problem}", err=True)
    if as_json:
        typer.echo(json.dumps(past.document(found.resilience), indent=2))
    else:
        show.history(_console(), found.resilience, one=name is not None)


def _write(result: Report, json_file: Path | None, junit_file: Path | None, html_file: Path | None) -> bool:
    """Whether anything was asked for."""
    from remediation.drills import junit, page, report

    if json_file:
        report.write(result, json_file)
    if junit_file:
        report.write_text(junit.xml(result), junit_file)
    if html_file:
        report.write_text(page.html(result), html_file)
    return any((json_file, junit_file, html_file))


def _dry_run(drill: Definition, endpoints: Endpoints) -> NoReturn:
    import asyncio

    from remediation.drills import show
    from remediation.drills.plan import make_plan

    plan = asyncio.run(make_plan(drill, endpoints))
    show.plan(_console(), plan)
    raise typer.Exit(PASSED if plan.would_run else FAILED)


def _definitions() -> Path:
    from steersman.runtime.paths import shipped

    return Path(os.environ["STEERSMAN_DRILLS"]) if os.environ.get("STEERSMAN_DRILLS") else shipped("drills")


def _console() -> Console:
    from rich.console import Console

    # Piped into a file or a CI log, the lines keep their columns instead of being folded at 80.
    return Console(width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 120, highlight=False)


def _give_up(error: Exception) -> NoReturn:
    typer.echo(f"steersman drill: {error}", err=True)
    raise typer.Exit(NOT_RUN)


if __name__ == "__main__":
    app()
