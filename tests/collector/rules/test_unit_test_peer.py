"""`steersman rules test` and `promtool test rules` come to the same verdicts, on what passes and on what must fail."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from collector.rules.unit_test import run_file
from steersman.runtime.paths import shipped

CASES = sorted((Path(__file__).parent / "testdata" / "unit_tests").glob("*.yml"))
CASES = [path for path in CASES if path.name != "rules.yml"]
SHIPPED = sorted(shipped("rules").glob("tests/*.yml"))


@pytest.fixture(scope="module")
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is not on PATH, and CI must not do without it")
    if path is None:
        pytest.skip("promtool is not on PATH (Debian: apt-get install prometheus)")
    return path


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
async def test_every_case_passes_or_fails_as_its_name_says(path: Path) -> None:
    verdict = await run_file(path)
    assert bool(verdict.failures) == path.name.startswith("fails"), verdict.failures


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
async def test_every_unit_test_of_the_shipped_rules_passes(path: Path) -> None:
    verdict = await run_file(path)
    assert verdict.failures == ()
    assert verdict.tests > 0


@pytest.mark.peer
def test_promtool_comes_to_the_same_verdicts(promtool: str) -> None:
    for path in CASES:
        done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, timeout=60, check=False)
        assert done.returncode == int(path.name.startswith("fails")), (path.name, done.stdout, done.stderr)


@pytest.mark.peer
def test_a_failure_reads_as_promtools(promtool: str) -> None:
    path = next(path for path in CASES if path.stem == "fails_wrong_annotation")
    command = [promtool, "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    verdict = asyncio.run(run_file(path))
    assert "\n".join(verdict.failures) in done.stdout + done.stderr
