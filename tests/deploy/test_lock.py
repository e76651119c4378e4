"""The image's lock files: everything that the worker may be told to use, each with its hash."""

from __future__ import annotations

import runpy
from pathlib import Path

TOP = Path(__file__).parents[2]


def test_the_image_has_the_clouds_clients_in_the_versions_that_are_tested():
    lock = runpy.run_path(str(TOP / "deploy" / "lock_scalers.py"))
    written = lock["LOCK"].read_text()
    assert {"kubernetes", "boto3"} <= lock["pinned"](written).keys()
    assert written == lock["locked"](), "python deploy/lock_scalers.py writes it anew"
    assert all("--hash=sha256:" in lines for lines in lock["pinned"](written).values())


def test_the_image_is_built_of_locked_packages_alone():
    text = (TOP / "Dockerfile").read_text()
    assert text.count("--require-hashes --no-deps -r constraints.txt -r constraints-scalers.txt") == 1
    assert text.count("pip install") == 2, "the other is Steersman itself"
    allowed = (TOP / ".dockerignore").read_text().split()
    assert {"!constraints.txt", "!deploy/constraints-scalers.txt", "!rules", "!policies", "!drills"} <= set(allowed)
