"""
What a running drill has come to so far, in a file beside the reports, for whoever watches from another process.

DATA_DIR/drills/running.live is a report (see `report`) without a verdict, and with `phase` and `waiting_for`. It is
replaced whenever something has changed, at most as often as the drill polls, and gone when the drill is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remediation.drills import report
from remediation.drills.engine import Engine

log = logging.getLogger(__name__)
LIVE_FILE = "running.live"  # in DATA_DIR/drills; no report, so it does not end in .json
EVERY_S = 1.0  # how old it may be although nothing has happened: what is waited for is told with seconds


class LiveReport:
    """
    A watcher of a run. A disk that is full is logged, and ends no drill.

    Args:
        began: When the run did: Unix milliseconds, and the same moment on the engine's clock.
    """

    def __init__(self, path: Path, began: Callable[[], tuple[int, float]]) -> None:
        self._path = path
        self._began = began
        self._written = (0, "", 0.0)  # entries of the timeline, phase, when

    def __call__(self, engine: Engine, now: float) -> None:
        entries, phase, before = self._written
        if (entries, phase) == (len(engine.timeline.entries), engine.phase) and now - before < EVERY_S:
            return
        self._written = (len(engine.timeline.entries), engine.phase, now)
        try:
            report.write_text(json.dumps(_document(engine, *self._began(), now)), self._path)
        except OSError as error:
            log.warning("%s was not written: %s", self._path, error)

    def close(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s is left behind: %s", self._path, error)


def _document(engine: Engine, started_at_unix_ms: int, started: float, now: float) -> dict[str, Any]:
    found = report.report_of(engine, started_at_unix_ms, started, now).model_dump(mode="json", exclude={"verdict"})
    return found | {"phase": str(engine.phase), "waiting_for": engine.waiting_for(now)}


def read(path: Path) -> dict[str, Any] | None:
    """None if nothing runs, or has only just begun."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(report.MAX_REPORT_BYTES))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
