"""
`pytest drills/`: every definition here is a test, run against the stack that `STEERSMAN_DATA_DIR` names (default
.steersman). `pytest drills/replica-crash.yaml` runs one, `-k latency` some. They run one after another: there is one
stack to break.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RUN_S = 420  # the longest timeout of a drill that ships, its steady state, and rollback


class DrillFailedError(Exception):
    pass


class DrillFile(pytest.File):
    def collect(self) -> Iterator[DrillItem]:
        item = DrillItem.from_parent(self, name=self.path.stem)
        if self.config.pluginmanager.hasplugin("timeout"):
            item.add_marker(pytest.mark.timeout(RUN_S + 30))
        yield item


class DrillItem(pytest.Item):
    def runtest(self) -> None:
        command = [sys.executable, "-m", "steersman", "drill", "run", str(self.path)]
        data_dir = os.environ.get("STEERSMAN_DATA_DIR")
        command += ["--data-dir", data_dir] if data_dir else []
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
        self.add_report_section("call", "drill", done.stdout)
        if done.returncode:
            raise DrillFailedError((done.stderr or done.stdout).strip())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_args: Any) -> str:
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"drill {self.name}"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> DrillFile | None:
    if file_path.suffix == ".yaml" and file_path.parent == Path(__file__).parent:
        collected: DrillFile = DrillFile.from_parent(parent, path=file_path)
        return collected
    return None
