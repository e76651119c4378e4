"""Commands that other parts own: `collector`, and `drill` on the running stack."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from steersman.runtime.paths import DataDir
from steersman.stack.settings import Urls
from steersman.stack.state import StackState, read_state


def drill_environment(data_dir: DataDir, state: StackState | None) -> dict[str, str]:
    """How the drills find the stack; without a running one only where its reports are."""
    found = {"STEERSMAN_DATA_DIR": str(data_dir.root)}
    if state is None:
        return found
    urls = Urls.of(state.ports)
    return found | {
        "STEERSMAN_PROMETHEUS_URL": urls.prometheus,
        "STEERSMAN_REMEDIATION_URL": urls.remediation,
        "STEERSMAN_ORCHESTRATOR_URL": urls.orchestrator,
        "STEERSMAN_LOAD_URL": urls.load,
        "STEERSMAN_MESH_URL": urls.mesh,
        "STEERSMAN_JAEGER_URL": urls.jaeger,
        "STEERSMAN_DASHBOARDS_URL": urls.dashboards,
        "STEERSMAN_NATS_URL": urls.nats,
    }


def take_data_dir(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """
    `--data-dir D` or `--data-dir=D`, wherever it stands, and the rest: one types `drill run NAME --data-dir D`.

    Raises:
        typer.BadParameter: the option without a value.
    """
    found: Path | None = None
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option != "--data-dir":
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        if not value:
            raise typer.BadParameter("needs a directory", param_hint="--data-dir")
        found = Path(value)
    return found, rest


def run_drill(data_dir: Path, arguments: list[str]) -> None:
    given, arguments = take_data_dir(arguments)
    data_dir = given or data_dir
    where = DataDir.at(data_dir)
    os.environ.update(drill_environment(where, read_state(where)))
    from remediation.drills.cli import app

    app(args=arguments, prog_name="steersman drill")


def run_collector(arguments: list[str]) -> None:
    from collector.command import main

    sys.argv = ["steersman collector", *arguments]
    sys.exit(main())
