"""Options that several commands take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Backend(StrEnum):
    EMBEDDED = "embedded"
    PROMETHEUS = "prometheus"


BackendOption = Annotated[
    Backend, typer.Option(help="Who evaluates rules and sends alerts: the collector, or Prometheus and Alertmanager.")
]
DataDirOption = Annotated[
    Path, typer.Option("--data-dir", envvar="STEERSMAN_DATA_DIR", help="Where the stack keeps its state.")
]
OffsetOption = Annotated[
    int, typer.Option("--port-offset", help="Added to every port, so that stacks run side by side.")
]
ServicesOption = Annotated[Path | None, typer.Option("--services", help="A services file instead of the shop's own.")]
CollectorOption = Annotated[
    str | None, typer.Option("--url", help="Of a collector's HTTP port, instead of the stack's.", show_default=False)
]
CollectorTokenOption = Annotated[
    Path | None, typer.Option(help="Of the collector's token, instead of the stack's.", show_default=False)
]
WorkerOption = Annotated[
    str | None, typer.Option("--url", help="Of a worker, instead of the stack's.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the record.")]
# Of a command that hands its arguments to another program, which also answers --help.
HANDED_OVER = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
