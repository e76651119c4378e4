"""Start the stack, look at it, change it by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steersman.cli.options import Backend, BackendOption, DataDirOption, JsonOption, OffsetOption, ServicesOption
from steersman.runtime.paths import DEFAULT_DATA_DIR

PANEL = "The stack"
app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def up(
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    port_offset: OffsetOption = 0,
    load: Annotated[bool, typer.Option("--load/--no-load", help="Whether to start the load generator.")] = True,
    services: ServicesOption = None,
    backend: BackendOption = Backend.EMBEDDED,
) -> None:
    """Start the embedded stack and show what it does; Ctrl-C stops everything."""
    from steersman.cli.lifecycle import run_up

    run_up(data_dir, port_offset, services, load=load, backend=backend.value)


@app.command(rich_help_panel=PANEL)
def down(data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Stop the stack and wait until all of it is gone."""
    from steersman.cli.lifecycle import run_down

    run_down(data_dir)


@app.command(rich_help_panel=PANEL)
def status(data_dir: DataDirOption = DEFAULT_DATA_DIR, as_json: JsonOption = False) -> None:
    """Show services, processes, alerts and running remediations."""
    from steersman.cli.show import run_status

    run_status(data_dir, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def doctor(
    data_dir: DataDirOption = DEFAULT_DATA_DIR, port_offset: OffsetOption = 0, services: ServicesOption = None
) -> None:
    """Check what the stack needs; exit code 1 if something would keep it from starting."""
    from steersman.cli.lifecycle import run_doctor

    run_doctor(data_dir, port_offset, services)


@app.command(rich_help_panel=PANEL)
def demo(
    drill: Annotated[str, typer.Option(help="The drill to run.")] = "latency-surge",
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Instead of .steersman/demo, which is emptied first.")
    ] = None,
    port_offset: OffsetOption = 0,
    backend: BackendOption = Backend.EMBEDDED,
) -> None:
    """Start the stack, run a drill, print its graded report, stop the stack; the drill's exit code."""
    from steersman.cli.demo import run_demo

    run_demo(data_dir, port_offset, drill, backend.value)


@app.command(rich_help_panel=PANEL)
def scale(
    service: str, replicas: Annotated[int, typer.Argument(metavar="N")], data_dir: DataDirOption = DEFAULT_DATA_DIR
) -> None:
    """Set how many replicas a service should have."""
    from steersman.cli.operate import run_scale

    run_scale(data_dir, service, replicas)


@app.command(rich_help_panel=PANEL)
def restart(
    service: str,
    instance: Annotated[str | None, typer.Argument(help="One replica; without it, all in turn.")] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Replace one replica, or all of a service in turn; each replacement serves before the old one stops."""
    from steersman.cli.operate import run_restart

    run_restart(data_dir, service, instance)


@app.command(rich_help_panel=PANEL)
def deploy(
    service: str,
    version: Annotated[str | None, typer.Argument(help="One of its versions; without it, tell its history.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the history.")] = "by hand",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Deploy a version of a service, replica by replica, or tell which were deployed when."""
    from steersman.cli.operate import run_deploy

    run_deploy(data_dir, service, version, reason)
