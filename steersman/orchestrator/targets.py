"""Which replicas Prometheus scrapes: one file for each service, in the format of file_sd_configs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from steersman.orchestrator.files import replace_file


class Target(NamedTuple):
    instance: str
    port: int


def write_targets(folder: Path, service: str, targets: Iterable[Target]) -> None:
    """`job` and `instance` are given here, so that they equal what the replica says of itself over OTLP."""
    groups = [
        {"targets": [f"127.0.0.1:{target.port}"], "labels": {"job": service, "instance": target.instance}}
        for target in targets
    ]
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{service}.json", json.dumps(groups, indent=1) + "\n")
