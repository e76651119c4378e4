"""One drill on a stack that runs, and its report."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from stacks.checkout import CHECKOUT
from stacks.own import environment
from steersman.runtime.paths import DataDir

DRILL_WITHIN_S = 420.0  # the longest timeout of a drill that ships, its steady state, and rollback


def run_drill(drill: str, data_dir: DataDir, *, code: Path = CHECKOUT) -> dict[str, Any]:
    """
    Its report, or one with the verdict NOT RUN and why.

    Args:
        code: The checkout, or its copy, whose drills are meant.
    """
    with tempfile.TemporaryDirectory(prefix="steersman-bench-") as folder:
        file = Path(folder) / "report.json"
        command = [sys.executable, "-m", "steersman", "drill", "run", drill, "--quiet", "--json", str(file)]
        ended = subprocess.run(
            [*command, "--data-dir", str(data_dir.root)],
            capture_output=True,
            text=True,
            timeout=DRILL_WITHIN_S,
            check=False,
            cwd=code,
            env=environment(code),
        )
        if file.exists():
            report: dict[str, Any] = json.loads(file.read_text())
            return report
    return not_run(drill, ended.stderr.strip() or ended.stdout.strip())


def not_run(drill: str, why: str) -> dict[str, Any]:
    """In place of a report."""
    return {"drill": drill, "verdict": "NOT RUN", "reasons": [why], "grades": [], "duration_s": 0.0}
