"""Traces, log records, and the collector that keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steersman.cli.options import HANDED_OVER, CollectorOption, CollectorTokenOption, DataDirOption, JsonOption
from steersman.runtime.paths import DEFAULT_DATA_DIR

PANEL = "Telemetry"
app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def logs(
    service: Annotated[
        str | None, typer.Argument(help="A service, a replica (catalog-1), or collector, worker, traefik, …")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on printing until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines, of each log.")] = 50,
    trace: Annotated[str | None, typer.Option("--trace", metavar="ID", help="Log records of this trace.")] = None,
    severity: Annotated[str | None, typer.Option(help="Log records this severe or worse: info, warn, error.")] = None,
    grep: Annotated[str | None, typer.Option(metavar="TEXT", help="Log records that contain this.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Log records of the last 15m, 2h, 7d.")] = None,
    url: CollectorOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Print the last lines of a process's log; with --trace, --severity, --grep or --since, the stored log records."""
    if any(option is not None for option in (trace, severity, grep, since)):
        from steersman.cli.traces import run_records

        if follow:
            raise typer.BadParameter("goes with a process's log, not with stored records", param_hint="--follow")
        since = since or ("7d" if trace else "1h")
        run_records(data_dir, service, trace=trace, severity=severity, grep=grep, since=since, lines=lines, url=url)
        return
    if service is None:
        raise typer.BadParameter("name a service, or ask for records by --trace, --severity, --grep or --since")
    from steersman.cli.operate import run_logs

    run_logs(data_dir, service, lines, follow=follow)


@app.command(rich_help_panel=PANEL)
def traces(
    filter_: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="Such as 'duration > 300ms && span.http.route = \"/cart\"'.")
    ] = "",
    service: Annotated[str | None, typer.Option(help="A span of this service.")] = None,
    slow: Annotated[str | None, typer.Option(metavar="DURATION", help="A span longer than this, e.g. 300ms.")] = None,
    errors: Annotated[bool, typer.Option("--errors", help="A span that failed.")] = False,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back: 15m, 2h, 7d.")] = "1h",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Continue a list that was cut.")] = None,
    why: Annotated[bool, typer.Option("--why", help="What these traces have more often than the others.")] = False,
    url: CollectorOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """List traces, newest first. The filter language is TraceQL's; see docs/traces.md."""
    from steersman.cli.traces import run_traces

    run_traces(
        data_dir,
        filter_,
        service=service,
        slow=slow,
        errors=errors,
        since=since,
        limit=limit,
        cursor=cursor,
        why=why,
        as_json=as_json,
        url=url,
    )


@app.command(rich_help_panel=PANEL)
def trace(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or its number in the last list.")],
    details: Annotated[bool, typer.Option("-v", "--details", help="Attributes and events too.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every span, however many.")] = False,
    url: CollectorOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """Draw one trace: what called what, when, and what the time was spent on."""
    from steersman.cli.traces import run_trace

    run_trace(data_dir, trace_id, details=details, all_=all_, as_json=as_json, url=url)


@app.command(rich_help_panel=PANEL)
def export(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the Parquet files go.")],
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="2h, 7d, 2026-11-23T15:00:00Z or all.")] = "all",
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="As --from.")] = "now",
    only: Annotated[str | None, typer.Option(help="spans or logs; both by default.", show_default=False)] = None,
    url: CollectorOption = None,
    token_file: CollectorTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Write the spans and log records of a range of time to Parquet files."""
    from steersman.cli.archive import run_export

    run_export(data_dir, out, since=since, until=until, only=only, url=url, token_file=token_file)


@app.command("import", rich_help_panel=PANEL)
def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What export wrote.")],
    only: Annotated[str | None, typer.Option(help="spans or logs; both by default.", show_default=False)] = None,
    url: CollectorOption = None,
    token_file: CollectorTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Bring exported spans and log records back; what is there already is left out."""
    from steersman.cli.archive import run_import

    run_import(data_dir, folder, only=only, url=url, token_file=token_file)


@app.command(rich_help_panel=PANEL, context_settings=HANDED_OVER, add_help_option=False)
def collector(context: typer.Context) -> None:
    """Run the collector alone; `steersman collector --help` lists its options."""
    from steersman.cli.handover import run_collector

    run_collector(context.args)
