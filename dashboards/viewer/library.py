"""The dashboards there are: those that ship with Steersman, and those that users saved, which win."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dashboards.errors import DashboardError
from dashboards.folder import JSON_DIR, MAX_BYTES, UID
from dashboards.viewer.grafana.dashboard import Dashboard, parse_dashboard


class Library:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, tuple[tuple[int, int], Dashboard | None]] = {}  # as the file was then
        folder.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[Dashboard]:
        """By title. A file that is no dashboard is left out."""
        found: dict[str, Dashboard] = {}
        for path in [*sorted(JSON_DIR.glob("*.json")), *sorted(self._folder.glob("*.json"))]:
            dashboard = self._of_file(path)
            if dashboard is not None:
                found[dashboard.uid or path.stem] = dashboard
        return sorted(found.values(), key=lambda each: each.title.lower())

    def _of_file(self, path: Path) -> Dashboard | None:
        """Read once, and again when the file has changed: every page asks."""
        try:
            status = path.stat()
            known = self._read.get(path)
            if known is None or known[0] != (status.st_mtime_ns, status.st_size):
                known = self._read[path] = ((status.st_mtime_ns, status.st_size), _parsed(path))
        except OSError:
            return None
        return known[1]

    def get(self, uid: str) -> Dashboard | None:
        return next((each for each in self.all() if each.uid == uid), None)

    def remove(self, uid: str) -> bool:
        """Forget what was saved under a uid; False if nothing was."""
        if not UID.fullmatch(uid):
            return False
        try:
            (self._folder / f"{uid}.json").unlink()
        except FileNotFoundError:
            return False
        return True

    def save(self, document: dict[str, Any]) -> Dashboard:
        """
        Keep a dashboard under its uid; one without gets a uid from its title. Replaces the one that has it.

        Raises:
            DashboardError: not a dashboard, too large, or a uid that Grafana would not take.
        """
        inner = document.get("dashboard", document)
        if not isinstance(inner, dict):
            raise DashboardError("not a Grafana dashboard: it needs a title and panels")
        kept = dict(inner)
        dashboard = parse_dashboard(kept)
        kept["uid"] = (
            dashboard.uid or re.sub(r"[^a-z0-9]+", "-", dashboard.title.lower()).strip("-")[:40] or "dashboard"
        )
        if not UID.fullmatch(str(kept["uid"])):
            raise DashboardError(f"uid must be 1 to 40 letters, digits, - or _, got {str(kept['uid'])[:60]!r}")
        text = json.dumps(kept, ensure_ascii=False, indent=2, sort_keys=True)
        if len(text.encode()) > MAX_BYTES:
            raise DashboardError(f"{len(text.encode())} bytes, the limit is {MAX_BYTES}")
        path = self._folder / f"{kept['uid']}.json"
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
        return parse_dashboard(kept)


def _parsed(path: Path) -> Dashboard | None:
    try:
        return parse_dashboard(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError, DashboardError):
        return None
