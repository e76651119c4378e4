from __future__ import annotations

from pathlib import Path

import pytest
import typer

from steersman.cli.handover import drill_environment, take_data_dir
from steersman.runtime.paths import DataDir
from steersman.stack import state


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "x"], (None, ["run", "x"])),
        (["run", "x", "--data-dir", "d"], (Path("d"), ["run", "x"])),
        (["--data-dir=d", "run", "x", "--json"], (Path("d"), ["run", "x", "--json"])),
    ],
)
def test_data_directory_may_stand_anywhere(arguments, expected):
    assert take_data_dir(arguments) == expected


@pytest.mark.parametrize("arguments", [["list", "--data-dir"], ["list", "--data-dir="]])
def test_data_directory_without_a_value_is_wrong_usage(arguments):
    with pytest.raises(typer.BadParameter):
        take_data_dir(arguments)


def test_drills_are_told_where_the_stack_is_and_no_token(tmp_path: Path):
    where = DataDir.at(tmp_path)
    running = state.own_state(where, phase="ready", port_offset=2000, load=True, backend="embedded")
    told = drill_environment(where, running)
    assert told["STEERSMAN_DATA_DIR"] == str(tmp_path)
    assert told["STEERSMAN_PROMETHEUS_URL"] == "http://127.0.0.1:11090"
    assert set(told) == {"STEERSMAN_DATA_DIR"} | {
        f"STEERSMAN_{name}_URL"
        for name in ("PROMETHEUS", "REMEDIATION", "ORCHESTRATOR", "LOAD", "MESH", "JAEGER", "DASHBOARDS", "NATS")
    }
